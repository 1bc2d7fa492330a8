"""Nodes that are one memory: four of them, more and more of them, over bridges, a hundred, and thousands of agents.

Without a choice: four. All nodes and the load share this machine, so figures of CPU tell more than rates do.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchlib import figures, mesh_agents, mesh_four, mesh_hundred, mesh_sizes
from benchlib.figures import Figure

_PARTS: dict[str, tuple[str, Callable[[argparse.Namespace], Iterator[Figure]]]] = {
    "four": ("four nodes, W=2, plain and mTLS: stores, catching up, idle", mesh_four.measure),
    "sizes": ("full meshes of 2 to 50 nodes, a majority each", mesh_sizes.measure_full),
    "bridged": ("the same rows over racks of five and bridges", mesh_sizes.measure_bridged),
    "hundred": ("ten racks of ten, W=3 of 6", mesh_hundred.measure),
    "agents": ("2,000 agents at one node, 5,000 at a mesh of twelve", mesh_agents.measure),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    for name, (help, _) in _PARTS.items():
        parser.add_argument(f"--{name}", action="append_const", dest="parts", const=name, help=help)
    parser.add_argument("--all", action="store_const", dest="parts", const=list(_PARTS), help="all of these")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load on four nodes, and of agents")
    parser.add_argument("--rows", type=int, default=50_000, help="that an empty node catches up with; 0: none")
    parser.add_argument("--idle-seconds", type=float, default=20.0, help="0: not measured")
    parser.add_argument("--nodes", type=int, nargs="+", help="these sizes only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there, beside those of other parts")


def run(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the nodes are ended first
    machine = figures.machine()
    found: list[Figure] = []
    for part in options.parts or ["four"]:
        for figure in _PARTS[part][1](options):
            print(figure.line(), flush=True)
            found.append(figure)
    if options.json:
        kept = figures.read(options.json)[1] if options.json.exists() else []
        measured = {figure.row for figure in found}
        figures.write(options.json, [*(each for each in kept if each.row not in measured), *found], machine)
    failed = [each for each in found if each.errors]
    for each in failed:
        print(f"FAILED: {each.errors} errors in {each.row}", file=sys.stderr)
    return 1 if failed else 0
