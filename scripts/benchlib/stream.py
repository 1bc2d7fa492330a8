"""Export and import of many rows as lines: rows a second, and what the node's memory rises to above idle."""

from __future__ import annotations

import argparse
import http.client
import threading
import time
from pathlib import Path

from benchlib.node import Node
from benchlib.stores import fill
from benchlib.texts import Texts

_LINES = "application/x-ndjson"
_PIECE = 1 << 20


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000)


class Peak(threading.Thread):
    """Watches the resident memory of a node."""

    def __init__(self, node: Node) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._ended = threading.Event()
        self.idle = node.memory_mb()
        self.most = self.idle

    def run(self) -> None:
        while not self._ended.wait(0.05):
            self.most = max(self.most, self._node.memory_mb())

    def above_idle(self) -> float:
        self._ended.set()
        self.join()
        return self.most - self.idle


def export(node: Node, path: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=600)
    connection.request("GET", "/api/v1/export", headers={"Accept": _LINES})
    reply = connection.getresponse()
    with path.open("wb") as file:
        while piece := reply.read(_PIECE):
            file.write(piece)
    connection.close()


def load(node: Node, path: Path) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=600)
    with path.open("rb") as file:
        connection.request(
            "POST",
            "/api/v1/import",
            iter(lambda: file.read(_PIECE), b""),
            {"Content-Type": _LINES},
            encode_chunked=True,
        )
        reply = connection.getresponse().read().decode()
    connection.close()
    return reply


def _measured(what: str, rows: int, node: Node, work: object) -> object:
    peak = Peak(node)
    peak.start()
    began = time.perf_counter()
    result = work()  # type: ignore[operator]
    seconds = time.perf_counter() - began
    print(
        f"{what} of {rows:,} rows: {rows / seconds:,.0f} rows/s, memory at most {peak.above_idle():.0f} MB above idle"
    )
    return result


def run(options: argparse.Namespace) -> int:
    with Node("--tier", "keyword") as source, Node("--tier", "keyword") as target:
        path = source.folder / "export.jsonl"
        fill(source, Texts(1), options.rows)
        time.sleep(2)  # let the memory of the filling settle: idle is what is measured against
        _measured("export", options.rows, source, lambda: export(source, path))
        print(f"  {path.stat().st_size / 2**20:,.0f} MiB")
        reply = _measured("import", options.rows, target, lambda: load(target, path))
        same = source.call("GET", "/stats")["total"] == target.call("GET", "/stats")["total"] == options.rows
        print("  all there" if same else f"  NOT all there: {reply}")
    return 0 if same else 1
