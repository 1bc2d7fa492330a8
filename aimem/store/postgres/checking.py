"""Does everything that derives from the records still say what they say? Slow and complete; reads only, in batches."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aimem.limits import SCAN_BATCH
from aimem.store.checking import SHOWN_MAX, Walk
from aimem.store.postgres.checking_vectors import check_vectors
from aimem.store.postgres.known import COLUMNS, row_of
from aimem.store.postgres.partitions import HOLD
from aimem.store.postgres.session import Connection, one, rows
from aimem.store.postgres.standing import standing
from aimem.store.postgres.words import lexemes
from aimem.store.transaction import Row


async def check(connection: Connection) -> list[str]:
    """What is wrong, in words; empty when all is well. Wants one state around it."""
    await connection.execute(HOLD)  # before the state is fixed
    state = await standing(connection)
    walk, wrong = Walk(), list[str]()
    async for batch in _batches(connection):
        for row in batch:
            walk.past(row)
        wrong += await _check_words(connection, [row for row in batch if row.visible])
    wrong += walk.faults(state.digest, state.head)
    if walk.last_row > state.last_row:
        wrong.append(f"rows: there is a row {walk.last_row}, past the last, {state.last_row}")
    if len(walk.shown) != state.visible:
        wrong.append(f"count: {len(walk.shown)} memories are visible, not {state.visible}")
    spare = await one(
        connection,
        "SELECT count(*) FROM words w WHERE NOT EXISTS (SELECT FROM record r WHERE r.row = w.row AND visible)",
    )
    wrong += [f"words: the index holds {spare[0]} texts too many"] if spare and spare[0] else []
    return wrong + await check_vectors(connection)


async def _batches(connection: Connection) -> AsyncIterator[list[Row]]:
    last = 0
    statement = f"SELECT {COLUMNS} FROM record WHERE row > %s ORDER BY row LIMIT {SCAN_BATCH}"
    while batch := list(map(row_of, await rows(connection, statement, (last,)))):
        last = batch[-1].row
        yield batch


async def _check_words(connection: Connection, visible: list[Row]) -> list[str]:
    """The word index holds exactly the words of these."""
    made = [lexemes(row.record) for row in visible]
    found = await rows(
        connection,
        "SELECT t.row FROM unnest(%s::bigint[], %s::integer[], %s::text[]) AS t (row, size, found) "
        "LEFT JOIN words w ON w.row = t.row "
        "WHERE (w.size, w.found) IS DISTINCT FROM (t.size, t.found::tsvector) LIMIT %s",
        ([row.row for row in visible], [each.size for each in made], [each.found for each in made], SHOWN_MAX),
    )
    return [f"words: the index does not hold the words of row {row}" for (row,) in found]
