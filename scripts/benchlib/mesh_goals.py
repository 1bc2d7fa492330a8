"""What each figure of the mesh is to reach, and the table as text: for README.md, aimem-limits(7) and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchlib.figures import Figure
from benchlib.mesh_agents import CASES
from benchlib.mesh_sizes import BRIDGED, FULL

_FLOORS = frozenset({"per_second", "rows_per_second"})
_FORMS = {
    "per_second": "{:,.0f} per s",
    "by_cpu_per_second": "{:,.0f} per s",
    "rows_per_second": "{:,.0f} rows per s",
    "core_share": "{:.1%} of a core",
    "pushed_of_body": "{:.1f} times the body",
    "alike_s": "{:.1f} s",
    "fleet_s": "{:.1f} s",
    "start_s": "{:.0f} s",
    "copy_cpu_us": "{:,.0f} us",
    "memory_mb": "{:.0f} MB",
    "connection_kb": "{:.1f} KB",
    "refused": "{:.0f}",
    "cpu_ratio": "{:.0%}",
    "gate_share": "{:.1%}",
    "gate_cpu_us": "{:,.0f} us",
    "p50_ms": "{:,.1f} ms",
    "p99_ms": "{:,.1f} ms",
    "p99_ratio": "{:.0%}",
    "event_cpu_us": "{:,.0f} us",
    "fleet_cpu_ms": "{:,.1f} ms",
    "store_p99_ms": "{:,.0f} ms",
    "recall_p99_ms": "{:,.0f} ms",
}
_BY_CPU = "what the CPU time of that allows, with the cores to itself"
_FULL = dict(zip(FULL, (1_500, 900, 500, 200, 80), strict=True))


@dataclass(frozen=True)
class Goal:
    """What a value of a figure is to reach; without `reach` it is only told."""

    work: str
    row: str
    value: str
    reach: float | None = None

    def met(self, measured: float) -> bool:
        """Whether it does. Rates are floors, all else ceilings."""
        if self.reach is None:
            return True
        return measured >= self.reach if self.value in _FLOORS else measured <= self.reach

    def told(self, measured: float) -> str:
        """The value in words, in bold where it misses."""
        words = _FORMS[self.value].format(measured)
        return words if self.met(measured) else f"**{words}**"


GOALS = (
    Goal("4 nodes, W=2: store, 64 clients", "four-plain-64", "per_second", 1_500),
    Goal(_BY_CPU, "four-plain-64", "by_cpu_per_second"),
    Goal("4 nodes, W=2, mutual TLS: store, 64 clients", "four-mtls-64", "per_second", 1_300),
    Goal(_BY_CPU, "four-mtls-64", "by_cpu_per_second"),
    Goal("4 nodes, W=2, mutual TLS: store, 1 client", "four-mtls-1", "per_second", 300),
    Goal(_BY_CPU, "four-mtls-1", "by_cpu_per_second"),
    Goal("bytes on the wire per store and peer", "four-plain-64", "pushed_of_body", 2),
    Goal("an empty node catches up, mutual TLS", "four-catch-up", "rows_per_second", 5_000),
    Goal("idle, of each node", "four-idle", "core_share", 0.01),
    *(
        goal
        for nodes, rate in _FULL.items()
        for goal in (
            Goal(f"full mesh of {nodes}, W={nodes // 2 + 1}: store, 64 clients", f"full-{nodes}", "per_second", rate),
            Goal("all digests equal after the last write", f"full-{nodes}", "alike_s", 10),
            Goal(_BY_CPU, f"full-{nodes}", "by_cpu_per_second"),
            Goal("CPU of each copy", f"full-{nodes}", "copy_cpu_us"),
        )
    ),
    *(
        goal
        for nodes in BRIDGED
        for goal in (
            Goal(f"{nodes // 5} racks of 5, bridges, W=3: store, 64 clients", f"bridged-{nodes}", "per_second"),
            Goal("all digests equal after the last write", f"bridged-{nodes}", "alike_s", 20),
            Goal(_BY_CPU, f"bridged-{nodes}", "by_cpu_per_second"),
            Goal("CPU of each copy", f"bridged-{nodes}", "copy_cpu_us"),
        )
    ),
    Goal("10 racks of 10, bridges, W=3 of 6: store, 64 clients", "hundred", "per_second"),
    Goal("all digests equal after the last write", "hundred", "alike_s"),
    Goal("CPU of each copy", "hundred", "copy_cpu_us"),
    Goal("memory of a node", "hundred", "memory_mb", 60),
    Goal("one aimem fleet over all", "hundred", "fleet_s", 5),
    *(
        goal
        for agents, nodes, secs in CASES
        for goal in (
            Goal(
                f"{agents:,} agents at {nodes} node{'s' * (nodes > 1)}, a request every {secs:.0f} s: refused",
                f"agents-{agents}",
                "refused",
                0,
            ),
            Goal("store, p99", f"agents-{agents}", "store_p99_ms"),
            Goal("recall, p99", f"agents-{agents}", "recall_p99_ms"),
            Goal("memory of a connection", f"agents-{agents}", "connection_kb"),
        )
    ),
)


def table(figures: Sequence[Figure], goals: Sequence[Goal] = GOALS) -> str:
    """The table of these goals in Markdown, without what was not measured."""
    found = {each.row: each.values for each in figures}
    lines = ["| work | measured | to reach |", "| --- | --- | --- |"]
    for goal in goals:
        if (measured := found.get(goal.row, {}).get(goal.value)) is not None:
            reach = "" if goal.reach is None else _FORMS[goal.value].format(goal.reach)
            lines.append(f"| {goal.work} | {goal.told(measured)} | {reach} |")
    return "\n".join(lines)
