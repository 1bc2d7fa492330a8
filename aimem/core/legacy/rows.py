"""What nodes of the existing system say to each other, both ways: their JSON rows, and the records that these are here.

Their `updated_at` is our version's time in nanoseconds, always nine digits, so it sorts as their text comparison wants
and reads back as it was: a row that comes back with a stamp that is held under its id is an echo of that very write.
What they can't say (a birth, a step, how a link ended) stays with us.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aimem.core.automatic import KEPT, NEVER, effect_of, joined, raised
from aimem.core.fields import (
    SOURCES,
    check_agent_id,
    check_id,
    check_metadata,
    check_priority,
    check_tier,
    clean_confidence,
    clean_content,
    clean_foreign_source,
    clean_tags,
    clean_title,
    object_of,
    required,
    text_of,
)
from aimem.core.legacy import memories, others
from aimem.core.legacy.values import ORIGIN, Horizon, Notes
from aimem.core.links import RELATIONS
from aimem.core.memory import DEFAULT_PRIORITY, created_ns
from aimem.core.namespace import check_namespace
from aimem.core.pairs import Pair, plain_id
from aimem.core.record import Record
from aimem.core.timestamp import SECOND_NS, format_timestamp, parse_timestamp
from aimem.core.version import TIME_MAX
from aimem.errors import Invalid

_REQUIRED = (
    *("id", "tier", "namespace", "title", "content", "tags", "priority", "confidence", "source", "access_count"),
    *("created_at", "updated_at"),
)


def horizon(now: int) -> Horizon:
    """No stamp is changed on the way in: one too far ahead is refused as any other version is, and waits."""
    return Horizon(TIME_MAX, now)


def stamp(time: int) -> str:
    """The text of a version's time: nine digits of fraction, always."""
    return f"{format_timestamp(time // SECOND_NS * SECOND_NS)[:19]}.{time % SECOND_NS:09d}+00:00"


# What they send.


def check_shape(row: Any) -> None:
    """Raises `WrongShape` for a memory that their wire format does not know: then the whole message is refused."""
    fields = object_of(row)
    for name in _REQUIRED:
        required(fields, name)


def memory(row: Mapping[str, Any], now: int) -> Record:
    """The record of a memory as they send it.

    Raises:
        Invalid: it breaks a rule that every memory keeps.
    """
    check_id(text_of(row["id"], "id"))
    metadata = check_metadata(row.get("metadata") or {})
    for clean, name in _RULES:
        clean(row[name])
    for name in ("created_at", "updated_at"):
        parse_timestamp(row[name], name)
    columns = {**row, "tags": json.dumps(row["tags"]), "metadata": json.dumps(metadata), "embedding": None}
    old = memories.live([columns.get(name) for name in memories.LIVE_COLUMNS], horizon(now))
    return old.record


_RULES = (
    (clean_title, "title"),
    (clean_content, "content"),
    (clean_tags, "tags"),
    (check_tier, "tier"),
    (check_priority, "priority"),
    (clean_confidence, "confidence"),
    (clean_foreign_source, "source"),
    (lambda value: check_namespace(text_of(value, "namespace")), "namespace"),
)


def heard(row: Record, held: Record | None) -> Record | None:
    """The record that a row of theirs stands for where `held` stands: None when it tells nothing new.

    An echo may still have lived longer there, or risen in tier: that is an automatic change of the write that is held.
    An edit of a memory that is held belongs to its birth.
    """
    if held is None:
        return row
    if held.version.time == row.version.time:
        after = raised(held, joined(effect_of(held), effect_of(row)._replace(collected=KEPT)))
        return None if after is held else after
    if not held.deleted and created_ns(held) == created_ns(row):
        return Record(row.kind, row.key, row.version, held.born, row.raw)
    return row


def link(row: Any, now: int) -> Record:
    """The record of a link as they send it. Raises `WrongShape`, `Invalid`."""
    fields = object_of(row)
    ends = [check_id(text_of(required(fields, name), name)) for name in ("source_id", "target_id")]
    relation = text_of(required(fields, "relation"), "relation")
    if relation not in RELATIONS:
        raise Invalid(f"relation {relation[:64]!r} is none of {', '.join(RELATIONS)}")
    created = parse_timestamp(required(fields, "created_at"), "created_at")
    (record,) = others.link([*ends, relation, stamp(created), stamp(created), None, None, None], horizon(now), [])
    return record


def pending(row: Any, text: Record | None, now: int) -> tuple[Record, list[Record]]:
    """A parked action, and what else its row says of it: votes, and how it ended. `text` is the memory
    that is the standard of its namespace. Raises `WrongShape`, `Invalid`."""
    fields = dict(object_of(row))
    check_id(text_of(required(fields, "id"), "id"))
    check_agent_id(required(fields, "requested_by"))
    check_namespace(text_of(required(fields, "namespace"), "namespace"))
    parse_timestamp(required(fields, "requested_at"), "requested_at")
    fields["payload"] = json.dumps(fields.get("payload"))
    fields["approvals"] = json.dumps(fields.get("approvals") or [])
    fields["memory_metadata"] = None if text is None or text.deleted else json.dumps(text.body["metadata"])
    notes: Notes = []
    first, *rest = others.pending([fields.get(name) for name in others.PENDING_COLUMNS], horizon(now), notes)
    return first, rest


def vote(row: Any, now: int) -> Record:
    """What they tell as a decision is here the verdict of whoever made it. Raises `WrongShape`, `Invalid`."""
    fields = object_of(row)
    key = check_id(text_of(required(fields, "id"), "id"))
    decider = check_agent_id(required(fields, "decider"))
    verdict = "approve" if required(fields, "approved") is True else "reject"
    return others.vote(key, decider, verdict, now, horizon(now))


def ended(parked: Record | None, told: Record) -> Record | None:
    """How an action ended, in the words of the system that parked it: None where that was not theirs to decide."""
    if parked is None or parked.deleted or parked.version.origin != ORIGIN:
        return None
    outcome = "approved" if told.body["verdict"] == "approve" else "rejected"
    return others.decision(parked.key, outcome, told.body["voter"], told.version.time, horizon(told.version.time))


def standard(row: Any, text: Record | None, now: int) -> list[Record]:
    """The standard of a namespace, and its policy, where the memory that is its `text` is held. Raises `WrongShape`,
    `Invalid`."""
    fields = object_of(row)
    check_namespace(text_of(required(fields, "namespace"), "namespace"))
    check_id(text_of(required(fields, "standard_id"), "standard_id"))
    updated = parse_timestamp(required(fields, "updated_at"), "updated_at")
    found = None if text is None or text.deleted else text
    written = None if found is None else stamp(found.version.time)
    metadata = None if found is None else json.dumps(found.body["metadata"])
    columns = [fields["namespace"], fields["standard_id"], stamp(updated), fields.get("parent_namespace")]
    return others.standard([*columns, written, metadata, None], horizon(now), [])


# What they are sent.


def memory_row(record: Record, policy: Record | None) -> dict[str, Any]:
    """A memory as they know it. `policy` is that of the namespace whose rule text it is: theirs stands in there."""
    body, effect = record.body, effect_of(record)
    time, metadata = record.version.time, body["metadata"]
    if policy is not None and not policy.deleted and "policy" in policy.body:
        time, metadata = max(time, policy.version.time), {**metadata, "governance": policy.body["policy"]}
    row = {
        "id": record.key,
        "tier": body["tier"],
        "namespace": body["namespace"],
        "title": body["title"],
        "content": body["content"],
        "tags": body["tags"],
        "priority": body["priority"],
        "confidence": body["confidence"],
        "source": body["source"] if body["source"] in SOURCES else "import",
        "access_count": 0,  # theirs is a maximum, ours a sum: each counts its own
        "created_at": stamp(created_ns(record)),
        "updated_at": stamp(time),
        "metadata": metadata,
    }
    if effect.expires != NEVER:
        row["expires_at"] = stamp(effect.expires)
    return row


def agent_row(record: Record) -> dict[str, Any]:
    """An agent that was registered here as they know it: a memory, with the id that its pair derives on every node."""
    body, pair = record.body, Pair(memories.AGENTS, f"agent:{record.key}")
    said = {
        "agent_id": record.key,
        "agent_type": body["agent_type"],
        "capabilities": body["capabilities"],
        "registered_at": stamp(body["registered_at"]),
        "last_seen_at": stamp(body["last_seen_at"]),
    }
    return {
        "id": plain_id(pair),
        "tier": "long",
        **pair._asdict(),
        "content": json.dumps(said, ensure_ascii=False),
        "tags": ["agent-registration"],
        "priority": DEFAULT_PRIORITY,
        "confidence": 1.0,
        "source": "system",
        "access_count": 0,
        "created_at": stamp(record.born.time),
        "updated_at": stamp(record.version.time),
        "metadata": said,
    }


def link_row(record: Record) -> dict[str, Any]:
    """A link as they know it."""
    body = record.body
    row = {name: body[name] for name in ("source_id", "target_id", "relation")}
    return {**row, "created_at": stamp(body["created_at"])}


def standard_row(record: Record) -> dict[str, Any]:
    """The standard of a namespace as they know it."""
    body = record.body
    return {
        "namespace": record.key,
        "standard_id": body["memory_id"],
        "parent_namespace": body.get("parent"),
        "updated_at": stamp(record.version.time),
    }


def pending_row(parked: Record, decision: Record | None, votes: Sequence[Record]) -> dict[str, Any]:
    """A parked action as they know it, with how it ended. What it led to goes to them as rows of its own: a decision,
    which each of them would carry out again, is never sent."""
    body = parked.body
    ending = decision.body if decision is not None and not decision.deleted else {}
    outcome = ending.get("outcome")
    approvals = [
        {"agent_id": each.body["voter"], "approved_at": stamp(each.body["voted_at"])}
        for each in votes
        if each.body["verdict"] == "approve"
    ]
    return {
        "id": parked.key,
        "action_type": body["action"],
        "memory_id": body.get("memory_id"),
        "namespace": body["namespace"],
        "payload": body.get("payload") or {},
        "requested_by": body["requested_by"],
        "requested_at": stamp(body["requested_at"]),
        "status": "pending" if outcome is None else "approved" if outcome == "approved" else "rejected",
        "decided_by": ending.get("decided_by"),
        "decided_at": None if outcome is None else stamp(ending["decided_at"]),
        "approvals": approvals,
    }
