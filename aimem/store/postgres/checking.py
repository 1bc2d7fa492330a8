"""Does everything that derives from the records still say what they say? Slow and complete; reads only, in batches."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aimem.core.digest import Digest, stage
from aimem.core.kinds import MEMORY
from aimem.core.pairs import Pair, by_age, pair_of
from aimem.core.record import Record
from aimem.limits import SCAN_BATCH
from aimem.store.postgres.checking_vectors import check_vectors
from aimem.store.postgres.known import COLUMNS, row_of
from aimem.store.postgres.session import Connection, one, rows
from aimem.store.postgres.standing import standing
from aimem.store.postgres.words import lexemes
from aimem.store.transaction import Row

_SHOWN_MAX = 20  # complaints of one sort; more say nothing new


async def check(connection: Connection) -> list[str]:
    """What is wrong, in words; empty when all is well. Wants one state around it."""
    state = await standing(connection)
    deltas: dict[int, int] = {}
    claims: dict[Pair, list[Record]] = {}
    shown: set[str] = set()
    wrong: list[str] = []
    head = last_row = 0
    async for batch in _batches(connection):
        for row in batch:
            record = _anew(row.record)
            head, last_row = max(head, row.seq), row.row
            stage(deltas, None, record)
            if record.hash != row.record.hash:
                wrong.append(f"hash: {record.ref} does not match its body")
            if record.kind == MEMORY and (pair := pair_of(record)) is not None:
                claims.setdefault(pair, []).append(record)
            if row.visible:
                shown.add(record.key)
        wrong += await _check_words(connection, [row for row in batch if row.visible])
    counted = Digest()
    counted.apply(deltas)
    if counted != state.digest:
        wrong.append("digest: it is not that of the records")
    if head > state.head or last_row > state.last_row:
        wrong.append(f"feed: a record has seq {head} and row {last_row}, past the head {state.head}, {state.last_row}")
    if len(shown) != state.visible:
        wrong.append(f"count: {len(shown)} memories are visible, not {state.visible}")
    holders = {by_age(records)[0].key for records in claims.values()}
    wrong += [
        f"pairs: {key} is {'hidden, but holds its pair' if key in holders else 'shown, but does not hold its pair'}"
        for key in sorted(holders ^ shown)[:_SHOWN_MAX]
    ]
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


def _anew(record: Record) -> Record:
    """The record with its hash computed anew."""
    return Record(
        record.kind,
        record.key,
        record.version,
        record.born,
        record.raw,
        deleted=record.deleted,
        extra=record.extra,
    )


async def _check_words(connection: Connection, visible: list[Row]) -> list[str]:
    """The word index holds exactly the words of these."""
    made = [lexemes(row.record) for row in visible]
    found = await rows(
        connection,
        "SELECT t.row FROM unnest(%s::bigint[], %s::integer[], %s::text[]) AS t (row, size, found) "
        "LEFT JOIN words w ON w.row = t.row "
        "WHERE (w.size, w.found) IS DISTINCT FROM (t.size, t.found::tsvector) LIMIT %s",
        ([row.row for row in visible], [each.size for each in made], [each.found for each in made], _SHOWN_MAX),
    )
    return [f"words: the index does not hold the words of row {row}" for (row,) in found]
