"""All that is no memory: links, aliases, standards and policies, pending actions, subscriptions. A row may become
several records: a pending action's votes and decision are kinds of their own.

Each function takes a row in the order of its `..._COLUMNS`. Two databases may hold one row under one key; merge takes
the later written, which here is what the row's own times say.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from aimem.core.kinds import (
    ALIAS,
    DECISION,
    LINK,
    PENDING,
    POLICY,
    STANDARD,
    SUBSCRIPTION,
    VOTE,
    compound_key,
    link_key,
)
from aimem.core.legacy.values import (
    Horizon,
    Notes,
    integer_of,
    json_of,
    optional_text,
    record_of,
    stamp_of,
    text_of,
    time_of,
)
from aimem.core.record import Record

LINK_COLUMNS = (
    *("source_id", "target_id", "relation", "created_at", "valid_from", "valid_until", "observed_by", "signature"),
)
ALIAS_COLUMNS = ("entity_id", "alias", "created_at")
# `memory_metadata` is of the standard of the action's namespace, exactly that one.
PENDING_COLUMNS = (
    *("id", "action_type", "memory_id", "namespace", "payload", "requested_by", "requested_at", "status"),
    *("decided_by", "decided_at", "approvals", "memory_metadata"),
)
SUBSCRIPTION_COLUMNS = (
    *("id", "url", "events", "secret_hash", "namespace_filter", "agent_filter", "created_by", "created_at"),
    *("last_dispatched_at", "dispatch_count", "failure_count"),
)

_UNDECIDED = "pending"
_VERDICTS = {"approved": "approve", "rejected": "reject"}


def link(row: Sequence[Any], horizon: Horizon, notes: Notes) -> list[Record]:
    """A link. One that was ended stands above the same link that was not, and the later end above the earlier.

    An end may lie in the future: that is a promise, no stamp.
    """
    source, target, relation = (text_of(row[at], LINK_COLUMNS[at], notes) for at in range(3))
    created = stamp_of(row[3], "created_at", notes)
    until = time_of(row[5], "valid_until", notes)
    written = created if until is None else max(created + 1, until if until <= horizon.at else 0)
    body = {
        "source_id": source,
        "target_id": target,
        "relation": relation,
        "created_at": created,
        "valid_from": time_of(row[4], "valid_from", notes),
        "valid_until": until,
        "observed_by": optional_text(row[6], "observed_by", notes),
        "signature": base64.b64encode(row[7]).decode() if isinstance(row[7], bytes) else row[7],
    }
    return [record_of(LINK, link_key(source, target, relation), written, body, horizon)]


def alias(row: Sequence[Any], horizon: Horizon, notes: Notes) -> list[Record]:
    """Another name of an entity."""
    entity, name = text_of(row[0], "entity_id", notes), text_of(row[1], "alias", notes)
    created = stamp_of(row[2], "created_at", notes)
    body = {"entity_id": entity, "alias": name, "created_at": created}
    return [record_of(ALIAS, compound_key(entity, name), created, body, horizon)]


def standard(row: Sequence[Any], horizon: Horizon, notes: Notes) -> list[Record]:
    """The standard of a namespace, and its policy, which the old program kept in the metadata of the rule text.

    A policy outlives its text in the archive, and one that is unreadable is kept as such, to deny.
    """
    namespace = text_of(row[0], "namespace", notes)
    updated = stamp_of(row[2], "updated_at", notes)
    raw = row[5] if row[5] is not None else row[6]
    if row[1] is not None and raw is None:
        notes.append(f"its memory {row[1]} is gone: there is no policy and no text")
    metadata = {} if raw is None else json_of(raw, dict, "the standard's metadata", notes)
    owner = None if metadata is None else metadata.get("agent_id")
    body = {
        "namespace": namespace,
        "memory_id": optional_text(row[1], "standard_id", notes),
        "parent": optional_text(row[3], "parent_namespace", notes),
        "owner": owner if isinstance(owner, str) else None,
    }
    records = [record_of(STANDARD, namespace, updated, body, horizon)]
    written = max(updated, time_of(row[4], "updated_at of the standard", notes) or 0)
    if metadata is None:
        policy = {"namespace": namespace, "unreadable": text_of(raw, "metadata", notes)}
        records.append(record_of(POLICY, namespace, written, policy, horizon))
    elif (governance := metadata.get("governance")) is not None:
        policy = {"namespace": namespace, "policy": governance}
        records.append(record_of(POLICY, namespace, written, policy, horizon))
    return records


def pending(row: Sequence[Any], horizon: Horizon, notes: Notes) -> list[Record]:
    """A parked action, its votes, and how it ended. Who decided has voted so."""
    key, action, memory_id, namespace, payload, requested_by, requested_at, status = row[:8]
    decided_by, decided_at, approvals, metadata = row[8:]
    key = text_of(key, "id", notes)
    requested = stamp_of(requested_at, "requested_at", notes)
    found = json_of(payload, object, "payload", notes) if payload is not None else None
    body = {
        "action": text_of(action, "action_type", notes),
        "memory_id": optional_text(memory_id, "memory_id", notes),
        "namespace": text_of(namespace, "namespace", notes),
        "payload": found,
        "unreadable": text_of(payload, "payload", notes) if found is None and payload is not None else None,
        "requested_by": text_of(requested_by, "requested_by", notes),
        "requested_at": requested,
        "approver": _approver(metadata),
    }
    records = [record_of(PENDING, key, requested, body, horizon)]
    voted = dict(_approvals(approvals, requested, notes))
    status = text_of(status, "status", notes)
    if status != _UNDECIDED:
        decided = stamp_of(decided_at, "decided_at", notes, requested)
        decider = optional_text(decided_by, "decided_by", notes)
        if decider is not None and status in _VERDICTS:
            voted.setdefault((decider, _VERDICTS[status]), decided)
        records.append(decision(key, status, decider, decided, horizon))
    records += [vote(key, voter, verdict, at, horizon) for (voter, verdict), at in voted.items()]
    return records


def vote(pending_id: str, voter: str, verdict: str, at: int, horizon: Horizon) -> Record:
    """One agent's verdict."""
    body = {"pending_id": pending_id, "voter": voter, "verdict": verdict, "voted_at": at}
    return record_of(VOTE, compound_key(pending_id, voter, verdict), at, body, horizon)


def decision(pending_id: str, outcome: str, decider: str | None, at: int, horizon: Horizon) -> Record:
    """How a parked action ended. The old program has carried it out already: there is nothing left to do."""
    body: dict[str, Any] = {"outcome": outcome, "decided_by": decider, "decided_at": at, "wrote": []}
    return record_of(DECISION, pending_id, at, body, horizon)


def _approver(metadata: Any) -> Any:
    """The approver that the policy names; anybody human where it names none (the old program's rule)."""
    found = json_of(metadata, dict, "metadata", []) or {}
    governance = found.get("governance")
    return governance.get("approver", "human") if isinstance(governance, dict) else "human"


def _approvals(value: Any, requested: int, notes: Notes) -> list[tuple[tuple[str, str], int]]:
    votes = []
    for item in json_of(value, list, "approvals", notes) or ():
        voter = item.get("agent_id") if isinstance(item, dict) else None
        if isinstance(voter, str):
            at = stamp_of(item.get("approved_at"), "approved_at", notes, requested)
            votes.append(((voter, "approve"), at))
        else:
            notes.append("an approval names no agent: left out")
    return votes


def subscription(row: Sequence[Any], horizon: Horizon, notes: Notes) -> list[Record]:
    """A subscription. Of its secret the old program kept a hash only."""
    created = stamp_of(row[7], "created_at", notes)
    dispatched = time_of(row[8], "last_dispatched_at", notes)
    secret_hash = optional_text(row[3], "secret_hash", notes)
    body = {
        "url": text_of(row[1], "url", notes),
        "events": text_of(row[2], "events", notes),
        "secret_hash": secret_hash,
        "secret_lost": True if secret_hash is not None else None,
        "namespace_filter": optional_text(row[4], "namespace_filter", notes),
        "agent_filter": optional_text(row[5], "agent_filter", notes),
        "created_by": optional_text(row[6], "created_by", notes),
        "created_at": created,
        "last_dispatched_at": dispatched,
        "dispatch_count": integer_of(row[9], "dispatch_count", notes),
        "failure_count": integer_of(row[10], "failure_count", notes),
    }
    return [record_of(SUBSCRIPTION, text_of(row[0], "id", notes), max(created, dispatched or 0), body, horizon)]
