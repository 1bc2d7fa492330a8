"""What each row of the speed table is to reach, and the table as text: for README.md, aimem-limits(7) and the terminal.

A goal speaks of one value of one row at one N. Rates are floors; times and memory are ceilings.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchlib.figures import Figure

_FLOORS = frozenset({"per_second", "rows_per_second", "texts_per_second", "recall_at_10", "share", "cores_used"})
_FORMS = {
    "per_second": "{:,.0f} per s",
    "rows_per_second": "{:,.0f} rows per s",
    "texts_per_second": "{:,.0f} texts per s",
    "cores_used": "{:.1f} cores",
    "p50_ms": "p50 {:.1f} ms",
    "p99_ms": "p99 {:.1f} ms",
    "above_ms": "{:.0f} ms",
    "first_recall_s": "{:.2f} s",
    "first_hybrid_s": "{:.2f} s",
    "resident_mb": "{:,.0f} MB",
    "disk_mb": "{:,.0f} MB",
    "recall_at_10": "{:.3f}",
    "share": "{:.0%}",
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
_100T, _1M = 100_000, 1_000_000
GOALS = (
    Goal("store, 64 clients, every one fsynced", "store-64", K, "per_second", {_100T: 2_500, _1M: 2_000}),
    Goal("", "store-64", K, "p99_ms", {_100T: 100, _1M: 100}),
    Goal("store, 1 client", "store-1", K, "per_second", {_100T: 500}),
    Goal(
        "store, 64 clients, embedding behind, of the rate without a model",
        "store-64-backlog",
        S,
        "share",
        {_100T: 0.85},
    ),
    Goal("bulk of 500, 1 client", "bulk-500", K, "rows_per_second", {_100T: 8_000}),
    Goal("recall, words only, 1 client", "recall-1", K, "p50_ms", {_100T: 8}),
    Goal("recall, words only, 16 clients", "recall-16", K, "per_second", {_100T: 300}),
    Goal("recall, hybrid, 1 client", "recall-1", S, "p50_ms", {_100T: 20, _1M: 30}),
    Goal("", "recall-1", S, "p99_ms", {_100T: 60, _1M: 75}),
    Goal("recall, hybrid, 16 clients", "recall-16", S, "per_second", {_100T: 120}),
    Goal("recall@10 of the vectors, of exact search", "vector-recall", S, "recall_at_10", {_1M: 0.99}),
    Goal("get by id, 16 clients", "get", K, "per_second", {_100T: 3_500}),
    Goal("health, 16 clients", "health", K, "per_second", dict.fromkeys(SIZES, 3_500.0)),
    Goal("start to first recall by words", "start", S, "first_recall_s", {_100T: 1, _1M: 2}),
    Goal("start to first hybrid recall", "start", S, "first_hybrid_s", {_100T: 2, _1M: 12}),
    Goal("memory, semantic", "memory", S, "resident_mb", {_100T: 400, _1M: 1_500}),
    Goal("disk, semantic", "memory", S, "disk_mb", {}),
    Goal("embedding while nobody asks", "embedding", S, "texts_per_second", {}),
    Goal("a command, above the bare interpreter", "command", K, "above_ms", {0: 80}),
)


def table(figures: list[Figure]) -> str:
    """The table in Markdown, without the rows that were not measured. A missed goal is in bold."""
    found = {(each.row, each.tier, each.rows): each.values for each in figures if each.of == "aimem"}
    for (row, _, rows), values in found.items():
        if row == "store-64-backlog" and (without := found.get(("store-64", K, rows))) is not None:
            values["share"] = values["per_second"] / without["per_second"]
    sizes = sorted({rows for _, _, rows in found if rows})
    head = ["work", *(f"{rows:,} rows" for rows in sizes), "to reach"]
    lines = [head, ["---"] * len(head)]
    for goal in GOALS:
        cells = [_cell(goal, found.get((goal.row, goal.tier, rows)), rows) for rows in _sizes(goal, sizes)]
        if any(cells):
            lines.append([goal.work, *cells, *[""] * (len(sizes) - len(cells)), _reach(goal)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def missed(figures: list[Figure]) -> list[str]:
    """The goals that these figures miss."""
    return [line for line in table(figures).splitlines() if "**" in line]


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
