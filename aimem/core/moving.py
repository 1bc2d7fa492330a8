"""A fleet's move to another store: the fence that ends writing, and what the new store keeps of its origin.

The fence is one record, which spreads like any other: a node that was away when it was put up gets it from its peers.
It names a move; the store that the move leads to has noted that move before, so the fence, should it get there through
a mesh of old and new nodes, means nothing to it.
"""

from __future__ import annotations

from collections.abc import Collection

from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import ARRIVED, MOVED
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.errors import Moved


def fence(move: str, to: str, version: Version, at: int) -> Record:
    """The record that ends writing, wherever it is held; `to` says in words where the fleet has gone."""
    return Record.make(MOVED, move, version, version, {"to": to, "at": at})


def lifted(held: Record, version: Version) -> Record:
    """The record that takes a fence away: what was fenced is written to again."""
    return Record.make(MOVED, held.key, version, held.born, {}, deleted=True)


def in_force(fences: Collection[Record], leads_here: Collection[str]) -> Record | None:
    """The fence that ends writing in a store, None where there is none: of those that it holds, the newest that does
    not lead to it. `leads_here` are the moves that do."""
    standing = [each for each in fences if not each.deleted and each.key not in leads_here]
    return max(standing, key=lambda each: each.order, default=None)


def refusal(held: Record) -> Moved:
    """What a writer is told."""
    to = str(held.body.get("to", "another store"))
    return Moved(
        f"this fleet has moved to {to}: nothing is written here any more",
        hint="send the write to a node of the new store; it is safe to repeat it with the same idempotency key",
        extra={"moved_to": to},
    )


def arrived(key: str, clock: int, body: dict[str, object]) -> Intent:
    """Note what this store was filled from, or that a move leads here, and have its clock no lower than `clock` (ns):
    whatever is written here from now on is above all that was written there. Reply: None."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(*Ref(ARRIVED, key))
        if held is not None and held.version.time >= clock and held.body == body:
            return Decision(())
        version = stamp.version()
        version = Version(max(version.time, clock), version.origin)
        return Decision([Record.make(ARRIVED, key, version, version, body)])

    return plan
