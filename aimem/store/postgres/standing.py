"""The state of a shared store beside its records, and the statements that read and write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aimem.core.digest import Digest
from aimem.core.kinds import RESIDENT
from aimem.store.postgres.known import COLUMNS, row_of
from aimem.store.postgres.session import Connection, one, rows
from aimem.store.resident import Resident
from aimem.store.state import State, unpack


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


async def resident_of(connection: Connection) -> Resident:
    """The live records of the kinds that are kept in memory."""
    found = await rows(
        connection, f"SELECT {COLUMNS} FROM record WHERE kind = ANY(%s) AND NOT deleted", (sorted(RESIDENT),)
    )
    return Resident(row_of(values).record for values in found)


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
