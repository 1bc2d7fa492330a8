"""Nodes that are one memory: four of them, more and more of them, over bridges, a hundred, and thousands of agents.

Without a choice: four. All nodes and the load share this machine, so figures of CPU tell more than rates do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from benchlib import kept, mesh_agents, mesh_four, mesh_hundred, mesh_sizes
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
    kept.arguments(parser)


def run(options: argparse.Namespace) -> int:
    parts = options.parts or ["four"]
    return kept.run(options, (figure for part in parts for figure in _PARTS[part][1](options)))
