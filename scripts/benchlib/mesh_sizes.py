"""How a mesh grows: the same thousand rows, all clients on one node, at several numbers of nodes.

In full meshes a majority must hold each row. Over bridges there are racks of five, each two of which that are next to
each other on a ring are joined by two lines, so a row travels from rack to rack; there a majority of the rack must.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Iterator

from benchlib.figures import Figure
from benchlib.fleet import Fleet, Graph, full, running
from benchlib.load import drive
from benchlib.stores import supply
from benchlib.texts import Texts

FULL = (2, 5, 10, 25, 50)
BRIDGED = (25, 50)
ROWS = 1_000
RACK = 5
CLIENTS = 64
PATIENT = ("--quorum-timeout-ms", "20000")  # many nodes share two cores: what is slow is measured, not cut off
_WARM = 64  # rows before: connections are made, and code is met for the first time


def measure_full(options: argparse.Namespace) -> Iterator[Figure]:
    """A figure for each size of a full mesh."""
    for nodes in options.nodes or FULL:
        with running(Fleet(full(nodes), *PATIENT)) as fleet:
            yield stores(fleet, f"full-{nodes}", nodes // 2 + 1)


def measure_bridged(options: argparse.Namespace) -> Iterator[Figure]:
    """A figure for each size of a mesh of racks."""
    for nodes in options.nodes or BRIDGED:
        graph = racks(nodes // RACK, RACK)
        with running(Fleet(graph, "--quorum-writes", str(RACK // 2 + 1), *PATIENT)) as fleet:
            yield stores(fleet, f"bridged-{nodes}", RACK // 2 + 1)


def racks(count: int, size: int, bridges: int = 2) -> Graph:
    """Racks in which everybody knows everybody, in a ring; neighbours are joined by `bridges` lines, whose ends are
    other nodes for either neighbour where the rack has enough."""
    lines: list[set[int]] = [set() for _ in range(count * size)]

    def join(one: int, other: int) -> None:
        lines[one].add(other)
        lines[other].add(one)

    for rack in range(count):
        first, following = rack * size, (rack + 1) % count * size
        for one in range(size):
            for other in range(one):
                join(first + one, first + other)
        if count > 1 and (count > 2 or rack == 0):
            for line in range(bridges):
                join(first + size - 1 - line, following + line)
    return [sorted(each) for each in lines]


def by_cpu(seconds: float, count: int) -> float:
    """How many a second the cores of this machine could do if nobody else used them, by the CPU time that `count` of
    them took."""
    return (os.cpu_count() or 1) * count / seconds


def stores(fleet: Fleet, row: str, writes: int, *, rows: int = ROWS) -> Figure:
    """Store rows through node 0, then wait until all hold the same. A row that fewer than `writes` hold is an error:
    its reply would be a 503."""
    seed = random.randrange(1, 1 << 16)
    texts = Texts(seed)
    drive(fleet.ports[0], CLIENTS, supply(texts, seed * 10_000_000, 60, _WARM))
    fleet.wait_alike()
    before = [fleet.cpu(number) for number in range(len(fleet))]
    outcome = drive(fleet.ports[0], CLIENTS, supply(texts, seed * 10_000_000 + _WARM, 600, rows))
    stored = [fleet.cpu(number) for number in range(len(fleet))]
    ended = time.perf_counter()
    fleet.wait_alike()
    alike = time.perf_counter() - ended
    spent = [fleet.cpu(number) - at for number, at in enumerate(before)]
    values = {
        "nodes": len(fleet),
        "writes": writes,
        "per_second": outcome.rate,
        "p50_ms": outcome.percentile(0.5),
        "p99_ms": outcome.percentile(0.99),
        "alike_s": alike,
        "by_cpu_per_second": by_cpu(sum(spent) + outcome.own_cpu, rows),
        "entry_cpu_us": (stored[0] - before[0]) / rows * 1e6,
        "copy_cpu_us": sum(spent) / rows / len(fleet) * 1e6,
        "memory_mb": max(fleet.memory_mb(number) for number in range(len(fleet))),
    }
    return Figure(row, rows, "keyword", CLIENTS, outcome.errors(), values=values)
