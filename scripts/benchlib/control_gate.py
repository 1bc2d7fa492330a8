"""What policies cost: stores on two nodes in turn, one with policies over all its namespaces, one with none, and what
the gate takes of the CPU time of a store."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchlib import governed
from benchlib.figures import Figure
from benchlib.governed import Size
from benchlib.load import Outcome, drive, for_seconds
from benchlib.node import DIST, ROOT, Node
from benchlib.texts import Texts

_CLIENTS = 64
_TURNS = 10
_WRITES = 8_000  # through the gate, and as many past it
_RATE = 6_000  # a second: more than can be answered


def measure(size: Size, seconds: float) -> Iterator[Figure]:
    """A figure for stores under no policy, one for those under one, one for the gate by itself."""
    free, ruled = governed.free(size), governed.ruled(size)
    with Node("--tier", "keyword", copy_of=free) as one, Node("--tier", "keyword", copy_of=ruled) as other:
        sides = _Side(one, size, 11), _Side(other, size, 12)
        for turn in range(-1, _TURNS):  # the first is not counted
            for side in sides if turn % 2 else sides[::-1]:
                side.load(seconds / _TURNS, counted=turn >= 0)
    without, under = (side.figure(row) for side, row in zip(sides, ("store-free", "store-ruled"), strict=True))
    under.values["cpu_ratio"] = under.values["node_cpu_us"] / without.values["node_cpu_us"]
    under.values["rate_ratio"] = median(b.rate / a.rate for a, b in zip(sides[0].loads, sides[1].loads, strict=True))
    yield without
    yield under
    yield _gate(size, ruled, without.values["node_cpu_us"])


class _Side:
    """A node under loads of stores, and what became of them."""

    def __init__(self, node: Node, size: Size, seed: int) -> None:
        self.loads: list[Outcome] = []
        self._node, self._size, self._seed, self._number = node, size, seed, 0
        self._texts = Texts(seed)
        self._cpu = 0.0

    def load(self, seconds: float, *, counted: bool) -> None:
        """Stores for so long. Their requests are made before."""
        made = [self._next() for _ in range(int(seconds * _RATE))]
        before = self._node.cpu_seconds()
        outcome = drive(self._node.port, _CLIENTS, for_seconds(seconds, _popping(made)))
        if counted:
            self._cpu += self._node.cpu_seconds() - before
            self.loads.append(outcome)

    def figure(self, row: str) -> Figure:
        count = sum(len(each.latencies) for each in self.loads)
        values = {
            "per_second": median(each.rate for each in self.loads),
            "p50_ms": median(each.percentile(0.5) for each in self.loads),
            "p99_ms": median(each.percentile(0.99) for each in self.loads),
            "node_cpu_us": self._cpu / count * 1e6,
            "requests": count,
        }
        errors = sum(each.errors() for each in self.loads)
        return Figure(row, self._size.namespaces, "keyword", _CLIENTS, errors, values=values)

    def _next(self) -> bytes:
        self._number += 1
        return governed.store(self._size, self._texts, self._number, self._seed)


def _popping(made: list[bytes]) -> Callable[[], bytes | None]:
    return lambda: made.pop() if made else None


def _gate(size: Size, ruled: Path, store_cpu_us: float) -> Figure:
    """The gate by itself, in a process of its own, and its share of what a store takes of a node."""
    with tempfile.TemporaryDirectory(prefix="aimem-bench-") as folder:
        database, requests = Path(folder, "bench.db"), Path(folder, "requests")
        shutil.copyfile(ruled, database)
        texts = Texts(13)
        lines = [
            {"agent": size.agent(number), "memory": governed.memory(size, texts, number, 13)}
            for number in range(min(2 * _WRITES, 20 * size.namespaces))
        ]
        requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
        command = [sys.executable, Path(__file__).with_name("gate.py"), DIST, database, requests]
        told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)
    share = told["gate_cpu_us"] / store_cpu_us
    return Figure("gate", size.namespaces, "keyword", values={**told, "gate_share": share})
