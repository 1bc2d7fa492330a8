"""Reads: functions of a connection. Those that run several statements want a transaction of one state around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from aimem.core.automatic import NO_USE, use_of
from aimem.core.kinds import LINK, MEMORY, TOUCH, VECTOR, kind_of, source_key
from aimem.core.pairs import pair_of, plain_id
from aimem.core.record import Record, Ref
from aimem.limits import SCAN_BATCH
from aimem.store.base import Filter, Memory
from aimem.store.postgres.filtering import where
from aimem.store.postgres.known import COLUMNS, FIELDS, PAIR, Family, Known, Missing, row_of, touches_of
from aimem.store.postgres.session import Connection, first, one, rows
from aimem.store.postgres.text import numbers as literal
from aimem.store.postgres.text import stored, told
from aimem.store.transaction import Row, pair_text

_PAGE = 1_000  # rows of the feed that are read at once


async def find(connection: Connection, refs: Sequence[Ref]) -> list[Record | None]:
    """The records under these addresses."""
    return [row.record if row else None for row in await _rows(connection, refs)]


async def _rows(connection: Connection, refs: Iterable[Ref]) -> list[Row | None]:
    asked = list(refs)
    known = Known()
    if asked:
        await known.fetch(connection, Missing(dict.fromkeys(asked)))
    return [known.rows[ref] for ref in asked]


async def _memories(connection: Connection, found: Sequence[Row | None]) -> list[Memory | None]:
    """Rows with what their touches add up to."""
    touches = await touches_of(connection, (row.record.key for row in found if row is not None))
    return [None if row is None else _memory(row, touches.get(row.record.key)) for row in found]


def _memory(row: Row, touches: Sequence[Record] | None) -> Memory:
    return Memory(row.row, row.record, use_of(row.record, touches) if touches else NO_USE)


async def memories(connection: Connection, ids: Sequence[str]) -> list[Memory | None]:
    """The visible memories under these ids, or holding their pair."""
    found = await _rows(connection, (Ref(MEMORY, each) for each in ids))
    hidden = [row.record for row in found if row is not None and not row.visible]
    pairs = [pair for record in hidden if (pair := pair_of(record)) is not None]
    holders: dict[object, Row] = {}
    if pairs:
        known = Known()
        plain = (Ref(MEMORY, plain_id(pair)) for pair in pairs)
        families = (Family(PAIR, pair_text(pair)) for pair in pairs)
        await known.fetch(connection, Missing(dict.fromkeys(plain), dict.fromkeys(families)))
        shown = (row for row in known.rows.values() if row is not None and row.visible)
        holders = {pair_of(row.record): row for row in shown}
    return await _memories(
        connection, [row if row is None or row.visible else holders.get(pair_of(row.record)) for row in found]
    )


async def by_rows(connection: Connection, numbers: Sequence[int]) -> list[Memory | None]:
    """The visible memories under these row numbers."""
    return await (await asking_by_rows(connection, numbers))()


async def asking_by_rows(
    connection: Connection, numbers: Sequence[int]
) -> Callable[[], Awaitable[list[Memory | None]]]:
    """Asks for what `by_rows` gives; what comes back waits for it. In pipeline mode other statements may go with it."""
    asked = await connection.execute(_WITH_TOUCHES, (literal(numbers),))

    async def told() -> list[Memory | None]:
        return _with_touches(await asked.fetchall(), numbers)

    return told


def _with_touches(found: Iterable[tuple[Any, ...]], numbers: Sequence[int]) -> list[Memory | None]:
    held: dict[int, Row] = {}
    touches: dict[str, list[Record]] = {}
    for row in map(row_of, found):
        if row.record.kind == MEMORY:
            held[row.row] = row
        else:
            touches.setdefault(source_key(*row.record.ref), []).append(row.record)
    asked = (held.get(number) for number in numbers)
    return [None if row is None else _memory(row, touches.get(row.record.key)) for row in asked]


# One statement for both: a recall waits for it. OFFSET as in `known._MADE`.
_WITH_TOUCHES = f"""
WITH asked AS MATERIALIZED (SELECT {COLUMNS} FROM record WHERE row = ANY(%s::bigint[]) AND visible)
SELECT * FROM asked UNION ALL SELECT {FIELDS} FROM asked CROSS JOIN LATERAL (
    SELECT * FROM record
    WHERE kind = '{TOUCH}' AND key >= asked.key || '/' AND key < asked.key || '0' OFFSET 0
) r
"""


async def under(connection: Connection, kind: str, prefix: str) -> list[Record]:
    """The live records of a kind whose keys begin with the parts of `prefix`."""
    first = stored(prefix)
    found = await rows(
        connection,
        f"SELECT {COLUMNS} FROM record WHERE kind = %s AND key >= %s AND key < %s AND NOT deleted ORDER BY key",
        (stored(kind), f"{first}/", f"{first}0"),  # "0" follows "/"
    )
    return [row_of(values).record for values in found]


async def ids_with_prefix(connection: Connection, prefix: str, limit: int) -> list[str]:
    """Ids of visible memories that start with `prefix`."""
    first = stored(prefix)
    found = await rows(
        connection,
        "SELECT key FROM record WHERE kind = %s AND key >= %s AND key < %s AND visible ORDER BY key LIMIT %s",
        (MEMORY, first, first + "\U0010ffff", limit),
    )
    return [told(key) for (key,) in found]


async def select(connection: Connection, which: Filter, limit: int, offset: int) -> list[Memory]:
    """Visible memories by priority and time of last write, both descending."""
    condition, values = where(which)
    found = await rows(
        connection,
        f"SELECT {FIELDS} FROM record r WHERE {condition} ORDER BY r.priority DESC, r.updated DESC, r.key "
        "LIMIT %(limit)s OFFSET %(offset)s",
        {**values, "limit": limit, "offset": offset},
    )
    return [each for each in await _memories(connection, list(map(row_of, found))) if each is not None]


async def numbers(connection: Connection, which: Filter) -> list[int]:
    """Row numbers of all visible memories that pass the filter."""
    condition, values = where(which)
    return [row for (row,) in await rows(connection, f"SELECT r.row FROM record r WHERE {condition}", values)]


async def links(connection: Connection, ids: Sequence[str]) -> list[Record]:
    """Live links of these memories, both of whose ends are visible."""
    known = Known()
    await known.fetch(connection, Missing(families=dict.fromkeys(Family(LINK, each) for each in ids)))
    found = [row.record for row in known.rows.values() if row is not None]
    ends = [Ref(MEMORY, end) for link in found for end in (link.body["source_id"], link.body["target_id"])]
    shown = {row.record.key for row in await _rows(connection, dict.fromkeys(ends)) if row is not None and row.visible}
    kept = [link for link in found if {link.body["source_id"], link.body["target_id"]} <= shown]
    return sorted(kept, key=lambda link: (link.body["created_at"], link.key))


async def archived(connection: Connection, namespace: str | None, limit: int, offset: int) -> list[Record]:
    """What the archive holds, the latest first."""
    condition = "archived IS NOT NULL" + ("" if namespace is None else " AND namespace = %(namespace)s")
    found = await rows(
        connection,
        f"SELECT {COLUMNS} FROM record WHERE {condition} ORDER BY archived DESC, key LIMIT %(limit)s OFFSET %(offset)s",
        {"limit": limit, "offset": offset, "namespace": stored(namespace or "")},
    )
    return [row_of(values).record for values in found]


async def archived_before(connection: Connection, before: int, limit: int) -> list[Ref]:
    """What went to the archive before `before`, the earliest first."""
    found = await rows(
        connection,
        "SELECT kind, key FROM record WHERE archived < %s ORDER BY archived, key LIMIT %s",
        (before, limit),
    )
    return [Ref(told(kind), told(key)) for kind, key in found]


async def expired(connection: Connection, before: int, limit: int) -> list[str]:
    """Ids of live, unarchived memories that expire before `before`."""
    found = await rows(
        connection, "SELECT key FROM record WHERE expires < %s ORDER BY expires LIMIT %s", (before, limit)
    )
    return [told(key) for (key,) in found]


async def last_tombstone(connection: Connection, before: int) -> int:
    """The highest `seq` of a tombstone that was stored before `before`."""
    (seq,) = await first(connection, "SELECT max(seq) FROM record WHERE stored < %s AND deleted", (before,))
    return int(seq or 0)


class Page(NamedTuple):
    """A page of the feed: what stands in it, the incarnation and opening that a cursor after it names, its position,
    and whether the bounds cut it."""

    found: list[tuple[int, Record]]
    incarnation: str
    start: str
    position: int
    more: bool


async def changes(connection: Connection, after: int, limit: int, size: int, kinds: tuple[str, ...] | None) -> Page:
    """The feed after `after`."""
    incarnation, start, head = await first(connection, "SELECT incarnation, start, head FROM state")
    condition = "" if kinds is None else "AND kind = ANY(%(kinds)s::text[])"
    values: dict[str, Any] = {"kinds": list(map(stored, kinds or ())), "page": min(limit + 1, _PAGE)}
    found: list[tuple[int, Record]] = []
    last = after
    while True:
        page = await rows(
            connection,
            f"SELECT {COLUMNS} FROM record WHERE seq > %(last)s {condition} ORDER BY seq LIMIT %(page)s",
            {**values, "last": last},
        )
        for row in map(row_of, page):
            size -= len(row.record.raw)
            if found and (len(found) >= limit or size < 0):
                return Page(found, incarnation, start, found[-1][0], True)
            found.append((row.seq, row.record))
        if len(page) < values["page"]:
            return Page(found, incarnation, start, max(head, after), False)
        last = found[-1][0]


async def position(connection: Connection, name: str) -> int:
    """A kept position, 0 when there is none."""
    found = await one(connection, "SELECT position FROM progress WHERE name = %s", (stored(name),))
    return int(found[0]) if found else 0


async def positions(connection: Connection, prefix: str) -> dict[str, int]:
    """All kept positions whose names start with `prefix`."""
    found = await rows(connection, "SELECT name, position FROM progress WHERE starts_with(name, %s)", (stored(prefix),))
    return {told(name): at for name, at in found}


async def starts(connection: Connection) -> list[tuple[str, int]]:
    """Every opening with its first `seq`."""
    found = await rows(connection, "SELECT id, first_seq FROM start ORDER BY number")
    return [(start, first) for start, first in found]


async def scan(connection: Connection, kind: str) -> AsyncIterator[list[tuple[int, Record]]]:
    """All live records of a kind in batches, each with the row of the visible memory that it was made from."""
    own = kind == VECTOR or not kind_of(kind).derived
    source = "r.key" if own else "left(r.key, length(r.key) - strpos(reverse(r.key), '/'))"
    statement = (
        f"SELECT {FIELDS}, (SELECT m.row FROM record m WHERE m.kind = '{MEMORY}' AND m.key = {source} AND m.visible) "
        "FROM record r WHERE r.kind = %s AND NOT r.deleted AND r.row > %s ORDER BY r.row LIMIT %s"
    )
    last = 0
    while batch := await rows(connection, statement, (stored(kind), last, SCAN_BATCH)):
        last = batch[-1][0]
        yield [(values[-1] or 0, row_of(values[:-1]).record) for values in batch]
