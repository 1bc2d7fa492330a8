"""The intents that take migrated records in: merges, like that of any record from elsewhere, but for one thing.

A row whose stamp lay in the future was given the time of migration. When it is migrated again after that stamp has
passed, it would stand above what was written here meanwhile; so it is known again by its stamp and left alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from aimem.core.automatic import settled, use_of
from aimem.core.intent import Decision, Get, Intent, Plan, Stamp, get, touches
from aimem.core.kinds import MEMORY, TOUCH
from aimem.core.record import Record
from aimem.core.upkeep import receive


def take(record: Record, since: int) -> Intent:
    """Merge a migrated record; `since` is when this store took in its first one, in ns. Reply: as `receive`."""
    merging = receive(record)
    stamp = record.body.get("stamped_at", record.version.time)
    if stamp <= since:
        return merging

    def plan(lent: Stamp) -> Plan:
        held = yield from get(record.kind, record.key)
        if held is not None and held.body.get("stamped_at") == stamp:
            return Decision((), False)
        return (yield from merging(lent))

    return plan


def take_new(records: Sequence[Record]) -> Intent:
    """Take in what belongs to one memory at once, where nothing of it is here yet: the common case, at a fraction of
    the price. Reply: True, or None where something is here, and then nothing was written: `take` them one by one."""

    def plan(lent: Stamp) -> Plan:
        for record in records:
            if (yield Get(record.ref)) is not None:
                return Decision((), None)
            if record.kind == MEMORY and (yield from touches(record.key)):
                return Decision((), None)
        used = [record for record in records if record.kind == TOUCH]
        return Decision([standing(record, used) for record in records], True)

    return plan


def standing(record: Record, used: Sequence[Record]) -> Record:
    """A migrated record as a store keeps it that had nothing of it: a memory by what `used` says of its use."""
    return settled(record, use_of(record, used)) if used and record.kind == MEMORY else record


def is_taken(record: Record, held: Record) -> bool:
    """Whether `held` is what this migrated record became: also one that was stamped in the future at that time."""
    return held == record or held.body.get("stamped_at", 0) == record.body.get("stamped_at", record.version.time)
