"""The intent that takes a migrated record in: a merge, like that of any record from elsewhere, but for one thing.

A row whose stamp lay in the future was given the time of migration. When it is migrated again after that stamp has
passed, it would stand above what was written here meanwhile; so it is known again by its stamp and left alone.
"""

from __future__ import annotations

from aimem.core.intent import Decision, Intent, Plan, Stamp, get
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
