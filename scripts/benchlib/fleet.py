"""A fleet under test: processes of `dist/aimem` on free ports of loopback, with one folder for all that they write.

Who is whose peer comes in as a graph. Every process is ended by its id, whatever happened.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from story import free_ports

from benchlib.node import DIST

Graph = Sequence[Sequence[int]]
"""The peers of each node, by number."""

_FILES = 16_384
_POLL_SECS = 0.02


def full(nodes: int) -> Graph:
    """Everybody knows everybody."""
    return [[other for other in range(nodes) if other != number] for number in range(nodes)]


def raise_file_limit() -> None:
    """Let this process and those that it starts hold many connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Fleet:
    """The nodes of a graph. `flags` go to every one, `flags_of(number)` to one."""

    def __init__(
        self,
        graph: Graph,
        *flags: str,
        tls: bool = False,
        flags_of: Callable[[int], Sequence[str]] = lambda number: (),
    ) -> None:
        raise_file_limit()
        self.graph, self.tls = graph, tls
        self._flags, self._flags_of = flags, flags_of
        self.folder = Path(tempfile.mkdtemp(prefix="aimem-bench-mesh-"))
        self.ports = free_ports(len(graph))
        self.names = [f"n{number}" for number in range(len(graph))]
        if tls:
            named = [f"{name}=127.0.0.1:{port}" for name, port in zip(self.names, self.ports, strict=True)]
            out = str(self.folder / "fleet")
            command = [sys.executable, str(DIST), "allowlist", "mint", "--out", out, "--config-dir", f"{out}/{{node}}"]
            subprocess.run([*command, *named], check=True, stdout=subprocess.DEVNULL)
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * len(graph)

    def __len__(self) -> int:
        return len(self.graph)

    def start(self, number: int) -> None:
        command = [sys.executable, str(DIST), "serve", "--db", str(self.folder / f"{number}.db"), "--tier", "keyword"]
        command += [*self._flags, *self._flags_of(number)]
        if self.tls:
            command += ["--config", str(self.folder / "fleet" / self.names[number] / "aimem.toml")]
        else:
            peers = ",".join(f"http://127.0.0.1:{self.ports[other]}" for other in self.graph[number])
            command += ["--config", "", "--port", str(self.ports[number]), "--node", self.names[number]]
            command += ["--quorum-peers", peers] if peers else []
        with (self.folder / f"{number}.log").open("ab") as log:
            self.processes[number] = subprocess.Popen(command, stderr=log)

    def start_all(self, but: Sequence[int] = ()) -> None:
        """Start them, and wait until each has met its peers."""
        started = [number for number in range(len(self)) if number not in but]
        for number in started:
            self.start(number)
        for number in started:
            self.wait(number, 0, met=sum(other not in but for other in self.graph[number]))

    def stop(self, *numbers: int) -> None:
        """End nodes, all of them at once."""
        ended = []
        for number in numbers:
            process, self.processes[number] = self.processes[number], None
            if process is not None:
                process.send_signal(signal.SIGTERM)
                ended.append(process)
        for process in ended:
            process.wait(120)

    def close(self) -> None:
        self.stop(*range(len(self)))
        shutil.rmtree(self.folder)

    def context(self) -> ssl.SSLContext:
        """What a client shows and trusts."""
        files = self.folder / "fleet" / self.names[0]
        made = ssl.create_default_context(cafile=str(files / "ca.crt"))
        made.load_cert_chain(str(files / "tls.crt"), str(files / "tls.key"))
        return made

    def connect(self, number: int) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.ports[number], context=self.context(), timeout=60)
        return http.client.HTTPConnection("127.0.0.1", self.ports[number], timeout=60)

    def get(self, number: int, path: str) -> Any:
        connection = self.connect(number)
        try:
            connection.request("GET", f"/api/v1{path}")
            reply = connection.getresponse()
            body = reply.read().decode()
            return json.loads(body) if reply.status == 200 and body.startswith("{") else body
        finally:
            connection.close()

    def wait(self, number: int, held: int, *, met: int | None = None, secs: float = 300) -> None:
        """Until a node holds so many memories, and so many of its peers (all, unless told) are up."""
        met = len(self.graph[number]) if met is None else met
        until = time.monotonic() + secs
        while time.monotonic() < until:
            try:
                status = self.get(number, "/status")
                up = sum(each["state"] == "up" for each in status["mesh"]["peers"])
                if status["memories"] >= held and up >= met:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(_POLL_SECS)
        raise SystemExit(f"node {number} does not hold {held} memories after {secs:g} s")

    def wait_alike(self, secs: float = 300) -> None:
        """Until all nodes have the digest that the first has: they are looked at one after the other."""
        until = time.monotonic() + secs
        for number in range(1, len(self)):
            while self._digest(number) != self._digest(0):
                if time.monotonic() >= until:
                    raise SystemExit(f"node {number} differs from the first after {secs:g} s")
                time.sleep(_POLL_SECS)

    def _digest(self, number: int) -> str:
        return str(self.get(number, "/digest")["digest"])

    def cpu(self, number: int) -> float:
        """User and system time (s) of a node so far."""
        fields = Path(f"/proc/{self._pid(number)}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, number: int) -> float:
        """Memory of a node that is its own or in its page tables: resident."""
        resident = int(Path(f"/proc/{self._pid(number)}/statm").read_text().split()[1])
        return resident * os.sysconf("SC_PAGE_SIZE") / 2**20

    def metric(self, number: int, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = str(self.get(number, "/metrics")).splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def _pid(self, number: int) -> int:
        process = self.processes[number]
        assert process is not None
        return process.pid


@contextmanager
def running(fleet: Fleet, but: Sequence[int] = ()) -> Iterator[Fleet]:
    """The fleet, started and met; ended at the end."""
    try:
        fleet.start_all(but)
        yield fleet
    finally:
        fleet.close()
