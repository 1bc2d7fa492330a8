"""Memories, live and archived: from a row to what it says, and from all rows of one id to the records that stand.

Rows of one id in diverged databases are united before they meet the store, since what is kept of losers and counters
must not depend on which came first. Merging decides as between nodes: the last written row stands whole, the tier is
the highest of that birth, a loser by another author is kept as a superseded copy. The rest is a maximum: databases
that were synced hold copies of one another's counters, so these are never added up.

`stamped_at` in a body is the stamp that lay in the future when the row was migrated; by it the row is known again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aimem.core.automatic import ARCHIVED, NEVER, RANK, Effect, effect_of, is_archived, step_of, touch_key, with_rank
from aimem.core.kinds import AGENT, EMBEDDING, MEMORY, TOUCH
from aimem.core.legacy.values import (
    ORIGIN,
    Horizon,
    Notes,
    integer_of,
    json_of,
    shown,
    stamp_of,
    text_of,
    time_of,
)
from aimem.core.memory import DEFAULT_PRIORITY, DEFAULT_TIER
from aimem.core.merge import loser_to_keep, superseded_copy, wins
from aimem.core.record import Record, canonical
from aimem.core.version import Version
from aimem.errors import Invalid
from aimem.limits import ACCESS_COUNT_MAX, PRIORITY_MAX, PRIORITY_MIN

COLUMNS = (
    *("id", "tier", "namespace", "title", "content", "tags", "priority", "confidence", "source", "access_count"),
    *("created_at", "updated_at", "last_accessed_at", "expires_at", "metadata"),
)
LIVE_COLUMNS = (*COLUMNS, "embedding")
ARCHIVED_COLUMNS = (*COLUMNS, "archived_at", "archive_reason")

_EXPIRED = "ttl_expired"  # the reason that the old program's own collection gives
AGENTS: Final = "_agents"
"""The namespace that they keep agents in: each is a memory of it."""
_MODELS = {384: "all-MiniLM-L6-v2", 768: "nomic-embed-text-v1.5"}  # its rows do not say which; its tiers had these two
_FLOAT_BYTES = 4


class Old(NamedTuple):
    """What one row says. `stamp` is when it was written as its clock had it, in ns; `expires` that of a row whose life
    was extended by use, else 0."""

    record: Record
    stamp: int
    accesses: int
    last: int
    expires: int
    embedding: bytes | None
    notes: Notes


class United(NamedTuple):
    """What stands of one id: the memory, the `row` that it came from, and what goes with it: `copies` of losers, its
    `touch`, its `embeddings`."""

    memory: Record
    row: Old
    copies: list[Record]
    touch: Record | None
    embeddings: list[Record]


def live(row: Sequence[Any], horizon: Horizon) -> Old:
    """What a row of `memories` says; the row as LIVE_COLUMNS."""
    notes: Notes = []
    *common, embedding = row
    key, body, created, updated, count, last = _common(common, notes)
    version, born = _times(body, created, updated, updated, horizon)
    if embedding is not None and not isinstance(embedding, bytes):
        notes.append("embedding is no vector: left out")
        embedding = None
    expires = body.get("expires_at", 0) if count else 0
    record = _made(key, version, born, body, row, notes)
    return Old(record, updated, count, last, expires, embedding or None, notes)


def archived(row: Sequence[Any], horizon: Horizon) -> Old:
    """What a row of `archived_memories` says; the row as ARCHIVED_COLUMNS.

    One that the old program collected is the automatic change that any node makes, so a longer life that another
    database knows of undoes it. One that somebody archived was written then.
    """
    notes: Notes = []
    *common, archived_at, reason = row
    key, body, created, updated, count, last = _common(common, notes)
    at = stamp_of(archived_at, "archived_at", notes, updated)
    body["archived"] = {"at": at, "reason": text_of(reason, "archive_reason", notes)}
    collected = reason == _EXPIRED and "expires_at" in body
    written = updated if collected else max(updated, at)
    version, born = _times(body, created, updated, written, horizon)
    if collected:
        body["archived"]["auto"] = True
        version = version._replace(step=step_of(Effect(RANK[body["tier"]], body["expires_at"], ARCHIVED)))
    return Old(_made(key, version, born, body, row, notes), written, count, last, 0, None, notes)


def _common(row: Sequence[Any], notes: Notes) -> tuple[str, dict[str, Any], int, int, int, int]:
    """Id, body, created, updated, access count and last access of the columns that both tables have."""
    key, tier, namespace, title, content, tags, priority, confidence, source, count = row[:10]
    created_at, updated_at, last_accessed_at, expires_at, metadata = row[10:]
    if tier not in RANK:
        notes.append(f"tier {shown(tier)} is unknown: taken as {DEFAULT_TIER}")
        tier = DEFAULT_TIER
    body: dict[str, Any] = {
        "title": text_of(title, "title", notes),
        "content": text_of(content, "content", notes),
        "tier": tier,
        "namespace": text_of(namespace, "namespace", notes),
        "tags": _tags(tags, notes),
        "priority": min(max(integer_of(priority, "priority", notes, DEFAULT_PRIORITY), PRIORITY_MIN), PRIORITY_MAX),
        "confidence": _confidence(confidence, notes),
        "source": text_of(source, "source", notes),
        "metadata": _metadata(metadata, notes),
    }
    expires = time_of(expires_at, "expires_at", notes)
    if expires is not None and expires < NEVER:
        body["expires_at"] = max(expires, 0)
    updated = stamp_of(updated_at, "updated_at", notes, time_of(created_at, "created_at", []))
    created = updated if created_at == updated_at else stamp_of(created_at, "created_at", notes, updated)
    accesses = min(max(integer_of(count, "access_count", notes), 0), ACCESS_COUNT_MAX)
    last = time_of(last_accessed_at, "last_accessed_at", notes) or 0
    return text_of(key, "id", notes), body, created, updated, accesses, max(last, 0)


def _tags(value: Any, notes: Notes) -> list[str]:
    if value == "[]":
        return []
    found = json_of(value, list, "tags", notes)
    if found is None:
        return []
    if not all(isinstance(tag, str) for tag in found):
        notes.append("a tag is no text: written as JSON")
        return [tag if isinstance(tag, str) else json.dumps(tag) for tag in found]
    return list(found)


def _confidence(value: Any, notes: Notes) -> float:
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value) + 0.0
    notes.append(f"confidence {shown(value)} is not from 0 to 1: taken as 1")
    return 1.0


def _metadata(value: Any, notes: Notes) -> dict[str, Any]:
    """The metadata; what is unreadable is kept as text in it."""
    if value == "{}":
        return {}
    found: dict[str, Any] | None = json_of(value, dict, "metadata", notes)
    return {"unreadable": text_of(value, "metadata", notes)} if found is None else found


def _times(body: dict[str, Any], created: int, updated: int, written: int, horizon: Horizon) -> tuple[Version, Version]:
    """Version and birth. The body keeps the times that these do not tell."""
    version = horizon.version(written)
    born = version if created == written else horizon.version(created)
    if updated != version.time and updated <= horizon.now:
        body["updated_at"] = updated
    if created != born.time and created <= horizon.now:
        body["created_at"] = created
    if written > horizon.now:
        body["stamped_at"] = written
    return version, born


def _made(key: str, version: Version, born: Version, body: dict[str, Any], row: Sequence[Any], notes: Notes) -> Record:
    try:
        return Record.make(MEMORY, key, version, born, body)
    except (
        Invalid,
        RecursionError,
    ):  # only what was parsed as JSON can be so: escaped lone surrogates, NaN, great depth
        notes.append("tags or metadata hold what is no JSON text: kept as text in the metadata")
        metadata = {
            "unreadable": text_of(row[14], "metadata", notes),
            "unreadable_tags": text_of(row[5], "tags", notes),
        }
        return Record.make(MEMORY, key, version, born, {**body, "tags": [], "metadata": metadata})


def unite(rows: Sequence[Old]) -> United:
    """What stands of one id, from all rows that any database has of it."""
    if len(rows) == 1:
        (row,) = rows
        embeddings = [] if row.embedding is None else [embedding_of(row.record, row.embedding)]
        return United(row.record, row, [], _touch(row.record, rows, rows), embeddings)
    last = max(rows, key=lambda row: (row.stamp, row.record.order))
    memory, birth = last.record, [row for row in rows if row.record.born == last.record.born]
    if len(birth) > 1:
        memory = with_rank(memory, max(effect_of(row.record).rank for row in birth))
    losers = (loser_to_keep(last.record, row.record, keep_all=False) for row in rows if row is not last)
    copies = [superseded_copy(loser) for loser in losers if loser is not None]
    same_text = [row for row in rows if row.record.version.same_write(memory.version)]
    embeddings = [embedding_of(memory, row.embedding) for row in same_text if row.embedding is not None]
    return United(memory, last, _merged(copies), _touch(memory, birth, same_text), _merged(embeddings))


def _merged(records: list[Record]) -> list[Record]:
    """One record for each key."""
    if len(records) < 2:
        return records
    standing: dict[str, Record] = {}
    for record in records:
        if wins(record, standing.get(record.key)):
            standing[record.key] = record
    return list(standing.values())


def _touch(memory: Record, birth: Sequence[Old], same_text: Sequence[Old]) -> Record | None:
    """The touches of the old program, as those of one more store. Its version rises with what it counts, so that of
    two such records merge takes the later one."""
    count, last = max(row.accesses for row in birth), max(row.last for row in birth)
    if not (count or last):
        return None
    base = memory.version.base()
    body = {
        "count": count,
        "last": last,
        "rank": effect_of(memory).rank,
        "base": str(base),
        "expires": max(row.expires for row in same_text),
    }
    version = Version(max(last, base.time), ORIGIN, count)
    return Record.make(TOUCH, touch_key(memory.key, memory.born, ORIGIN), version, version, body)


def embedding_of(memory: Record, data: bytes) -> Record:
    """The vector that the old program made of a memory."""
    model, rest = _described(len(data) // _FLOAT_BYTES)
    raw = (
        b'{"data":"' + base64.b64encode(data) + b'",' + rest
    )  # it needs no escape: to look for one takes twice as long
    return Record(EMBEDDING, f"{memory.key}/{model}", memory.version.base(), memory.born, raw)


@lru_cache(maxsize=16)  # all of a database have the same
def _described(dims: int) -> tuple[str, bytes]:
    """The model of a vector of so many dimensions, and what a body says beside the vector itself."""
    model = _MODELS.get(dims, f"unknown-{dims}")
    return model, canonical({"model": model, "dims": dims})[1:]


def agent_of(memory: Record, notes: Notes) -> Record | None:
    """The agent that a memory registers, or None when it registers none."""
    body = memory.body
    if memory.deleted or body["namespace"] != AGENTS or is_archived(memory):
        return None
    found = body["metadata"] if "agent_type" in body["metadata"] else json_of(body["content"], dict, "agent", notes)
    agent_id = found.get("agent_id") if found else None
    if not isinstance(agent_id, str) or not agent_id:
        notes.append("registers no agent: kept as a memory only")
        return None
    base = memory.version.base()
    capabilities = found.get("capabilities")
    agent = {
        "agent_id": agent_id,
        "agent_type": str(found.get("agent_type", "")),
        "capabilities": capabilities if isinstance(capabilities, list) else [],
        "registered_at": stamp_of(found.get("registered_at"), "registered_at", notes, memory.born.time),
        "last_seen_at": stamp_of(found.get("last_seen_at"), "last_seen_at", notes, base.time),
    }
    return Record(AGENT, agent_id, base, memory.born.base(), canonical(agent))
