"""A node under test: a process of its own on a free port, with a database in a folder of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
DIST = Path(os.environ.get("AIMEM") or ROOT / "dist" / "aimem")  # the file under test
_SERVING = re.compile(r"serving http://127\.0\.0\.1:(\d+)")


class Node:
    """`with Node(...) as node`: started, ready, and ended by its process id at the end.

    What it says once it serves goes to the file `log` of its folder.
    With `store_url` it stands on that shared store.
    `program` is what the interpreter runs, and what that is told before the subcommand.
    """

    def __init__(
        self,
        *flags: str,
        folder: Path | None = None,
        copy_of: Path | None = None,
        program: Sequence[str] = (str(DIST),),
        store_url: str | None = None,
    ) -> None:
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="aimem-bench-"))
        self.database = self.folder / "bench.db"
        if copy_of is not None:
            shutil.copyfile(copy_of, self.database)
            os.sync()  # else the first minute of fsyncs waits for the copy
        self._where = ("--store-url", store_url) if store_url else ("--db", str(self.database))
        self.program = (sys.executable, *program)
        self._flags = flags
        self._said: threading.Thread | None = None
        self.port = 0

    def __enter__(self) -> Node:
        self.start()
        return self

    def start(self) -> float:
        """Start the process. Seconds until it said that it serves."""
        began = time.perf_counter()
        command = [*self.program, "serve", *self._where, "--bind", "127.0.0.1:0"]
        self.process = subprocess.Popen([*command, *self._flags], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if found := _SERVING.search(line):
                self.port = int(found[1])
                self._said = threading.Thread(target=self._keep_said, daemon=True)
                self._said.start()
                return time.perf_counter() - began
        raise SystemExit("the node did not start:\n" + "".join(said))

    def _keep_said(self) -> None:
        """Nobody would read the pipe else, and a node that can't log on stands still."""
        assert self.process.stderr is not None
        with (self.folder / "log").open("a") as log, self.process.stderr as said:
            for line in said:
                log.write(line)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(60)
        if self._said is not None:
            self._said.join()

    @contextmanager
    def running(self) -> Iterator[Node]:
        """For a node that was started: ends it as `with` does."""
        try:
            yield self
        finally:
            self.__exit__()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        if self._own:
            shutil.rmtree(self.folder)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request over a connection of its own: the parsed reply."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            text = reply.read().decode()
            if reply.status >= 300:
                raise SystemExit(f"{method} {path}: {reply.status} {text}")
            return json.loads(text) if reply.getheader("Content-Type", "").startswith("application/json") else text
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self.call("GET", "/metrics"), re.MULTILINE)
        return sum(map(float, found))

    def cpu_seconds(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
