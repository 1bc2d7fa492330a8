"""A receiver of webhooks: a real server on loopback, which notes what it was told and answers as the test says."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Told(NamedTuple):
    """One delivery as it came in, and the connection that it came by."""

    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found


class Hooks:
    """`answer` gives the status for a delivery; what it raises breaks the connection. `told` are those answered 2xx."""

    def __init__(self) -> None:
        self.answer: Callable[[Told], int] = lambda _: 200
        self.headers: dict[str, str] = {}
        self.came: list[Told] = []
        self.told: list[Told] = []
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                fields = {name.lower(): value for name, value in self.headers.items()}
                told = Told(self.path, fields, raw, self.client_address[1])
                hooks.came.append(told)
                status = hooks.answer(told)
                if 200 <= status < 300:
                    hooks.told.append(told)
                self.send_response(status)
                for name, value in {"content-length": "0", **hooks.headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook?x=1"

    def events(self) -> list[tuple[str, str]]:
        """Event and memory of all that was told, in order, each event once."""
        first = {each.body["event_id"]: each for each in reversed(self.told)}
        return [(each.body["event"], each.body["memory_id"]) for each in reversed(first.values())]


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Hooks]:
    """A receiver, with TLS where there is a context."""
    hooks = Hooks()
    if context is not None:
        hooks.server.socket = context.wrap_socket(hooks.server.socket, server_side=True)
    thread = threading.Thread(target=hooks.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hooks
    finally:
        hooks.server.shutdown()
        hooks.server.server_close()
        thread.join()
