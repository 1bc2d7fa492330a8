"""Following what other nodes wrote to the same store: what this node knows of it, and how it learns of more.

The state row has a `revision` that moves up with every group of every node. The writer reads what is new before each
group, under its lock; in between it is looked for every `limits.FOLLOW_SECS`, which costs one look at one row. Nobody
is notified: a NOTIFY takes a lock of the whole server until its transaction is on disk, and 6,145 commits a second
became 412.

Of a change that another node made, this one does not know what stood there before: `Change.old` then only says that
something did. That a rival of a pair is hidden or shown by another's write is not told: who keeps an index of what is
visible in memory reads it from the store here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aimem.core.digest import Digest
from aimem.core.kinds import RESIDENT
from aimem.core.record import Record, Ref
from aimem.core.version import ZERO
from aimem.store.base import Change
from aimem.store.postgres.known import COLUMNS, row_of
from aimem.store.postgres.session import Connection, one, rows
from aimem.store.state import State, unpack

NEWS_ROWS = 1_000  # changes in memory at once beside those that listeners keep


@dataclass(slots=True)
class Standing(State):
    """The state of the store as this node knows it. `start` is the last opening of all; `revision` moves up with each
    committed group, `last_row` is the highest number of a row, `visible` how many memories are."""

    start: str
    revision: int
    last_row: int
    visible: int
    identity: str


async def standing(connection: Connection, known: Standing | None = None) -> Standing:
    """The state as it is; `known` itself when nothing has changed."""
    return standing_of(await one(connection, STATE, state_values(known)), known)


def state_values(known: Standing | None) -> tuple[str, int]:
    """The parameters of STATE."""
    return ("", 0) if known is None else (known.incarnation, known.revision)


def standing_of(found: tuple[Any, ...] | None, known: Standing | None) -> Standing:
    """The state that STATE gave."""
    assert found is not None, "the state row is made with the table"
    incarnation, start, revision, head, last_row, clock, floor, visible, identity, sums = found
    if known is not None and sums is None:
        return known
    return Standing(incarnation, head, clock, floor, unpack(sums), start, revision, last_row, visible, identity)


# The digest is read only when something has changed: it is 8 KiB.
STATE = (
    "SELECT incarnation, start, revision, head, last_row, clock, floor, visible, identity, "
    "CASE WHEN (incarnation, revision) <> (%s, %s) THEN "
    "(SELECT string_agg(sum, '' ORDER BY bucket) FROM digest) END FROM state"
)
NEWS = f"SELECT {COLUMNS}, since FROM record WHERE seq > %s ORDER BY seq LIMIT {NEWS_ROWS}"


def changes_of(found: Sequence[tuple[Any, ...]], known_head: int) -> list[Change]:
    """The changes in the rows that NEWS gave."""
    changes = []
    for values in found:
        row = row_of(values[:-1])
        record, since = row.record, values[-1]
        old = None if since > known_head else Record(record.kind, record.key, ZERO, record.born, b"{}")
        changes.append(Change(row.seq, row.row, record, old, row.visible))
    return changes


async def all_news(connection: Connection, after: int, first: Sequence[tuple[Any, ...]] | None = None) -> list[Change]:
    """All changes after `after`; `first` is the page of NEWS that was read already."""
    page = await rows(connection, NEWS, (after,)) if first is None else first
    changes = changes_of(page, after)
    while len(page) == NEWS_ROWS:
        page = await rows(connection, NEWS, (changes[-1].seq,))
        changes += changes_of(page, after)
    return changes


async def resident_of(connection: Connection) -> dict[Ref, Record]:
    """The live records of the kinds that are kept in memory."""
    found = await rows(
        connection, f"SELECT {COLUMNS} FROM record WHERE kind = ANY(%s) AND NOT deleted", (sorted(RESIDENT),)
    )
    records = (row_of(values).record for values in found)
    return {record.ref: record for record in records}


def fresh(digest: Digest, deltas: dict[int, int]) -> Digest:
    """The digest after a group."""
    made = Digest(digest.sums)
    made.apply(deltas)
    return made


async def identity_of(connection: Connection) -> str:
    """What makes this server's history this history: the cluster, and the timeline that it writes now."""
    found = await one(
        connection,
        "SELECT system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) "
        "FROM pg_control_system()",
    )
    assert found is not None
    return str(found[0])


OPENING = "INSERT INTO start (id, first_seq, opened) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
SAVE_STATE = (
    "UPDATE state SET incarnation = %s, identity = %s, start = %s, revision = %s, head = %s, last_row = %s, "
    "clock = %s, floor = %s, visible = %s"
)


def saved(state: Standing) -> tuple[Any, ...]:
    """The values of SAVE_STATE."""
    return (
        state.incarnation,
        state.identity,
        state.start,
        state.revision,
        state.head,
        state.last_row,
        state.clock,
        state.floor,
        state.visible,
    )
