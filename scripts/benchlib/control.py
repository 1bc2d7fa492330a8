"""The control plane: what the gate costs, how fast rules, agents and queues are read, how soon
a policy is in force on all nodes, and how long a decision takes.

Without a choice: all of it. Everything shares this machine, so ratios of one run and CPU time tell more than rates do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from benchlib import control_fleet, control_gate, control_reads, kept
from benchlib.figures import Figure
from benchlib.governed import FULL, SMALL, Size

_PARTS: dict[str, tuple[str, Callable[[Size, float], Iterator[Figure]]]] = {
    "gate": ("stores under policies and under none, in turn", control_gate.measure),
    "reads": ("an agent, the rules of a namespace, the queue of a rack", control_reads.measure),
    "policies": ("a policy set on one node, in force on all", control_fleet.measure_policies),
    "decisions": ("a parked write, approved among five electors", control_fleet.measure_decisions),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    for name, (help, _) in _PARTS.items():
        parser.add_argument(f"--{name}", action="append_const", dest="parts", const=name, help=help)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (10)")
    parser.add_argument("--small", action="store_true", help="little of everything, to see that it runs")
    kept.arguments(parser)


def run(options: argparse.Namespace) -> int:
    size = SMALL if options.small else FULL
    parts = options.parts or list(_PARTS)
    return kept.run(options, (figure for part in parts for figure in _PARTS[part][1](size, options.seconds)))
