"""The graph over the vectors (HNSW): whether it is there, whether it is wanted, and how it is built.

There is none until there are rows enough for it to save time and all of the feed is followed: what is loaded in bulk is
put in first, and the graph built after, ten times as fast as growing it. Of a table that is cut each part has its own,
built one after the other: each needs memory for itself alone, and what was built stays when the next one is cut off.
"""

from __future__ import annotations

import logging

from aimem.limits import EXACT_SEARCH_ROWS_MAX, GRAPH_MEMORY_KB_MAX
from aimem.store.postgres.partitions import EMBEDDING, has_index, parts
from aimem.store.postgres.session import Connection, lend_memory, one

log = logging.getLogger(__name__)

GRAPH = f"{EMBEDDING}_graph"
_KB_A_ROW = 2  # 1.5 measured
# Of a million, 150 in view find .98 of the ten nearest in it; with 64 they find .95, and the build takes a fifth less.
_OVER = "USING hnsw (vector halfvec_cosine_ops) WITH (m = 16, ef_construction = 100)"


async def has_graph(connection: Connection, table: str = EMBEDDING) -> bool:
    """Whether it is there, for all parts."""
    return await has_index(connection, f"{table}_graph")


async def settled(connection: Connection, table: str = EMBEDDING) -> int:
    """About how many vectors there are; exact while they are few."""
    (about,) = await one(
        connection,
        "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class WHERE oid = ANY(%s::regclass[])",
        (await parts(connection, table),),
    ) or (0,)
    if about < EXACT_SEARCH_ROWS_MAX:
        (about,) = await one(connection, f"SELECT count(*) FROM {table}") or (0,)
    return int(about)


async def wants_graph(connection: Connection, table: str = EMBEDDING) -> bool:
    """Whether there are vectors enough for a graph to save time, and it is not there, or not of all parts."""
    return not await has_graph(connection, table) and await settled(connection, table) > EXACT_SEARCH_ROWS_MAX


async def build_part(connection: Connection, table: str = EMBEDDING) -> str | None:
    """Build that of the next part which has none, inside the caller's transaction, which needs time: 30 s for 100,000
    rows, 8 minutes for a million. Nobody else writes to the table. The part; None where each has its own."""
    for part in await parts(connection, table):
        if await one(connection, "SELECT to_regclass(%s) IS NULL", (f"{part}_graph",)) == (True,):
            await _build(connection, part)
            if part != table:
                await connection.execute(
                    f"CREATE INDEX IF NOT EXISTS {table}_graph ON ONLY {table} {_OVER}; "
                    f"ALTER INDEX {table}_graph ATTACH PARTITION {part}_graph"
                )
            return part
    return None


async def _build(connection: Connection, part: str) -> None:
    count = await settled(connection, part)
    await lend_memory(connection, min(max(1, count) * _KB_A_ROW, GRAPH_MEMORY_KB_MAX))
    log.info("building the graph of %s vectors", count)
    await connection.execute(f"CREATE INDEX {part}_graph ON {part} {_OVER}")
