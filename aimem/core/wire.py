"""JSON shapes of replies that need nothing but a memory and its counters: the names that clients know.

They are a superset: every key of the existing system, the ones that its published Python client reads, and ours
(`version`). How a value is checked on the way in is in `memory`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aimem.core.automatic import NEVER, NO_USE, Use, effect_of
from aimem.core.budget import Packed
from aimem.core.memory import created_ns
from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp
from aimem.limits import ACCESS_COUNT_MAX


def memory_json(record: Record, use: Use = NO_USE) -> dict[str, Any]:
    """A memory as callers see it. `last_accessed_at` and `expires_at` are left out when there is none; extensions by
    use are part of `expires_at`."""
    body, version = record.body, record.version
    created, updated = created_ns(record), body.get("updated_at", version.time)
    created_text = format_timestamp(created)
    fields = {
        "id": record.key,
        "tier": body["tier"],
        "namespace": body["namespace"],
        "title": body["title"],
        "content": body["content"],
        "tags": body["tags"],
        "priority": body["priority"],
        "confidence": body["confidence"],
        "source": body["source"],
        "access_count": min(use.accesses, ACCESS_COUNT_MAX),
        "created_at": created_text,
        "updated_at": created_text if updated == created else format_timestamp(updated),
        "metadata": body["metadata"],
        "version": str(version),
    }
    if use.last:
        fields["last_accessed_at"] = format_timestamp(use.last)
    if (expires := max(effect_of(record).expires, use.expires)) != NEVER:
        fields["expires_at"] = format_timestamp(expires)
    return fields


def memory_reply(memory: Mapping[str, Any], links: Sequence[Any]) -> dict[str, Any]:
    """One memory by id: wrapped beside its links, and flat for clients that look for the fields at the top."""
    return {**memory, "memory": memory, "links": links}


def created_reply(record: Record, contradictions: Sequence[str] = ()) -> dict[str, Any]:
    """A store: what stands now, which after an upsert is not all what was asked for. `contradictions` are ids of other
    memories that may say otherwise."""
    body = record.body
    reply = {
        "id": record.key,
        "tier": body["tier"],
        "namespace": body["namespace"],
        "title": body["title"],
        "agent_id": body["metadata"].get("agent_id"),
        "version": str(record.version),
    }
    if contradictions:
        reply["potential_contradictions"] = list(contradictions)
    return reply


def list_reply(memories: Sequence[Any]) -> dict[str, Any]:
    """A page of memories; `count` is that of the page."""
    return {"memories": memories, "count": len(memories)}


def search_reply(memories: Sequence[Any], query: str) -> dict[str, Any]:
    """Matches of a search, under both names that clients read."""
    return {"results": memories, "memories": memories, "count": len(memories), "query": query}


def recall_reply(
    memories: Sequence[Any], mode: str, packed: Packed, budget: int | None, *, truncated: bool = False
) -> dict[str, Any]:
    """A recall: memories with their scores (see `scored`), and what the budget did to them. `truncated` says that there
    was no time to look everywhere: better ones may be missing."""
    reply = {"memories": memories, "count": len(memories), "tokens_used": packed.used, "mode": mode}
    if truncated:
        reply["truncated"] = True
    if budget is not None:
        reply["budget_tokens"] = budget
        reply["meta"] = {
            "budget_tokens_used": packed.used,
            "budget_tokens_remaining": max(budget - packed.used, 0),
            "memories_dropped": packed.dropped,
            "budget_overflow": packed.overflows,
        }
    return reply


def scored(memory: dict[str, Any], score: float) -> dict[str, Any]:
    """The memory with its score of a recall, in three decimals."""
    return {**memory, "score": round(score, 3)}


def bulk_reply(ids: Sequence[str], errors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A bulk store: ids of what was stored, in order, and one object per refused row (see `bulk_error`)."""
    return {"created": len(ids), "ids": ids, "errors": errors}


def bulk_error(index: int, row: Any, error: Mapping[str, Any]) -> dict[str, Any]:
    """A refused row: its place in the request, its title when it has one, and the body of its error."""
    title = row.get("title") if isinstance(row, dict) else None
    return {"index": index, "title": title if isinstance(title, str) else None, **error}
