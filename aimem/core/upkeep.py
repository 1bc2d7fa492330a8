"""Intents that no caller asks for: merging what came from elsewhere, counting touches, ending lives, keeping vectors.

All of them may run twice, late, or on several nodes at once, and come to the same records.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from aimem.core.automatic import (
    NEVER,
    Use,
    born_of_touch,
    collected,
    deleted_by_user,
    effect_of,
    is_archived,
    settled,
    touch,
    touch_key,
    use_of,
    with_expiry,
)
from aimem.core.intent import Decision, Intent, Plan, Read, Stamp, get, touches
from aimem.core.kinds import EMBEDDING, MEMORY, TOUCH, VECTOR, source_key
from aimem.core.merge import loser_to_keep, merge, superseded_copy, wins
from aimem.core.record import Record
from aimem.core.version import STEP_MAX, Version


def receive(record: Record, *, keep_all: bool = False) -> Intent:
    """Merge a record that was written elsewhere. Reply: True when it, or what it led to, now stands.

    A vector whose memory is not here, or is deleted, is not taken: it can be made again from the text. One of another
    program can't, so it may come ahead of its memory.
    """

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(record.kind, record.key)
        if record.kind == MEMORY:
            return (yield from _receive_memory(record, held, keep_all, stamp))
        if record.kind in (VECTOR, EMBEDDING) and not record.deleted:
            source = yield from get(MEMORY, source_key(record.kind, record.key))
            if outlives(record, source) if source is not None else record.kind == VECTOR:
                return Decision((), False)
        if not wins(record, held):
            return Decision((), False)
        written = [record]
        if record.kind == TOUCH:
            written += yield from _settle_source(record)
        return Decision(written, True)

    return plan


def outlives(derived: Record, memory: Record) -> bool:
    """Whether a vector, or one of another program, is of a memory that has ended; a later birth is another memory."""
    return memory.deleted or (derived.kind == EMBEDDING and derived.born < memory.born)


def _receive_memory(record: Record, held: Record | None, keep_all: bool, stamp: Stamp) -> Plan:
    standing = merge(held, record)
    found = yield from touches(record.key)
    written: list[Record] = []
    if held is not None and record != held:
        if (loser := loser_to_keep(held, record, keep_all=keep_all)) is not None:
            written += yield from _if_newer(superseded_copy(loser))
        winner, loser = (record, held) if wins(record, held) else (held, record)
        if held.born != record.born or deleted_by_user(winner):  # else merge raises the winner itself
            written += yield from remember_rank(loser, stamp)
    standing = settled(standing, use_of(standing, found))
    if held is None or standing != held:
        written.insert(0, standing)
    return Decision(written, standing is not held)


def _if_newer(record: Record) -> Generator[Read, Any, list[Record]]:
    held = yield from get(record.kind, record.key)
    return [record] if wins(record, held) else []


def remember_rank(loser: Record, stamp: Stamp) -> Generator[Read, Any, list[Record]]:
    """The touch, if need be, that keeps the tier of a birth that is about to be overwritten by another: a late write of
    that birth must not fall below it."""
    key = touch_key(loser.key, loser.born, stamp.incarnation)
    before = yield from get(TOUCH, key)
    rank = effect_of(loser).rank
    if rank == 0 or (before is not None and before.body.get("rank", 0) >= rank):
        return []
    return [touch(loser, stamp.incarnation, stamp.version(), before, count=0, last=0, expires=0)]


def _settle_source(change: Record) -> Generator[Read, Any, list[Record]]:
    """What the memory of a touch becomes when that touch is counted in."""
    memory = yield from get(MEMORY, source_key(TOUCH, change.key))
    if memory is None or memory.born != born_of_touch(change):
        return []
    found = yield from touches(memory.key)
    others = [each for each in found if each.key != change.key]
    standing = settled(memory, use_of(memory, [*others, change]))
    return [standing] if standing != memory else []


class Touched(NamedTuple):
    """What a node gathered for one memory since the last fold: `accesses` by recall, the `last` at (ns)."""

    accesses: int
    last: int


def fold(memory_id: str, gathered: Touched, extension: dict[str, int]) -> Intent:
    """Count gathered touches, and promote by use. `extension` gives per tier how long (ns) a recall lets it live on.

    An extension never shortens a life. Reply: None.
    """

    def plan(stamp: Stamp) -> Plan:
        memory = yield from get(MEMORY, memory_id)
        if memory is None or memory.deleted or is_archived(memory):
            return Decision(())
        effect = effect_of(memory)
        until = gathered.last + extension.get(memory.body["tier"], 0)
        expires = until if effect.expires != NEVER and until > effect.expires else 0
        before = yield from get(TOUCH, touch_key(memory_id, memory.born, stamp.incarnation))
        change = touch(
            memory,
            stamp.incarnation,
            stamp.version(),
            before,
            count=gathered.accesses,
            last=gathered.last,
            expires=expires,
        )
        return Decision([change, *(yield from _settle_source(change))])

    return plan


def collect(memory_id: str, before: int, *, as_archived: bool) -> Intent:
    """End the life of a memory that expired before `before` (ns), extensions considered. Reply: True when it ended.

    One that was extended is raised to its longer life instead, so that it is not asked about again until then.
    """

    def plan(stamp: Stamp) -> Plan:
        memory = yield from get(MEMORY, memory_id)
        if memory is None or memory.deleted or is_archived(memory):
            return Decision((), False)
        use: Use = use_of(memory, (yield from touches(memory_id)))
        standing = settled(memory, use)
        if max(effect_of(standing).expires, use.expires) >= before:
            standing = with_expiry(standing, use.expires)
        else:
            standing = collected(standing, as_archived)
        written = [standing] if standing != memory else []
        return Decision(written, standing.deleted or is_archived(standing))

    return plan


def keep_vector(memory_id: str, seen: Version, body: dict[str, Any]) -> Intent:
    """Keep the vector that was computed from the text of version `seen`. Its own version derives from that one and
    from the model's generation, so that every node that computes it makes the same, and that of a newer model takes the
    place of an older one's. Reply: True when it was taken."""
    version = Version(seen.time, seen.origin, generation_of(str(body.get("model", ""))))

    def plan(stamp: Stamp) -> Plan:
        memory = yield from get(MEMORY, memory_id)
        if memory is None or memory.deleted:
            return Decision((), False)
        vector = Record.make(VECTOR, memory_id, version, seen.base(), body)
        held = yield from get(VECTOR, memory_id)
        return Decision([vector], True) if wins(vector, held) else Decision((), False)

    return plan


def generation_of(model: str) -> int:
    """The generation that a model's id ends with (`name/int8-2`: 2), 0 without one."""
    digits = model.rpartition("-")[2]
    return min(int(digits), STEP_MAX) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def advance(progress: dict[str, int]) -> Intent:
    """Keep named positions, together with whatever else is in the group."""

    def plan(stamp: Stamp) -> Plan:
        yield from ()
        return Decision((), None, progress)

    return plan
