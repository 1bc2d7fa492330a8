"""What a node of the existing system asks for by a bare id, without saying of which version: delete, archive, restore,
clear. It means the newest version that this peer is known to hold, since it sent it or acknowledged it.

So a delete is a tombstone of the same time and origin with the top step, and an archive one step below it: whatever is
newer stays, here and wherever else it is. Of one pair they may hold under one id what stands here under two.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from aimem.core.automatic import ARCHIVED, NEVER, Effect, effect_of, is_archived, step_of
from aimem.core.intent import Decision, Intent, Plan, Read, Stamp, get, holding
from aimem.core.kinds import HOLDS, MEMORY, POLICY, STANDARD, compound_key
from aimem.core.links import without_links
from aimem.core.pairs import pair_of
from aimem.core.record import Record, Ref
from aimem.core.version import STEP_MAX, Version, parse_version

REASON = "sync_push"  # the reason that they give to what they archive for each other


def holds_ref(peer: str, ref: Ref) -> Ref:
    """Where it is noted which version of a record a peer holds."""
    return Ref(HOLDS, compound_key(peer, *ref))


def held_version(note: Record | None) -> Version | None:
    """The version that a note tells of."""
    return None if note is None or note.deleted else parse_version(note.body["version"])


def note(peer: str, ref: Ref, version: Version | None) -> Intent:
    """Note that a peer holds a version of a record, or (None) no version any more."""
    where = holds_ref(peer, ref)

    def plan(stamp: Stamp) -> Plan:
        before = yield from get(*where)
        if held_version(before) == version:
            return Decision(())
        now = stamp.version()
        body = {} if version is None else {"version": str(version)}
        return Decision([Record.make(HOLDS, where.key, now, now, body, deleted=version is None)])

    return plan


def known(peers: Sequence[str], record: Record) -> Generator[Read, Any, bool]:
    """`yield from known(...)`: whether one of these peers is known to hold this very write."""
    for peer in peers:
        version = held_version((yield from get(*holds_ref(peer, record.ref))))
        if version is not None and version.same_write(record.version):
            return True
    return False


def _meant(memory_id: str, peers: Sequence[str]) -> Generator[Read, Any, list[Record]]:
    """The live memories that a bare id of theirs stands for: it, and what has its pair here."""
    record = yield from get(MEMORY, memory_id)
    if record is None or (pair := pair_of(record)) is None:
        return []
    state = yield from holding(pair)
    claims = {each.key: each for each in (state.holder, *state.hidden, record) if each is not None}
    meant = []
    for each in claims.values():
        if (yield from known(peers, each)):
            meant.append(each)  # noqa: PERF401 (no comprehension may yield)
    return meant


def delete(memory_id: str, peers: Sequence[str]) -> Intent:
    """End the version of a memory that one of `peers` (names of who asks) is known to hold. Reply: whether it stood."""

    def plan(stamp: Stamp) -> Plan:
        graves = [_grave(each) for each in (yield from _meant(memory_id, peers))]
        return Decision(graves, bool(graves))

    return without_links(plan)


def archive(memory_id: str, peers: Sequence[str]) -> Intent:
    """Set aside the version of a memory that one of `peers` is known to hold. Reply: whether it stood."""

    def plan(stamp: Stamp) -> Plan:
        aside = []
        for each in (yield from _meant(memory_id, peers)):
            step = step_of(Effect(effect_of(each).rank, NEVER, ARCHIVED))
            body = {**each.body, "archived": {"at": stamp.now, "reason": REASON}}
            aside.append(Record.make(MEMORY, each.key, each.version._replace(step=step), each.born, body))
        return Decision(aside, bool(aside))

    return plan


def restore(memory_id: str, peers: Sequence[str]) -> Intent:
    """Take an archived memory back as they do: long, without an end. Reply: whether it was in the archive, in the
    version that one of `peers` is known to hold, and its pair is free."""

    def plan(stamp: Stamp) -> Plan:
        record = yield from get(MEMORY, memory_id)
        if record is None or not is_archived(record) or not (yield from known(peers, record)):
            return Decision((), False)
        body = {name: value for name, value in record.body.items() if name not in ("archived", "expires_at")}
        back = Record.make(MEMORY, record.key, stamp.version(), record.born, {**body, "tier": "long"})
        pair = pair_of(back)
        assert pair is not None
        if (yield from holding(pair)).holder is not None:
            return Decision((), False)
        return Decision([back], True)

    return plan


def clear(namespace: str, peers: Sequence[str]) -> Intent:
    """End the standard and the policy of a namespace, in the versions that one of `peers` is known to hold. Reply:
    whether any stood."""

    def plan(stamp: Stamp) -> Plan:
        graves = []
        for kind in (STANDARD, POLICY):
            record = yield from get(kind, namespace)
            if record is not None and not record.deleted and (yield from known(peers, record)):
                graves.append(_grave(record))
        return Decision(graves, bool(graves))

    return plan


def _grave(record: Record) -> Record:
    version = record.version._replace(step=STEP_MAX)
    return Record.make(record.kind, record.key, version, record.born, {}, deleted=True)
