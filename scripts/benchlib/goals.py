"""What each row of the speed table is to reach, and the table as text: for README.md, aimem-limits(7) and the terminal.

A goal speaks of one value of one row at one N. Rates are floors; times and memory are ceilings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchlib.figures import Figure

_FLOORS = frozenset({"per_second", "rows_per_second", "texts_per_second", "recall_at_10", "share", "cores_used"})
_FORMS = {
    "per_second": "{:,.0f} per s",
    "rows_per_second": "{:,.0f} rows per s",
    "texts_per_second": "{:,.0f} texts per s",
    "cores_used": "{:.1f} cores",
    "p50_ms": "p50 {:.1f} ms",
    "p99_ms": "p99 {:,.1f} ms",
    "above_ms": "{:.0f} ms",
    "first_recall_s": "{:.2f} s",
    "first_hybrid_s": "{:.2f} s",
    "resident_mb": "{:,.0f} MB",
    "disk_mb": "{:,.0f} MB",
    "recall_at_10": "{:.3f}",
    "share": "{:.0%}",
    "node_cpu_us": "{:,.0f} us",
    "server_cpu_us": "{:,.0f} us",
    "graph_s": "{:,.1f} s",
    "indexes_s": "{:,.1f} s",
    "peak_mb": "{:,.0f} MB",
    "memories_per_second": "{:,.0f} per s",
    "cost_ratio": "{:.2f} times",
    "deadlocks": "{:.0f}",
}
SIZES = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Goal:
    """What a value of a row is to reach at some N; a row without `reach` is only told."""

    work: str
    row: str
    tier: str
    value: str
    reach: dict[int, float]

    def met(self, rows: int, measured: float) -> bool | None:
        """None when nothing was promised at this N."""
        wanted = self.reach.get(rows)
        if wanted is None:
            return None
        return measured >= wanted if self.value in _FLOORS else measured <= wanted


K, S = "keyword", "semantic"
T100, M1 = 100_000, 1_000_000
GOALS = (
    Goal("store, 64 clients, every one fsynced", "store-64", K, "per_second", {T100: 2_500, M1: 2_000}),
    Goal("", "store-64", K, "p99_ms", {T100: 100, M1: 100}),
    Goal("store, 1 client", "store-1", K, "per_second", {T100: 500}),
    Goal(
        "store, 64 clients, embedding behind, of the rate without a model",
        "store-64-backlog",
        S,
        "share",
        {T100: 0.85},
    ),
    Goal("bulk of 500, 1 client", "bulk-500", K, "rows_per_second", {T100: 8_000}),
    Goal("recall, words only, 1 client", "recall-1", K, "p50_ms", {T100: 8}),
    Goal("recall, words only, 16 clients", "recall-16", K, "per_second", {T100: 300}),
    Goal("recall, hybrid, 1 client", "recall-1", S, "p50_ms", {T100: 20, M1: 30}),
    Goal("", "recall-1", S, "p99_ms", {T100: 60, M1: 75}),
    Goal("recall, hybrid, 16 clients", "recall-16", S, "per_second", {T100: 120}),
    Goal("recall@10 of the vectors, of exact search", "vector-recall", S, "recall_at_10", {M1: 0.99}),
    Goal("get by id, 16 clients", "get", K, "per_second", {T100: 3_500}),
    Goal("health, 16 clients", "health", K, "per_second", dict.fromkeys(SIZES, 3_500.0)),
    Goal("start to first recall by words", "start", S, "first_recall_s", {T100: 1, M1: 2}),
    Goal("start to first hybrid recall", "start", S, "first_hybrid_s", {T100: 2, M1: 12}),
    Goal("memory, semantic", "memory", S, "resident_mb", {T100: 400, M1: 1_500}),
    Goal("disk, semantic", "memory", S, "disk_mb", {}),
    Goal("embedding while nobody asks", "embedding", S, "texts_per_second", {}),
    Goal("a command, above the bare interpreter", "command", K, "above_ms", {0: 80}),
)


def table(figures: Sequence[Figure], goals: Sequence[Goal] = GOALS) -> str:
    """The table of these goals in Markdown, without the rows that were not measured. A missed goal is in bold."""
    found = {(each.row, each.tier, each.rows): each.values for each in figures if each.of == "aimem"}
    for (row, _, rows), values in found.items():
        if row == "store-64-backlog" and (without := found.get(("store-64", K, rows))) is not None:
            values["share"] = values["per_second"] / without["per_second"]
    sizes = sorted({rows for _, _, rows in found if rows})
    head = ["work", *(f"{rows:,} rows" for rows in sizes), "to reach"]
    lines = [head, ["---"] * len(head)]
    for goal in goals:
        cells = [_cell(goal, found.get((goal.row, goal.tier, rows)), rows) for rows in _sizes(goal, sizes)]
        if any(cells):
            lines.append([goal.work, *cells, *[""] * (len(sizes) - len(cells)), _reach(goal)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def missed(table: str) -> list[str]:
    """The lines of a table that miss their goal."""
    return [line for line in table.splitlines() if "**" in line]


def _sizes(goal: Goal, sizes: list[int]) -> list[int]:
    return [0] if 0 in goal.reach else sizes


def _cell(goal: Goal, values: dict[str, float] | None, rows: int) -> str:
    measured = None if values is None else values.get(goal.value)
    if measured is None:
        return ""
    told = _FORMS[goal.value].format(measured)
    return f"**{told}**" if goal.met(rows, measured) is False else told


def _reach(goal: Goal) -> str:
    wanted = {
        _FORMS[goal.value].format(value).removeprefix("p50 ").removeprefix("p99 ") for value in goal.reach.values()
    }
    if len(wanted) == 1:
        return wanted.pop()
    return ", ".join(_FORMS[goal.value].format(value) + f" at {rows:,}" for rows, value in goal.reach.items())
