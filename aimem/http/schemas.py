"""JSON schemas of what the routes take and give, as the OpenAPI document has them. Fields are only ever added."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
TIER: Schema = {"type": "string", "enum": ["short", "mid", "long"]}
OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """A component by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def listing(item: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": item}


def fields(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these fields; others may come later."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


_MEMORY = {
    "id": TEXT,
    "tier": TIER,
    "namespace": TEXT,
    "title": TEXT,
    "content": TEXT,
    "tags": listing(TEXT),
    "priority": {"type": "integer", "minimum": 1, "maximum": 10},
    "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    "source": TEXT,
    "access_count": COUNT,
    "created_at": TIME,
    "updated_at": TIME,
    "metadata": OBJECT,
    "version": TEXT,
}
_MEMORY_OPTIONAL = {"last_accessed_at": TIME, "expires_at": TIME}
_NEW_OPTIONAL = {
    **{name: _MEMORY[name] for name in ("tier", "namespace", "tags", "priority", "confidence", "source", "metadata")},
    "expires_at": {"type": ["string", "null"]},
    "ttl_secs": {"type": ["integer", "null"]},
    "agent_id": {"type": ["string", "null"]},
    "scope": {"type": ["string", "null"], "enum": ["private", "team", "unit", "org", "collective", None]},
    "on_conflict": {"type": ["string", "null"], "enum": ["merge", "error", "version", None]},
    "check_contradictions": {"type": ["boolean", "null"]},
    "expected_version": {"type": ["string", "null"]},
}
_COUNTED = {"count": COUNT}
_OPTIONAL_TEXT: Schema = {"type": ["string", "null"]}

_EVENT = {
    "target_id": TEXT,
    "relation": TEXT,
    "valid_from": TIME,
    "valid_until": {"type": ["string", "null"]},
    "observed_by": {"type": ["string", "null"]},
    "title": TEXT,
    "target_namespace": TEXT,
}

_LEVEL: Schema = {"type": "string", "enum": ["any", "registered", "owner", "approve"]}
COMPONENTS: dict[str, Schema] = {
    "Error": fields({"error": TEXT, "code": TEXT}, {"hint": TEXT}),
    "Memory": fields(_MEMORY, _MEMORY_OPTIONAL),
    "MemoryWithLinks": fields({**_MEMORY, "memory": ref("Memory"), "links": listing(OBJECT)}, _MEMORY_OPTIONAL),
    "Recalled": fields({**_MEMORY, "score": NUMBER}, _MEMORY_OPTIONAL),
    "NewMemory": fields({"title": TEXT, "content": TEXT}, _NEW_OPTIONAL),
    "MemoryChanges": fields(
        {},
        {
            **{name: {**_MEMORY[name]} for name in ("title", "content", "tier", "namespace", "tags", "metadata")},
            "priority": _MEMORY["priority"],
            "confidence": _MEMORY["confidence"],
            "expires_at": TEXT,
            "expected_version": TEXT,
        },
    ),
    "Stored": fields(
        {
            "id": TEXT,
            "tier": TIER,
            "namespace": TEXT,
            "title": TEXT,
            "agent_id": {"type": ["string", "null"]},
            "version": TEXT,
        },
        {"potential_contradictions": listing(TEXT)},
    ),
    "BulkOutcome": fields(
        {
            "created": COUNT,
            "ids": listing(TEXT),
            "errors": listing(
                fields({"index": COUNT, "title": {"type": ["string", "null"]}, "error": TEXT, "code": TEXT})
            ),
            "results": listing(fields({"index": COUNT, "status": COUNT})),
        }
    ),
    "NewMessage": fields(
        {},
        {
            **dict.fromkeys(("target_agent_id", "to", "title", "subject", "payload", "body", "content"), TEXT),
            **{
                name: _NEW_OPTIONAL[name]
                for name in ("priority", "tier", "scope", "agent_id", "expires_at", "ttl_secs")
            },
            "namespace": {"type": ["string", "null"]},
            "metadata": {"type": ["object", "null"]},
        },
    ),
    "Sent": fields(
        {**dict.fromkeys(("id", "from", "to", "namespace", "version"), TEXT), "tier": TIER, "delivered_at": TIME}
    ),
    "Message": fields(
        {
            "id": TEXT,
            "from": {"type": ["string", "null"]},
            **dict.fromkeys(("to", "title", "subject", "payload", "body"), TEXT),
            "priority": _MEMORY["priority"],
            "tier": TIER,
            "created_at": TIME,
            "received_at": TIME,
            "read": FLAG,
            "access_count": COUNT,
            "metadata": OBJECT,
        }
    ),
    "Inbox": fields(
        {"agent_id": TEXT, "namespace": TEXT, **_COUNTED, "unread_only": FLAG, "messages": listing(ref("Message"))}
    ),
    "NewSubscription": fields(
        {},
        {
            **dict.fromkeys(("url", "secret", "namespace", "namespace_filter", "agent_filter"), _OPTIONAL_TEXT),
            "agent_id": _OPTIONAL_TEXT,
            "events": {"type": ["string", "array", "null"]},
            "filter": {"type": ["object", "null"]},
        },
    ),
    "Subscription": fields(
        {
            "id": TEXT,
            "url": TEXT,
            "events": {"type": ["string", "array"]},
            "event_list": listing(TEXT),
            **dict.fromkeys(("namespace", "namespace_filter", "agent_filter"), _OPTIONAL_TEXT),
            **dict.fromkeys(("agent_id", "created_by"), _OPTIONAL_TEXT),
            "created_at": TIME,
            "dispatch_count": COUNT,
            "failure_count": COUNT,
            "signed": FLAG,
            "secret_lost": FLAG,
        },
        {"waiting": COUNT, "error": _OPTIONAL_TEXT, "filter": OBJECT, "filter_ignored": listing(TEXT)},
    ),
    "DeadLetter": fields(
        {
            **dict.fromkeys(("id", "subscription_id", "event", "namespace", "reason"), TEXT),
            **dict.fromkeys(("memory_id", "agent_id"), _OPTIONAL_TEXT),
            **dict.fromkeys(("occurred_at", "failed_at"), TIME),
            "attempts": COUNT,
        }
    ),
    "DeadLetters": fields({"count": COUNT, "dead_letters": listing(ref("DeadLetter")), "more": FLAG}),
    "Replay": fields({}, {"subscription_id": _OPTIONAL_TEXT, "ids": {"type": ["array", "null"]}}),
    "Replayed": fields({"replayed": COUNT, "ids": listing(TEXT), "more": FLAG}),
    "Subscriptions": fields({**_COUNTED, "subscriptions": listing(ref("Subscription"))}),
    "Unsubscribed": fields({"id": _OPTIONAL_TEXT, "removed": FLAG}),
    "MarkedRead": fields({"read": FLAG, "id": TEXT, "agent_id": TEXT, "read_at": TIME}),
    "Deleted": fields({"deleted": FLAG, "id": TEXT, "version": TEXT}),
    "Promoted": fields({"promoted": FLAG, "id": TEXT, "tier": TIER, "version": TEXT}),
    "NewGrant": fields({"agent_id": TEXT}, {"permission": {"enum": ["read"]}}),
    "Granted": fields({"granted": FLAG, "id": TEXT, "agent_id": TEXT, "permission": TEXT}),
    "Revoked": fields({"revoked": FLAG, "id": TEXT, "agent_id": TEXT}),
    "MemoryList": fields({"memories": listing(ref("Memory")), **_COUNTED}),
    "SearchResult": fields(
        {"results": listing(ref("Memory")), "memories": listing(ref("Memory")), **_COUNTED, "query": TEXT}
    ),
    "RecallRequest": fields(
        {},
        {
            "context": TEXT,
            "query": TEXT,
            "q": TEXT,
            "namespace": {"type": ["string", "null"]},
            "limit": {"type": ["integer", "null"]},
            "tags": {"type": ["string", "null"]},
            "since": {"type": ["string", "null"]},
            "until": {"type": ["string", "null"]},
            "as_agent": {"type": ["string", "null"]},
            "budget_tokens": {"type": ["integer", "null"]},
        },
    ),
    "RecallResult": fields(
        {
            "memories": listing(ref("Recalled")),
            **_COUNTED,
            "tokens_used": COUNT,
            "mode": {"type": "string", "enum": ["hybrid", "keyword"]},
        },
        {"budget_tokens": COUNT, "meta": OBJECT, "truncated": FLAG},
    ),
    "Policy": fields(
        {"write": _LEVEL},
        {
            "promote": _LEVEL,
            "delete": _LEVEL,
            "approver": {"description": '"human", {"agent": ID} or {"consensus": N}'},
            "inherit": FLAG,
            "timeout_secs": COUNT,
        },
    ),
    "Pending": fields({"status": TEXT}, {"pending_id": TEXT, "reason": TEXT, "action": TEXT, "namespace": TEXT}),
    "NewAgent": fields({"agent_id": TEXT, "agent_type": TEXT}, {"capabilities": listing(TEXT), "rack": TEXT}),
    "Registered": fields(
        {"registered": FLAG, "id": TEXT, "agent_id": TEXT, "agent_type": TEXT, "capabilities": listing(TEXT)}
    ),
    "Agents": fields(
        {
            "agents": listing(
                fields({"agent_id": TEXT, "agent_type": TEXT, "registered_at": TIME, "last_seen_at": TIME})
            ),
            **_COUNTED,
        }
    ),
    "PendingAction": fields(
        {
            "id": TEXT,
            "action_type": TEXT,
            "namespace": TEXT,
            "payload": OBJECT,
            "requested_by": TEXT,
            "requested_at": TIME,
            "status": TEXT,
            "approvals": listing(OBJECT),
        }
    ),
    "PendingList": fields({"pending": listing(ref("PendingAction")), **_COUNTED}),
    "Verdict": fields({"id": TEXT}, {"status": TEXT, "votes": COUNT, "quorum": COUNT, "reason": TEXT}),
    "Reopen": fields({}, {"lost": listing(TEXT)}),
    "Reopened": fields(
        {"id": TEXT, "outcome": TEXT, "lost": listing(TEXT), "not_ruled_out": listing(TEXT)},
        {"decided_by": TEXT, "pending_id": TEXT, "electors": listing(TEXT)},
    ),
    "NewStandard": fields({}, {"namespace": TEXT, "id": TEXT, "parent": TEXT, "governance": ref("Policy")}),
    "StandardSet": fields(
        {"set": FLAG, "namespace": TEXT, "standard_id": TEXT},
        {"parent": TEXT, "governance": ref("Policy"), "held_by": listing(TEXT)},
    ),
    "StandardCleared": fields({"cleared": FLAG, "namespace": TEXT}),
    "Standard": fields({"namespace": TEXT}, {"standard_id": {"type": ["string", "null"]}, "governance": OBJECT}),
    "Explained": fields({"namespace": TEXT, "agent_id": TEXT, "chain": listing(OBJECT), "may": OBJECT}),
    "Link": fields(
        {"source_id": TEXT, "target_id": TEXT, "relation": TEXT, "created_at": TIME},
        {"valid_from": TIME, "valid_until": TIME, "observed_by": TEXT},
    ),
    "NewLink": fields(
        {"source_id": TEXT, "target_id": TEXT},
        {"relation": {"type": ["string", "null"]}, "valid_from": TEXT, "valid_until": TEXT},
    ),
    "Linked": fields({"linked": FLAG, "version": TEXT}),
    "Unlinked": fields({"deleted": FLAG, "count": COUNT}),
    "Links": fields({"links": listing(ref("Link"))}),
    "Invalidated": fields(
        {
            "found": FLAG,
            "source_id": TEXT,
            "target_id": TEXT,
            "relation": TEXT,
            "valid_until": {"type": ["string", "null"]},
            "previous_valid_until": {"type": ["string", "null"]},
        }
    ),
    "Archived": fields({**_MEMORY, "archived_at": TIME, "archive_reason": TEXT}),
    "ArchivePage": fields({"archived": listing(ref("Archived")), **_COUNTED}),
    "ArchiveRequest": fields({"ids": listing(TEXT)}, {"reason": {"type": ["string", "null"]}}),
    "ArchiveOutcome": fields({"archived": listing(TEXT), "missing": listing(TEXT), **_COUNTED, "reason": TEXT}),
    "Restored": fields({"restored": FLAG, "id": TEXT, "version": TEXT}),
    "Purged": fields({"purged": COUNT}),
    "ArchiveStats": fields(
        {"archived_total": COUNT, "by_namespace": listing(fields({"namespace": TEXT, "count": COUNT}))}
    ),
    "Forgotten": fields({"deleted": COUNT}),
    "ForgetRequest": fields({}, {name: {"type": ["string", "null"]} for name in ("namespace", "pattern", "tier")}),
    "Consolidation": fields(
        {"ids": listing(TEXT), "title": TEXT, "summary": TEXT},
        {"namespace": TEXT, "tier": {"type": ["string", "null"]}, "agent_id": {"type": ["string", "null"]}},
    ),
    "Consolidated": fields({"id": TEXT, "consolidated": COUNT, "version": TEXT}),
    "Collected": fields({"expired_deleted": COUNT}),
    "Export": fields(
        {"memories": listing(ref("Memory")), "links": listing(ref("Link")), **_COUNTED, "exported_at": TIME}
    ),
    "Import": fields({}, {"memories": listing(OBJECT), "links": listing(OBJECT)}),
    "Imported": fields({"imported": COUNT, "failed": COUNT, "errors": listing(OBJECT)}),
    "Namespaces": fields({"namespaces": listing(fields({"namespace": TEXT, "count": COUNT}))}),
    "GraphQuery": fields(
        {"source_id": TEXT},
        {
            "max_depth": {"type": ["integer", "null"], "minimum": 1, "maximum": 5},
            "valid_at": {"type": ["string", "null"]},
            "allowed_agents": {"type": ["array", "null"], "items": TEXT},
            "limit": {"type": ["integer", "null"], "minimum": 1},
        },
    ),
    "GraphAnswer": fields(
        {
            "source_id": TEXT,
            "max_depth": COUNT,
            "memories": listing(fields({**_EVENT, "depth": COUNT, "path": TEXT})),
            "paths": listing(TEXT),
            **_COUNTED,
        }
    ),
    "Timeline": fields({"source_id": TEXT, "events": listing(fields(_EVENT)), **_COUNTED}),
    "Lineage": fields(
        {
            "id": TEXT,
            "direction": {"type": "string", "enum": ["ancestors", "descendants"]},
            "nodes": listing(
                fields({"id": TEXT, "cid": {"type": ["string", "null"]}, "relation": TEXT, "depth": COUNT})
            ),
            **_COUNTED,
        }
    ),
    "DuplicateQuestion": fields(
        {"title": TEXT, "content": TEXT},
        {
            "namespace": {"type": ["string", "null"]},
            "threshold": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        },
    ),
    "DuplicateCheck": fields(
        {
            "is_duplicate": FLAG,
            "threshold": NUMBER,
            "nearest": {
                "anyOf": [
                    fields({"id": TEXT, "title": TEXT, "namespace": TEXT, "similarity": NUMBER}),
                    {"type": "null"},
                ]
            },
            "suggested_merge": {"type": ["string", "null"]},
            "candidates_scanned": COUNT,
        }
    ),
    "NewEntity": fields(
        {"canonical_name": TEXT, "namespace": TEXT},
        {
            "aliases": {"type": ["array", "null"], "items": TEXT},
            "metadata": {"type": ["object", "null"]},
            "agent_id": {"type": ["string", "null"]},
        },
    ),
    "Registration": fields(
        {
            "entity_id": TEXT,
            "canonical_name": TEXT,
            "namespace": TEXT,
            "aliases": listing(TEXT),
            "created": FLAG,
            "version": TEXT,
        }
    ),
    "Entity": fields(
        {
            "found": FLAG,
            **{name: {"type": ["string", "null"]} for name in ("entity_id", "canonical_name", "namespace")},
            "aliases": listing(TEXT),
        }
    ),
    "Contradictions": fields(
        {
            "memories": listing(ref("Memory")),
            "links": listing(fields({"source_id": TEXT, "target_id": TEXT, "relation": TEXT, "synthesized": FLAG})),
        }
    ),
    "SessionRequest": fields(
        {},
        {
            "namespace": {"type": ["string", "null"]},
            "limit": {"type": ["integer", "null"]},
            "agent_id": {"type": ["string", "null"]},
        },
    ),
    "Session": fields(
        {"memories": listing(ref("Recalled")), **_COUNTED, "mode": TEXT, "session_id": TEXT},
        {"agent_id": TEXT, "standard": OBJECT, "standards": listing(OBJECT)},
    ),
    "NamespaceTree": fields(
        {
            "namespace": TEXT,
            "name": TEXT,
            "count": COUNT,
            "subtree_count": COUNT,
            "children": listing(ref("NamespaceTree")),
        }
    ),
    "Taxonomy": fields({"tree": ref("NamespaceTree"), "total_count": COUNT, "truncated": FLAG}),
    "Stats": fields(
        {
            "total": COUNT,
            "by_tier": listing(fields({"tier": TIER, "count": COUNT})),
            "by_namespace": listing(fields({"namespace": TEXT, "count": COUNT})),
            "expiring_soon": COUNT,
            "links_count": COUNT,
            "db_size_bytes": COUNT,
        }
    ),
    "Health": fields(
        {
            "status": {"type": "string", "enum": ["ok", "error"]},
            "service": TEXT,
            "product": TEXT,
            "version": TEXT,
            "ready": FLAG,
            "degraded": listing(TEXT),
            "embedder_ready": FLAG,
            "federation_enabled": FLAG,
        }
    ),
    "Capabilities": fields(
        {"tier": TEXT, "version": TEXT, "features": OBJECT, "models": OBJECT},
        {"schema_version": TEXT, "families": OBJECT},
    ),
    "Status": OBJECT,
    "Changes": fields({"changes": listing(OBJECT), **_COUNTED, "cursor": TEXT, "more": FLAG}),
    "Digest": fields({"digest": TEXT}),
}
