"""Taking in what another store sends: is it a record that this store can hold, and what became of it.

Each record is judged by itself: one with a value that is not known here is told so and kept aside, and the others of
its batch go on. A member's record is never judged by policy again, or stores would come to differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aimem.core.automatic import RANK
from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import LINK, MEMORY, QUARANTINE, SUPERSEDED, TOUCH, compound_key, kind_of, source_key
from aimem.core.record import Record, Ref, from_wire, to_wire
from aimem.core.upkeep import receive
from aimem.core.version import STEP_MAX, TIME_MAX, Version
from aimem.errors import Conflict

APPLIED, SUPERSEDED_BY, REFUSED = "applied", "superseded", "refused"
MALFORMED, CLOCK_SKEW, RESEED, LOCAL, NOT_CARRIED = "malformed", "clock_skew", "reseed", "local", "not_carried"
UNUSABLE = "unusable"

_TEXT, _WHOLE = (str,), (int,)
_MEMORY: Mapping[str, tuple[type, ...]] = {
    "namespace": _TEXT,
    "title": _TEXT,
    "content": _TEXT,
    "tier": _TEXT,
    "tags": (list,),
    "priority": _WHOLE,
    "metadata": (dict,),
}
_SHAPES: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    MEMORY: _MEMORY,
    SUPERSEDED: _MEMORY,
    LINK: {"source_id": _TEXT, "target_id": _TEXT, "created_at": _WHOLE},
    TOUCH: {"count": _WHOLE, "last": _WHOLE, "rank": _WHOLE, "expires": _WHOLE},
}


_MAY_HAVE: Mapping[str, tuple[type, ...]] = {
    "created_at": _WHOLE,
    "updated_at": _WHOLE,
    "expires_at": _WHOLE,
    "valid_from": _WHOLE,
    "valid_until": _WHOLE,
    "confidence": (int, float),
    "source": _TEXT,
    "archived": (dict,),
}
_ARCHIVED: Mapping[str, tuple[type, ...]] = {"at": _WHOLE, "reason": _TEXT}


class Taken(NamedTuple):
    """What became of a record: `applied` (it, or what it led to, stands here), `superseded` by `version`, or `refused`
    for `reason`."""

    outcome: str
    version: Version | None = None
    reason: str | None = None

    def to_wire(self) -> str | list[str]:
        """As JSON: `"applied"`, `["superseded", version]` or `["refused", reason]`."""
        if self.outcome == APPLIED:
            return APPLIED
        return [self.outcome, str(self.version) if self.version is not None else self.reason or ""]


def flaw(record: Record, *, now: int, ahead_max: int) -> str | None:
    """Why this store can't hold a record, or None. `ahead_max` (ns) is how far above `now` its time may lie."""
    kind = kind_of(record.kind)
    if kind.local:
        return LOCAL
    if max(record.version.time, record.born.time) > now + ahead_max:
        return CLOCK_SKEW
    if record.deleted or record.kind not in _SHAPES:
        return None
    body = record.body
    may_have = {name: _MAY_HAVE[name] for name in body.keys() & _MAY_HAVE.keys()}
    wrong = (
        _misshapen(body, _SHAPES[record.kind])
        or _misshapen(body, may_have)
        or ("archived" in body and _misshapen(body["archived"], _ARCHIVED))
    )
    if wrong:
        return f"{MALFORMED}: {record.kind} with {wrong} of an unknown form"
    if record.kind in (MEMORY, SUPERSEDED):
        if body["tier"] not in RANK:
            return f"{MALFORMED}: unknown tier {body['tier'][:40]!r}"
        if not all(isinstance(tag, str) for tag in body["tags"]):
            return f"{MALFORMED}: a tag that is not text"
    return None


def _misshapen(body: Mapping[str, Any], shape: Mapping[str, tuple[type, ...]]) -> str | None:
    """The first field that does not have its form; numbers fit into 64 bits, as times and columns do."""
    for name, types in shape.items():
        value = body.get(name)
        if type(value) not in types or (type(value) is int and abs(value) > TIME_MAX):
            return name
    return None


def outlived(record: Record, now: int) -> bool:
    """True for a record past the fixed life of its kind: it is not taken, and nothing is amiss."""
    life = kind_of(record.kind).life_of(record.deleted)
    return life is not None and record.version.time < now - life


def take(record: Record, *, keep_all: bool = False, floor: int = 0) -> Intent:
    """Merge a record that was written elsewhere. Reply: `Taken`.

    `floor` (ns) is where the sender has not read this store's feed without a gap: a row at or below it whose address is
    not held here may have been deleted, and its tombstone swept. It is refused as `reseed`, unless it derives from a
    record that is held.
    """
    merging = receive(record, keep_all=keep_all)

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(record.kind, record.key)
        if held is None and not record.deleted and record.version.time <= floor:
            derived = kind_of(record.kind).derived
            source = (yield from get(MEMORY, source_key(record.kind, record.key))) if derived else None
            if source is None:
                return Decision((), Taken(REFUSED, reason=RESEED))
        decision = yield from merging(stamp)
        stands = next((each for each in decision.records if each.ref == record.ref), held)
        if stands is None or stands.order <= record.order or stands.version.same_write(record.version):
            return decision._replace(reply=Taken(APPLIED))
        return decision._replace(reply=Taken(SUPERSEDED_BY, stands.version))

    return plan


def set_aside(ref: Ref, peer: str, floor: int) -> Intent:
    """Take out of service a live record of our own at or below the `floor` that this store took over from `peer`, which
    does not hold it. It is kept in quarantine; where it stood is a tombstone of the same write, so that every copy of
    it goes, and nothing newer. Reply: whether it was set aside."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(*ref)
        if held is None or held.deleted or held.version.time > floor:
            return Decision((), False)
        kept = (yield from quarantine(held, peer, RESEED)(stamp)).records
        grave = held.version._replace(step=STEP_MAX)
        return Decision([*kept, Record.make(held.kind, held.key, grave, held.born, {}, deleted=True)], True)

    return plan


def write_anew(ref: Ref, floor: int) -> Intent:
    """Give a live record of our own at or below `floor` a version of now. What derives from another goes with that, as
    it is. Reply: whether it has one."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(*ref)
        if held is None or held.deleted or held.version.time > floor or kind_of(held.kind).derived:
            return Decision((), False)
        return Decision([Record(held.kind, held.key, stamp.version(), held.born, held.raw, extra=held.extra)], True)

    return plan


def rescue(key: str) -> Intent:
    """Write what is kept aside under `key` anew, as a change of this node.

    Reply: the record that now stands, or None when nothing is kept there. Raises `Conflict` where what stands is newer.
    """

    def plan(stamp: Stamp) -> Plan:
        kept = yield from get(QUARANTINE, key)
        if kept is None or kept.deleted:
            return Decision((), None)
        record = from_wire(kept.body["record"])
        held = yield from get(record.kind, record.key)
        if held is not None and not held.deleted and held.version > record.version:
            raise Conflict(
                f"{record.kind} {record.key} has a newer version here",
                hint="drop the one in quarantine, or delete what stands first",
            )
        version = stamp.version()
        anew = Record(record.kind, record.key, version, version, record.raw, extra=record.extra)
        gone = Record.make(QUARANTINE, key, stamp.version(), kept.born, {}, deleted=True)
        return Decision([anew, gone], anew)

    return plan


def quarantine(record: Record, peer: str, reason: str) -> Intent:
    """Keep a record aside that came from `peer` and was not taken. The newest per address and peer is kept."""
    key = compound_key(peer, record.kind, record.key)

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(QUARANTINE, key)
        if held is not None and not held.deleted and from_wire(held.body["record"]).order >= record.order:
            return Decision(())
        version = stamp.version()
        body = {"peer": peer, "record": to_wire(record), "reason": reason, "since": stamp.now}
        return Decision([Record.make(QUARANTINE, key, version, version, body)])

    return plan


def release(key: str) -> Intent:
    """Forget what is kept aside under `key`. Reply: whether anything was."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(QUARANTINE, key)
        if held is None or held.deleted:
            return Decision((), False)
        return Decision([Record.make(QUARANTINE, key, stamp.version(), held.born, {}, deleted=True)], True)

    return plan
