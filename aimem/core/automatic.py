"""Automatic changes: what happens to a memory though nobody asked: extension, expiry, promotion by use, the tier rule.

An automatic change keeps the time and origin of the version it is based on, is a function of that version alone, and
only raises its step: the triple (tier rank, expiry, collected), compared in that order. So every node makes the same
record, a newer write by a user always beats it, an extension beats the collection of a shorter life, and promotion
beats both. The tombstone of an expiry keeps its body, so that a longer extension or a higher tier can undo it,
whichever came first. A user's own tombstone (step zero) is never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from aimem.core.kinds import TOUCH
from aimem.core.record import Record
from aimem.core.version import Version, parse_version

TIERS = ("short", "mid", "long")
RANK = {name: rank for rank, name in enumerate(TIERS)}
NEVER = (1 << 63) - 1  # "no expiry" sorts above every time
KEPT, DELETED, ARCHIVED = 0, 1, 2
PROMOTION_COUNT = 5  # recalls of a mid memory that make it long (wire)

_EXPIRES_BITS, _COLLECTED_BITS = 63, 2


class Effect(NamedTuple):
    """The triple: `rank` 0 to 2, `expires` in ns or NEVER, `collected` KEPT, DELETED or ARCHIVED."""

    rank: int
    expires: int
    collected: int


def step_of(effect: Effect) -> int:
    """The step that says `effect`; never zero, and ordered as the triple is."""
    return ((effect.rank + 1) << _EXPIRES_BITS | effect.expires) << _COLLECTED_BITS | effect.collected


def expires_of(body: dict[str, Any]) -> int:
    """The expiry that a memory's body says, in ns, or NEVER."""
    expires = body.get("expires_at")
    return NEVER if expires is None else min(int(expires), NEVER)


def effect_of(record: Record) -> Effect:
    """The triple that is in effect for a memory record."""
    step = record.version.step
    if step:
        expires = step >> _COLLECTED_BITS & NEVER
        return Effect((step >> _EXPIRES_BITS + _COLLECTED_BITS) - 1, expires, step & 3)
    return Effect(RANK.get(record.body.get("tier", "mid"), 1), expires_of(record.body), KEPT)


def deleted_by_user(record: Record) -> bool:
    """True for a tombstone that somebody asked for: nothing automatic may undo it."""
    return record.deleted and effect_of(record).collected != DELETED


def is_archived(record: Record) -> bool:
    """True for a memory that is held as archived, by a user or by expiry."""
    return not record.deleted and "archived" in record.body


def raised(record: Record, effect: Effect) -> Record:
    """The memory record with `effect` in force; `record` itself when that is not above what is."""
    if deleted_by_user(record) or effect <= effect_of(record):
        return record
    body = dict(record.body)
    body["tier"] = TIERS[effect.rank]
    body.pop("expires_at", None)
    if effect.expires != NEVER:
        body["expires_at"] = effect.expires
    if body.get("archived", {}).get("auto"):
        del body["archived"]
    if effect.collected == ARCHIVED:
        body["archived"] = {"at": effect.expires, "reason": "ttl_expired", "auto": True}
    version = Version(record.version.time, record.version.origin, step_of(effect))
    made = Record.make(record.kind, record.key, version, record.born, body, deleted=effect.collected == DELETED)
    made.extra = record.extra
    return made


def collected(record: Record, as_archived: bool) -> Record:
    """The record as the end of its life leaves it. Archived and deleted records, and those without an end, stay."""
    effect = effect_of(record)
    if record.deleted or is_archived(record) or effect.expires == NEVER:
        return record
    return raised(record, effect._replace(collected=ARCHIVED if as_archived else DELETED))


def with_rank(record: Record, rank: int) -> Record:
    """The record with its tier raised to `rank`; a tier never goes down, and long has no end."""
    effect = effect_of(record)
    if rank <= effect.rank:
        return record
    return raised(record, Effect(rank, NEVER if rank == RANK["long"] else effect.expires, KEPT))


def joined(one: Effect, other: Effect) -> Effect:
    """What two automatic changes of one write come to together: the higher tier, the longer life, and collected only
    if that was the end of just this life."""
    rank, expires = max(one.rank, other.rank), max(one.expires, other.expires)
    ends = [each.collected for each in (one, other) if (each.rank, each.expires) == (rank, expires)]
    return Effect(rank, expires, max(ends, default=KEPT))


def with_expiry(record: Record, expires: int) -> Record:
    """The record with its life extended to `expires` (ns), when that is later."""
    effect = effect_of(record)
    return record if expires <= effect.expires else raised(record, Effect(effect.rank, expires, KEPT))


class Use(NamedTuple):
    """What all touches of one birth add up to: `accesses`, `last` access (ns or 0), the latest extension of the
    version in hand (ns or 0), and the highest tier rank that was seen."""

    accesses: int = 0
    last: int = 0
    expires: int = 0
    rank: int = 0


NO_USE = Use()


def touch_key(memory_id: str, born: Version, incarnation: str) -> str:
    """The key under which one store counts its own touches of one birth."""
    return f"{memory_id}/{born}.{incarnation}"


def touch(
    record: Record, incarnation: str, version: Version, before: Record | None, *, count: int, last: int, expires: int
) -> Record:
    """One store's touches of a memory, `count` more of them on top of what it counted `before`.

    An extension belongs to one (time, origin): an edit since then starts anew.
    """
    base = str(record.version.base())
    old = before.body if before is not None and not before.deleted else {}
    body: dict[str, Any] = {
        "count": old.get("count", 0) + count,
        "last": max(old.get("last", 0), last),
        "rank": max(old.get("rank", 0), effect_of(record).rank),
        "base": base,
        "expires": max(expires, old.get("expires", 0) if old.get("base") == base else 0),
    }
    return Record.make(TOUCH, touch_key(record.key, record.born, incarnation), version, version, body)


def use_of(record: Record, touches: Sequence[Record]) -> Use:
    """What the touches that belong to this birth of the memory add up to."""
    if not touches:
        return NO_USE
    base, prefix = str(record.version.base()), f"{record.key}/{record.born}."
    count = last = expires = rank = 0
    for item in touches:
        if item.deleted or not item.key.startswith(prefix):
            continue
        body = item.body
        count += body.get("count", 0)
        last = max(last, body.get("last", 0))
        rank = max(rank, body.get("rank", 0))
        if body.get("base") == base:
            expires = max(expires, body.get("expires", 0))
    return Use(count, last, expires, rank)


def settled(record: Record, use: Use) -> Record:
    """The record after everything that its touches demand: tier rule, promotion by use, undoing an early collection.

    An extension does not move a record that is alive: it is shown and respected from the touches.
    """
    if use == NO_USE or deleted_by_user(record):
        return record
    record = with_rank(record, use.rank)
    effect = effect_of(record)
    if effect.rank == RANK["mid"] and use.accesses >= PROMOTION_COUNT:
        record = with_rank(record, RANK["long"])
    if effect_of(record).collected and use.expires:
        record = with_expiry(record, use.expires)
    return record


def born_of_touch(record: Record) -> Version:
    """The birth that a touch record counts for."""
    return parse_version(record.key.rpartition("/")[2].rpartition(".")[0])
