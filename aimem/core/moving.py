"""A fleet's move to another store: the fence that ends writing, and what the new store keeps of its origin.

The fence is one record, which spreads like any other: a node that was away when it was put up gets it from its peers.
It names a move; the store that the move leads to has noted that move before, so the fence, should it get there through
a mesh of old and new nodes, means nothing to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aimem.core.intent import Decision, Intent, Plan, Stamp, get, look
from aimem.core.kinds import ARRIVED, MOVED
from aimem.core.record import Record
from aimem.core.version import Version
from aimem.errors import Moved

FENCE: Final = "fleet"
"""The key of the one record that says it: of two fences the newer stands."""


def fence(move: str, to: str, version: Version) -> Record:
    """The record that ends writing wherever it is held; `to` says in words where the fleet has gone."""
    return Record.make(MOVED, FENCE, version, version, {"move": move, "to": to, "at": version.time})


def lifted(held: Record, version: Version) -> Record:
    """The record that takes a fence away: what was fenced is written to again."""
    return Record.make(MOVED, FENCE, version, held.born, {}, deleted=True)


def move_of(held: Record) -> str:
    """The id of the move that a fence belongs to."""
    return str(held.body.get("move", ""))


def in_force(held: Record | None, leads_here: Callable[[str], bool]) -> Moved | None:
    """What a writer is told by a store that holds this fence; None where it may write. `leads_here` tells of a move
    whether it leads to that store."""
    if held is None or held.deleted or leads_here(move_of(held)):
        return None
    to = str(held.body.get("to", "another store"))
    return Moved(
        f"this fleet has moved to {to}: nothing is written here any more",
        hint="send the write to a node of the new store; it is safe to repeat it with the same idempotency key",
        extra={"moved_to": to},
    )


def unless_moved(intent: Intent) -> Intent:
    """The same intent, refused where the fleet has moved away. It is judged in the transaction of the write: nothing
    is written behind the fence. Raises `Moved`."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from look(MOVED, FENCE)
        if held is not None:
            known = yield from look(ARRIVED, move_of(held))
            if (refusal := in_force(held, lambda move: known is not None)) is not None:
                raise refusal
        return (yield from intent(stamp))

    return plan


def arrived(key: str, clock: int, body: dict[str, Any]) -> Intent:
    """Note what this store was filled from, or that a move leads here, and have its clock no lower than `clock` (ns):
    whatever is written here from now on is above all that was written there. Reply: None."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(ARRIVED, key)
        if held is not None and held.version.time >= clock and held.body == body:
            return Decision(())
        version = stamp.version()
        version = Version(max(version.time, clock), version.origin)
        return Decision([Record.make(ARRIVED, key, version, version, body)])

    return plan
