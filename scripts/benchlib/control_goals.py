"""What each figure of the control plane is to reach: for README.md, aimem-limits(7) and the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from benchlib import mesh_goals
from benchlib.figures import Figure
from benchlib.mesh_goals import Goal

GOALS = (
    Goal("the gate, of the CPU of a store; 1,000 policies, 10,000 namespaces and agents", "gate", "gate_share", 0.05),
    Goal("CPU of the gate", "gate", "gate_cpu_us"),
    Goal("CPU of a store under a policy, of one without, 64 clients", "store-ruled", "cpu_ratio", 1.05),
    Goal("one agent among 10,000, p50", "agent", "p50_ms", 5),
    Goal("all that has a say in a namespace, p50", "chain", "p50_ms", 5),
    Goal("what an agent may do there, p50", "explain", "p50_ms", 5),
    Goal("the queue of a rack, a page of 100 among 100,000 that wait, p50", "queue", "p50_ms", 5),
    Goal("a policy set on one of 25 nodes, in force on all, p99", "policy-everywhere", "p99_ms", 2_000),
    Goal("p50", "policy-everywhere", "p50_ms"),
    Goal("a decision, five electors, p50", "decision", "p50_ms", 50),
    Goal("where another node is asked than the one it was parked on, p50", "decision-elsewhere", "p50_ms", 50),
    Goal("CPU of all five nodes, parking and finding it included", "decision-elsewhere", "fleet_cpu_ms"),
    Goal("webhooks: events to one receiver, beside 1,000 stores a second", "webhooks-beside", "per_second"),
    Goal("p99 of those stores, of the p99 without a subscription", "webhooks-beside", "p99_ratio", 1.2),
    Goal("CPU of an event", "webhooks-beside", "event_cpu_us"),
    Goal("webhooks: events a second, 10,000 of them at once", "webhooks-burst", "per_second", 1_000),
)


def table(figures: Sequence[Figure]) -> str:
    """The table in Markdown, without what was not measured."""
    return mesh_goals.table(figures, GOALS)
