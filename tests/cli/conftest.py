"""A node made of scripted replies, and the command line run in this process."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from aimem.cli.main import main


@dataclass
class Seen:
    """One request as the node saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    port: int  # of the client: one for each connection


Answer = tuple[int, dict[str, Any]] | Callable[[Seen], tuple[int, dict[str, Any]] | None]


@dataclass
class FakeNode:
    """Answers by (method, path); an answer is (status, body), or a function of the request, or None: hang up."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, seen: Seen) -> tuple[int, dict[str, Any]] | None:
        """The scripted reply."""
        with self.lock:
            self.seen.append(seen)
        found = self.answers.get((seen.method, seen.path), (404, {"error": "no such route", "code": "no_route"}))
        return found(seen) if callable(found) else found

    @property
    def last(self) -> Seen:
        """The last request."""
        return self.seen[-1]


def _handler(node: FakeNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def _any(self) -> None:
            raw = self._body()
            url = urlsplit(self.path)
            lines = self.headers.get("Content-Type") == "application/x-ndjson"
            body = raw.decode().split("\n") if lines else json.loads(raw) if raw else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            port = self.client_address[1]
            answer = node.answer(Seen(self.command, url.path, dict(parse_qsl(url.query)), headers, body, port))
            if answer is None:
                self.close_connection = True
                return
            status, reply = answer
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            raw = b""
            while size := int(self.rfile.readline(), 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return raw

        do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A fake node on a free port of loopback."""
    fake = FakeNode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Outcome:
    """What a command did: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], node: FakeNode) -> Run:
    """Run `aimem ARGS` against the fake node, without any setting of this machine."""
    for name in ("AIMEM_DB", "AI_MEMORY_DB", "AI_MEMORY_AGENT_ID", "AI_MEMORY_ANONYMIZE", "XDG_STATE_HOME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIMEM_CONFIG", "")
    monkeypatch.setenv("AIMEM_URL", node.url)
    monkeypatch.chdir(tmp_path)

    def call(*args: str, stdin: str | bytes = "") -> Outcome:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
        code = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


MEMORY: dict[str, Any] = {
    "id": "5f0c9a31-1111-4222-8333-444455556666",
    "tier": "mid",
    "namespace": "ops/dns",
    "title": "DNS outage",
    "content": "The resolver's cache was full.\nWe doubled it.",
    "tags": ["dns", "incident"],
    "priority": 5,
    "confidence": 1.0,
    "source": "cli",
    "access_count": 0,
    "created_at": "2026-01-01T00:00:00.123456789+00:00",
    "updated_at": "2026-01-01T00:00:00.123456789+00:00",
    "metadata": {"agent_id": "ai:a"},
    "version": "18a6f0b1c2d3e4f5-00112233aabbccdd",
}


@pytest.fixture
def memory() -> dict[str, Any]:
    """A memory as a node prints it."""
    return dict(MEMORY)


ROOT = Path(__file__).parents[2]
SLOW = re.compile(r" 2\d\d, \d+\.\d ms, request ")  # told of a request that was done, but not within a second
RUN = "import sys; from aimem.cli.main import main; sys.argv[0] = 'aimem'; sys.exit(main())"


@pytest.fixture(params=["file", "node"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """The flags that lead to an empty store: `--db FILE`, or `--to` a node of the keyword tier."""
    if request.param == "file":
        yield ["--db", str(tmp_path / "a.db")]
        return
    packages = [path for path in sys.path if "site-packages" in path]
    env = {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), *packages]), "AIMEM_CONFIG": ""}
    line = [sys.executable, "-c", RUN, "serve", "--db", "b.db", "--bind", "127.0.0.1:0", "--tier", "keyword"]
    process = subprocess.Popen(line, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        found = re.search(r"http://\S+", first)
        assert found, first + process.stderr.read()
        yield ["--to", found[0]]
    finally:
        process.send_signal(signal.SIGTERM)
        with process.stderr as stderr:
            said = [line for line in stderr if not SLOW.search(line)]
        assert (process.wait(), said) == (0, [])


class Life:
    """The commands in the order of a memory's life."""

    def __init__(self, run: Run, target: list[str]) -> None:
        self.run, self.target = run, target

    def __call__(self, *args: str, stdin: str = "") -> Outcome:
        return self.run(*self.target, *args, stdin=stdin)


@pytest.fixture
def aimem(run: Run, target: list[str]) -> Life:
    return Life(run, target)
