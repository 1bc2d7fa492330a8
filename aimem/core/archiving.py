"""The archive: memories set aside with their whole content, and the copies of writes that lost.

Archived is a state of the memory record, reason and time inside; it gives up its (namespace, title). Restoring makes it
visible again as it was; purging leaves its tombstone. A superseded copy is archived under a key of its own.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from aimem.core.automatic import NEVER, RANK, expires_of, is_archived
from aimem.core.intent import Decision, Intent, Plan, Read, Stamp, get, holding
from aimem.core.kinds import MEMORY, SUPERSEDED
from aimem.core.memory import TtlConfig, created_ns
from aimem.core.merge import superseded_copy, wins
from aimem.core.pairs import Pair, pair_of
from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp
from aimem.core.version import Version
from aimem.core.wire import memory_json
from aimem.core.writes import Stored, live_memory, tombstone
from aimem.errors import Conflict, NotFound

ARCHIVED, FORGOTTEN, CONSOLIDATED, EXPIRED, LOST = "archive", "forget", "consolidated", "ttl_expired", "superseded"


def set_aside(record: Record, version: Version, now: int, reason: str) -> Record:
    """The memory as the archive holds it from `now` (ns) on."""
    return Record.make(
        MEMORY, record.key, version, record.born, {**record.body, "archived": {"at": now, "reason": reason}}
    )


def archive(memory_id: str, reason: str = ARCHIVED) -> Intent:
    """Set a memory aside, and what is hidden behind it under the same pair. Reply: `Stored`.

    Raises:
        NotFound: there is no such memory.
    """

    def plan(stamp: Stamp) -> Plan:
        record = yield from live_memory(memory_id, None)
        pair = pair_of(record)
        assert pair is not None
        state = yield from holding(pair)
        aside = [set_aside(each, stamp.version(), stamp.now, reason) for each in (record, *state.hidden)]
        return Decision(aside, Stored(aside[0], False))

    return plan


def archived_at(record: Record) -> int:
    """When a record went to the archive, in ns: a copy of a write that lost, when it was written."""
    at: int = record.body["archived"]["at"] if record.kind == MEMORY else record.version.time
    return at


def archive_json(record: Record) -> dict[str, Any]:
    """An archived memory as callers see it."""
    reason = record.body["archived"]["reason"] if record.kind == MEMORY else LOST
    absent = {"last_accessed_at": None, "expires_at": None}
    return {
        **absent,
        **memory_json(record),
        "archived_at": format_timestamp(archived_at(record)),
        "archive_reason": reason,
    }


def restore(archive_id: str, ttl: TtlConfig) -> Intent:
    """Make an archived memory, or a write that lost, stand again. Reply: `Stored`.

    A life that has ended meanwhile begins anew, as long as its tier's.

    Raises:
        NotFound: the archive does not hold it.
        Conflict: another memory has its (namespace, title).
    """

    def plan(stamp: Stamp) -> Plan:
        held, standing = yield from _in_archive(archive_id)
        body = {name: value for name, value in held.body.items() if name not in ("archived", "id")}
        if expires_of(body) != NEVER and expires_of(body) <= stamp.now:
            body.pop("expires_at")
            if (life := ttl.life_ns(body["tier"])) is not None:
                body["expires_at"] = stamp.now + life
        memory_id = held.key if held.kind == MEMORY else held.body["id"]
        yield from _must_be_free(Pair(body["namespace"], body["title"]), memory_id)
        version = stamp.version()
        born = standing.born if standing is not None and not standing.deleted else version
        if standing is not None and not standing.deleted:
            body["tier"] = max(body["tier"], standing.body["tier"], key=RANK.__getitem__)
        elif "created_at" not in body:
            body["created_at"] = created_ns(held)
        written = [Record.make(MEMORY, memory_id, version, born, body)]
        if held.kind == SUPERSEDED:
            written.append(tombstone(held, stamp.version()))
        return Decision(written, Stored(written[0], False))

    return plan


def _in_archive(archive_id: str) -> Generator[Read, Any, tuple[Record, Record | None]]:
    """What the archive holds under an id, and the memory record that stands under the id of its memory."""
    memory = yield from get(MEMORY, archive_id)
    if memory is not None and is_archived(memory):
        return memory, memory
    copy = yield from get(SUPERSEDED, archive_id)
    if copy is None or copy.deleted:
        raise NotFound("not found in archive")
    return copy, (yield from get(MEMORY, copy.body["id"]))


def _must_be_free(pair: Pair, memory_id: str) -> Generator[Read, Any, None]:
    state = yield from holding(pair)
    if state.holder is not None and state.holder.key != memory_id:
        raise Conflict(
            f"{pair.title!r} is taken in {pair.namespace} by {state.holder.key}",
            hint="rename or delete that memory first",
            extra={"existing_id": state.holder.key},
        )


def purge(kind: str, key: str, before: int) -> Intent:
    """Remove one record from the archive for good, if it went there before `before` (ns). Reply: True when it did."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(kind, key)
        if held is None or held.deleted or not (kind == SUPERSEDED or is_archived(held)):
            return Decision((), False)
        if archived_at(held) >= before:
            return Decision((), False)
        return Decision([tombstone(held, stamp.version())], True)

    return plan


def keeping_superseded(intent: Intent) -> Intent:
    """The intent, with a copy in the archive of every memory whose content it writes over."""

    def plan(stamp: Stamp) -> Plan:
        decision = yield from intent(stamp)
        copies = []
        for record in decision.records:
            if record.kind == MEMORY and not record.deleted and "archived" not in record.body:
                held = yield from get(MEMORY, record.key)
                if held is not None and pair_of(held) is not None and _says_other(held, record):
                    copy = superseded_copy(held)
                    if wins(copy, (yield from get(copy.kind, copy.key))):  # not where such a copy was purged before
                        copies.append(copy)
        return decision._replace(records=[*copies, *decision.records])

    return plan


def _says_other(held: Record, record: Record) -> bool:
    return any(held.body[name] != record.body[name] for name in ("namespace", "title", "content", "metadata"))
