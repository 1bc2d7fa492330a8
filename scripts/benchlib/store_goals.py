"""What each figure of a shared store is to reach: for README.md, aimem-limits(7) and the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from benchlib import goals
from benchlib.figures import Figure
from benchlib.goals import M1, T100, Goal, K, S

_SHARES = {"all": "", "hundredth": ", a namespace of 1 %", "thousandth": ", a namespace of .1 %"}
_P50 = {"all": {T100: 20.0, M1: 30.0}, "hundredth": {T100: 25.0, M1: 25.0}, "thousandth": {T100: 25.0, M1: 25.0}}
_FOUND = {T100: 0.98, M1: 0.98}
_BESIDE = "the same over a file (SQLite)"

GOALS = (
    Goal("store, 64 clients, vectors following behind", "postgres-store", S, "per_second", {T100: 1_500}),
    Goal(_BESIDE, "sqlite-store", S, "per_second", {}),
    Goal("store, 64 clients, without a model", "postgres-store", K, "per_second", {T100: 1_500}),
    Goal("its CPU in the node", "postgres-store", K, "node_cpu_us", {}),
    Goal("its CPU in the server", "postgres-store", K, "server_cpu_us", {}),
    Goal(_BESIDE, "sqlite-store", K, "per_second", {}),
    Goal("its CPU in the node", "sqlite-store", K, "node_cpu_us", {}),
    Goal(
        "eight nodes that write the same 1,000 keys: CPU of a write, of that through one",
        "postgres-eight-nodes",
        K,
        "cost_ratio",
        {T100: 1.5},
    ),
    Goal("deadlocks", "postgres-eight-nodes", K, "deadlocks", {T100: 0}),
    Goal(
        "load of memories with vectors, before indexes",
        "postgres-load",
        S,
        "rows_per_second",
        dict.fromkeys((T100, M1), 25_000.0),
    ),
    Goal("then the graph of vectors", "postgres-load", S, "graph_s", {T100: 40}),
    Goal("then the other indexes", "postgres-load", S, "indexes_s", {}),
    *(
        goal
        for share, words in _SHARES.items()
        for goal in (
            Goal(f"recall, hybrid{words}, 1 client", f"postgres-recall-{share}", S, "p50_ms", _P50[share]),
            Goal("recall@10 of the vectors, of exact search", f"postgres-recall-{share}", S, "recall_at_10", _FOUND),
            Goal(_BESIDE, f"sqlite-recall-{share}", S, "p50_ms", {}),
            Goal("recall@10", f"sqlite-recall-{share}", S, "recall_at_10", {}),
        )
    ),
    Goal("migration of a v0.6.3 file, indexes included", "postgres-migrate", K, "rows_per_second", {T100: 10_000}),
    Goal("of these, memories", "postgres-migrate", K, "memories_per_second", {}),
    Goal("memory of the command", "postgres-migrate", K, "peak_mb", {T100: 200}),
    Goal("a policy set on one node, in force on another", "postgres-stale-policy", K, "p99_ms", {T100: 1_000}),
    Goal("an agent registered on one node, let in by another", "postgres-stale-agent", K, "p99_ms", {T100: 1_000}),
    Goal("disk", "postgres-load", S, "disk_mb", {}),
    Goal(_BESIDE, "sqlite-load", S, "disk_mb", {}),
)


def table(figures: Sequence[Figure]) -> str:
    """The table in Markdown, without what was not measured. A missed goal is in bold."""
    return goals.table(figures, GOALS)
