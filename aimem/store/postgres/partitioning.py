"""Cutting the table of vectors into another number of parts, while nodes search in it and settle into it.

A table is filled beside it: first from the old one, by row number, then behind the feed, as `settling` does it, from
the position that the old one had before the first row was copied. So whatever is settled meanwhile comes there too.
Then its graph is built, part by part, and it takes the place of the old one in one transaction, for which searches wait
some milliseconds. How far all of this has come is noted in `progress`, in the transaction that came so far: what was
cut off is gone on with by whoever asks for the same number next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from psycopg import errors

from aimem.store.postgres.cover import COVER, build_cover, has_cover, names_namespaces
from aimem.store.postgres.graph import build_part, wants_graph
from aimem.store.postgres.partitions import EMBEDDING, NAMESPACE, NEXT, OLD, ROOT, parts
from aimem.store.postgres.session import Connection, one, together
from aimem.store.postgres.settling import settle
from aimem.store.postgres.upkeep import alone

Tell = Callable[[str], None]

_BATCH = 5_000  # vectors that are copied in one transaction: 4 MB
_LOCK_TIMEOUT: Final = "1500ms"  # so long may searches wait; the server calls a vacuum off after 1 s
_AGAIN_SECS = 3.0
_LATE = (errors.LockNotAvailable, errors.DeadlockDetected)

_COPY = f"""
INSERT INTO {NEXT} (row, piece, model, mark, vector, root, namespace)
SELECT e.row, e.piece, e.model, e.mark, e.vector, {ROOT}, {NAMESPACE} FROM {EMBEDDING} e JOIN record r ON r.row = e.row
WHERE e.row > %s AND e.row <= %s
"""
_BATCH_END = f"""
SELECT max(row) FROM (SELECT row FROM {EMBEDDING} WHERE row > %s AND row <= %s ORDER BY row LIMIT %s) batch
"""
_BEHIND = f"""
SELECT substr(old.name, length('settled:') + 1), old.position > coalesce(new.position, 0)
FROM progress old LEFT JOIN progress new ON new.name = '{NEXT}:' || old.name
WHERE starts_with(old.name, 'settled:') ORDER BY old.position DESC LIMIT 1
"""
_SWAP = (
    f"ALTER TABLE {EMBEDDING} RENAME TO {OLD}",  # dropping its parts would take longer
    f"ALTER INDEX IF EXISTS {EMBEDDING}_graph RENAME TO {OLD}_graph",
    f"ALTER INDEX IF EXISTS {COVER} RENAME TO {OLD}_namespace",
    f"ALTER TABLE {NEXT} RENAME TO {EMBEDDING}",
    f"ALTER INDEX IF EXISTS {NEXT}_graph RENAME TO {EMBEDDING}_graph",
    f"ALTER INDEX IF EXISTS {NEXT}_namespace RENAME TO {COVER}",
    "UPDATE progress old SET position = greatest(old.position, new.position) "
    f"FROM progress new WHERE new.name = '{NEXT}:' || old.name",
)
_DROP_OLD = f"DROP TABLE IF EXISTS {OLD}"
_FORGET = f"DELETE FROM progress WHERE starts_with(name, '{NEXT}:')"


async def partition(connection: Connection, count: int, tell: Tell = lambda words: None) -> list[str]:
    """Cut the vectors into `count` parts, or go on with what was begun. Where there are as many already, only a table
    that an older program has left without namespaces is made anew. What was done, in words; `tell` hears how it
    comes on. The connection autocommits, is kept for it alone, and is closed then.

    Raises:
        Locked: another one is at it, or at the upkeep.
    """
    await alone(connection)
    await connection.execute(_DROP_OLD)
    begun = len(await parts(connection, NEXT))
    if len(await parts(connection)) == count and await names_namespaces(connection):
        await _drop(connection)
        dropped = [f"the table of {begun} that was begun is dropped"] if begun else []
        return [f"partitions = {count} already", *dropped]
    if begun != count:
        await _drop(connection)
        await _begin(connection, count)
    await _copy(connection, tell)
    await _follow(connection)
    # What was swept while this was left lying is not in the feed any more.
    await connection.execute(f"DELETE FROM {NEXT} n WHERE NOT EXISTS (SELECT FROM record r WHERE r.row = n.row)")
    await connection.execute(f"ANALYZE {NEXT}")
    while await wants_graph(connection, NEXT):
        async with together(connection):
            part = await build_part(connection, NEXT)
        tell(f"the graph of {part} is built")
    if await has_cover(connection):
        await build_cover(connection, NEXT)
        tell("the covering index is built")
    waited = await _swap(connection, tell)
    tell("searches look in the new table")
    await connection.execute(_DROP_OLD)
    return [f"partitions = {count}; searches waited {waited * 1_000:.0f} ms at most"]


async def half_done(connection: Connection) -> str | None:
    """What was begun and not finished, in words."""
    begun, there = len(await parts(connection, NEXT)), len(await parts(connection))
    if not begun:
        return None
    return (
        f"a change to {begun} partitions was begun: `aimem store partition {begun}` goes on with it, "
        f"`aimem store partition {there}` drops it"
    )


async def _drop(connection: Connection) -> None:
    async with together(connection):
        await connection.execute(f"DROP TABLE IF EXISTS {NEXT}")
        await connection.execute(_FORGET)


async def _begin(connection: Connection, count: int) -> None:
    """Make the empty table. What is settled from here on is followed up later; what was is copied."""
    kept = await one(
        connection,
        "SELECT bool_and('vacuum_index_cleanup=off' = ANY(reloptions)) FROM pg_class WHERE oid = ANY(%s::regclass[])",
        (await parts(connection),),
    )
    options = "WITH (vacuum_index_cleanup = off)" if kept == (True,) else ""
    async with together(connection):
        await connection.execute(
            f"CREATE TABLE {NEXT} (LIKE {EMBEDDING} INCLUDING STORAGE, PRIMARY KEY (row, piece, root)) "
            "PARTITION BY HASH (root)"
        )
        await connection.execute(f"ALTER TABLE {NEXT} ALTER namespace SET NOT NULL")
        taken = await one(connection, "SELECT to_regclass(%s) IS NOT NULL", (f"{EMBEDDING}_{count}_0",)) == (True,)
        again = "_again" if taken else ""  # into as many parts as there are
        for part in range(count):
            await connection.execute(
                f"CREATE TABLE {EMBEDDING}_{count}_{part}{again} PARTITION OF {NEXT} "
                f"FOR VALUES WITH (MODULUS {count}, REMAINDER {part}) {options}"
            )
        await connection.execute(
            f"INSERT INTO progress SELECT '{NEXT}:' || name, position FROM progress WHERE starts_with(name, 'settled:')"
        )
        await connection.execute(  # after the positions: what is settled in between comes twice, not never
            f"INSERT INTO progress SELECT '{NEXT}:copied', 0 UNION ALL "
            f"SELECT '{NEXT}:until', coalesce(max(row), 0) FROM {EMBEDDING}"
        )


async def _copy(connection: Connection, tell: Tell) -> None:
    """From the old table, row by row, up to the last that it had at the beginning."""
    until = await _noted(connection, "until")
    while (after := await _noted(connection, "copied")) < until:
        async with together(connection):
            (end,) = await one(connection, _BATCH_END, (after, until, _BATCH)) or (None,)
            end = until if end is None else end
            await connection.execute(_COPY, (after, end))
            await connection.execute(f"UPDATE progress SET position = %s WHERE name = '{NEXT}:copied'", (end,))
        tell(f"{end / until:.0%} of the vectors are copied")


async def _noted(connection: Connection, name: str) -> int:
    found = await one(connection, "SELECT position FROM progress WHERE name = %s", (f"{NEXT}:{name}",))
    return int(found[0]) if found else 0


async def _behind(connection: Connection) -> str | None:
    """The model of the nodes, while the new table has not all of its vectors that the old one has."""
    found = await one(connection, _BEHIND)
    return str(found[0]) if found is not None and found[1] else None


async def _follow(connection: Connection) -> None:
    while (model := await _behind(connection)) is not None:
        async with together(connection):
            await settle(connection, model, NEXT)


async def _swap(connection: Connection, tell: Tell) -> float:
    """Put the new table into the place of the old one. For how long (s) a search may have waited for it."""
    while True:
        await _follow(connection)
        try:
            async with together(connection):
                # Nobody settles from here on: in the same order as settling takes its locks.
                await connection.execute("SELECT FROM progress WHERE starts_with(name, 'settled:') FOR UPDATE")
                while (model := await _behind(connection)) is not None:
                    await settle(connection, model, NEXT)
                await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                began = monotonic()
                await connection.execute(f"LOCK TABLE {EMBEDDING} IN ACCESS EXCLUSIVE MODE")
                if await _behind(connection) is not None:
                    continue  # a first node with a model came by
                for statement in (*_SWAP, _FORGET):
                    await connection.execute(statement)
            return monotonic() - began
        except _LATE:
            tell("something reads the vectors for long: waiting for a gap")
            await asyncio.sleep(_AGAIN_SECS)
