"""Ten racks of ten, a hundred real nodes on this machine: W=3, racks joined by bridges."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator

from benchlib.figures import Figure
from benchlib.fleet import Fleet, Graph, running
from benchlib.mesh_sizes import PATIENT, stores
from benchlib.node import DIST

RACKS, SIZE = 10, 10
WRITES = 3


def graph() -> Graph:
    """Five peers each: two neighbours to either side in the rack, and the node across in the next rack or the one
    before, so that with itself each node counts six."""
    lines: list[set[int]] = [set() for _ in range(RACKS * SIZE)]

    def join(one: int, other: int) -> None:
        lines[one].add(other)
        lines[other].add(one)

    for rack in range(RACKS):
        for slot in range(SIZE):
            for step in (1, 2):
                join(rack * SIZE + slot, rack * SIZE + (slot + step) % SIZE)
        for slot in range(0, SIZE, 2):
            join(rack * SIZE + slot, (rack + 1) % RACKS * SIZE + slot + 1)
    return [sorted(each) for each in lines]


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """One figure: writes a second, time to equal digests, memory, and how long `aimem fleet` takes."""
    began = time.perf_counter()
    fleet = Fleet(
        graph(), "--quorum-writes", str(WRITES), *PATIENT, flags_of=lambda number: ("--rack", f"r{number // SIZE}")
    )
    with running(fleet):
        started = time.perf_counter() - began
        figure = stores(fleet, "hundred", WRITES)
        figure.values["start_s"] = started
        before = time.perf_counter()
        url = f"http://127.0.0.1:{fleet.ports[0]}"
        subprocess.run(
            [sys.executable, str(DIST), "fleet", "--from", url], check=True, capture_output=True, timeout=120
        )
        figure.values["fleet_s"] = time.perf_counter() - before
        yield figure
