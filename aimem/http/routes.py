"""The table of everything that is served. A new call is a line here and a handler; the rest is made from it."""

from __future__ import annotations

from functools import partial

from aimem.http import (
    about,
    agents,
    archive,
    finding,
    knowledge,
    links,
    memories,
    messages,
    moving,
    pending,
    quarantine,
    ruling,
    subscriptions,
    sync,
)
from aimem.http.call import LINES
from aimem.http.openapi import document_handler
from aimem.http.router import Handler, Route, Schema
from aimem.http.schemas import FLAG, OBJECT, TEXT, TIER, listing, ref
from aimem.mesh.messages import PATHS

API = "/api/v1"

_NUMBER = {"type": "integer"}
_FILTER: dict[str, Schema] = {
    "namespace": TEXT,
    "tier": TIER,
    "tags": TEXT,
    "agent_id": TEXT,
    "min_priority": _NUMBER,
    "since": TEXT,
    "until": TEXT,
    "limit": _NUMBER,
}
_RECALL: dict[str, Schema] = {name: _FILTER[name] for name in ("namespace", "tags", "since", "until", "limit")} | {
    "context": TEXT,
    "query": TEXT,
    "q": TEXT,
    "as_agent": TEXT,
    "budget_tokens": _NUMBER,
}
_PAGE: dict[str, Schema] = {"limit": _NUMBER, "offset": _NUMBER}
_WHOSE: dict[str, Schema] = {"agent_id": TEXT}
_METRICS = {"text/plain": TEXT}
_VERDICT = {200: ref("Verdict"), 202: ref("Verdict")}


def _get(
    path: str,
    handler: Handler,
    summary: str,
    reply: str,
    parameters: dict[str, Schema] | None = None,
    *,
    lags: bool = False,
) -> Route:
    return Route("GET", f"{API}{path}", handler, summary, {200: ref(reply)}, parameters=parameters or {}, lags=lags)


_lagging = partial(_get, lags=True)

MEMORIES = (
    Route(
        "POST",
        f"{API}/memories",
        memories.create,
        "Store a memory under its namespace and title",
        {201: ref("Stored")},
        changes=True,
        body=ref("NewMemory"),
    ),
    Route(
        "POST",
        f"{API}/memories/bulk",
        memories.bulk,
        "Store up to 1,000 memories, each judged by itself",
        {200: ref("BulkOutcome")},
        changes=True,
        body={
            "oneOf": [
                listing(OBJECT),
                {"type": "object", "required": ["memories"], "properties": {"memories": listing(OBJECT)}},
            ]
        },
    ),
    _lagging("/memories", memories.listed, "List memories", "MemoryList", {**_FILTER, "offset": _NUMBER}),
    _lagging("/memories/{id}", memories.get, "One memory, by id or unique prefix", "MemoryWithLinks"),
    Route(
        "PUT",
        f"{API}/memories/{{id}}",
        memories.update,
        "Change the named fields of a memory",
        {200: ref("Memory")},
        changes=True,
        body=ref("MemoryChanges"),
    ),
    Route(
        "DELETE",
        f"{API}/memories/{{id}}",
        memories.delete,
        "Delete a memory",
        {200: ref("Deleted")},
        changes=True,
        body={"type": "object", "properties": {"expected_version": TEXT}},
        body_required=False,
    ),
    Route(
        "POST",
        f"{API}/memories/{{id}}/promote",
        memories.promote,
        "Make a memory long-lived",
        {200: ref("Promoted")},
        changes=True,
        body={"type": "object", "properties": {"expected_version": TEXT}},
        body_required=False,
    ),
    Route(
        "POST",
        f"{API}/memories/{{id}}/grant",
        memories.grant,
        "Let an agent read a memory, whatever its scope",
        {200: ref("Granted")},
        changes=True,
        body=ref("NewGrant"),
    ),
    Route(
        "POST",
        f"{API}/memories/{{id}}/revoke",
        memories.revoke,
        "Take such a leave back",
        {200: ref("Revoked")},
        changes=True,
        body=ref("NewGrant"),
    ),
)
FINDING = (
    _lagging(
        "/search",
        finding.search,
        "Memories that hold all words",
        "SearchResult",
        {**_FILTER, "q": TEXT, "as_agent": TEXT},
    ),
    _lagging("/recall", finding.recall, "Memories by meaning and by words", "RecallResult", _RECALL),
    Route(
        "POST",
        f"{API}/recall",
        finding.recall_posted,
        "Memories by meaning and by words",
        {200: ref("RecallResult")},
        lags=True,
        body=ref("RecallRequest"),
    ),
    Route(
        "GET",
        f"{API}/namespaces",
        finding.namespaces,
        "Namespaces and their counts; of a named one its standard",
        {200: {"anyOf": [ref("Namespaces"), ref("Standard")]}},
        lags=True,
        parameters={"namespace": TEXT, "inherit": FLAG},
    ),
)
KNOWLEDGE = (
    _lagging(
        "/taxonomy",
        finding.taxonomy,
        "Namespaces as a tree",
        "Taxonomy",
        {"prefix": TEXT, "depth": _NUMBER, "limit": _NUMBER},
    ),
    Route(
        "POST",
        f"{API}/kg/query",
        knowledge.query,
        "What the links of a memory lead to",
        {200: ref("GraphAnswer")},
        lags=True,
        body=ref("GraphQuery"),
    ),
    _lagging(
        "/kg/timeline",
        knowledge.timeline,
        "The links out of a memory by time",
        "Timeline",
        {"source_id": TEXT, "since": TEXT, "until": TEXT, "limit": _NUMBER},
    ),
    Route(
        "POST",
        f"{API}/check_duplicate",
        knowledge.check_duplicate,
        "Whether a memory that is to be stored is there already",
        {200: ref("DuplicateCheck")},
        lags=True,
        body=ref("DuplicateQuestion"),
    ),
    Route(
        "POST",
        f"{API}/entities",
        knowledge.register_entity,
        "Make an entity, or give it more names",
        {200: ref("Registration"), 201: ref("Registration")},
        changes=True,
        body=ref("NewEntity"),
    ),
    _get(
        "/entities/by_alias",
        knowledge.entity_by_alias,
        "The entity of a name",
        "Entity",
        {"alias": TEXT, "namespace": TEXT},
    ),
    _lagging(
        "/contradictions",
        knowledge.contradictions,
        "Memories about one thing that say something else",
        "Contradictions",
        {"topic": TEXT, "namespace": TEXT, "limit": _NUMBER},
    ),
    Route(
        "POST",
        f"{API}/session/start",
        knowledge.start_session,
        "What an agent is told when it begins",
        {200: ref("Session")},
        lags=True,
        body=ref("SessionRequest"),
        body_required=False,
    ),
    Route("POST", f"{API}/cluster", knowledge.cluster, "Not offered", {501: ref("Error")}, body=OBJECT),
    _get(
        "/memories/{id}/lineage",
        knowledge.lineage,
        "What a memory was made of, or what was made of it",
        "Lineage",
        {"direction": TEXT, "max_depth": _NUMBER},
    ),
)
RULES = (
    Route(
        "POST",
        f"{API}/namespaces",
        ruling.set_named,
        "Set the standard of a namespace, its policy, or both",
        {201: ref("StandardSet")},
        changes=True,
        body=ref("NewStandard"),
    ),
    Route(
        "DELETE",
        f"{API}/namespaces",
        ruling.clear_named,
        "Take the standard and the policy of a namespace away",
        {200: ref("StandardCleared")},
        changes=True,
        parameters={"namespace": TEXT},
    ),
    _get(
        "/namespaces/{ns}/standard",
        ruling.shown_at,
        "The standard of a namespace, or its chain",
        "Standard",
        {"inherit": FLAG},
    ),
    Route(
        "POST",
        f"{API}/namespaces/{{ns}}/standard",
        ruling.set_at,
        "Set the standard of a namespace, its policy, or both",
        {201: ref("StandardSet")},
        changes=True,
        body=ref("NewStandard"),
    ),
    Route(
        "DELETE",
        f"{API}/namespaces/{{ns}}/standard",
        ruling.clear_at,
        "Take the standard and the policy of a namespace away",
        {200: ref("StandardCleared")},
        changes=True,
    ),
    _get(
        "/policy/explain",
        ruling.explained,
        "What an agent may do in a namespace, and from which rule",
        "Explained",
        {"namespace": TEXT, "agent_id": TEXT},
    ),
)
AGENTS = (
    _get("/agents", agents.listed, "All agents", "Agents", {**_WHOSE, "skills": FLAG, "rack": TEXT}),
    Route(
        "POST",
        f"{API}/agents",
        agents.register,
        "Register an agent, or say anew what it is",
        {201: ref("Registered")},
        changes=True,
        body=ref("NewAgent"),
    ),
)
MESSAGES = (
    Route(
        "POST",
        f"{API}/notify",
        messages.notify,
        "Send a message to an agent",
        {201: ref("Sent")},
        changes=True,
        body=ref("NewMessage"),
    ),
    _lagging(
        "/inbox", messages.inbox, "The messages of an agent", "Inbox", {**_WHOSE, "unread_only": FLAG, "limit": _NUMBER}
    ),
    Route(
        "POST",
        f"{API}/inbox/{{id}}/read",
        messages.mark_read,
        "Mark a message as read",
        {200: ref("MarkedRead")},
        changes=True,
        parameters=_WHOSE,
    ),
)
SUBSCRIPTIONS = (
    _get("/subscriptions", subscriptions.listed, "Who is told of what", "Subscriptions", _WHOSE),
    Route(
        "POST",
        f"{API}/subscriptions",
        subscriptions.add,
        "Ask to be told of events",
        {201: ref("Subscription")},
        changes=True,
        body=ref("NewSubscription"),
    ),
    Route(
        "DELETE",
        f"{API}/subscriptions",
        subscriptions.remove,
        "End a subscription, or those of an agent and namespace",
        {200: ref("Unsubscribed")},
        changes=True,
        parameters={"id": TEXT, "namespace": TEXT, **_WHOSE},
    ),
    Route(
        "DELETE",
        f"{API}/subscriptions/{{id}}",
        subscriptions.remove_named,
        "End a subscription",
        {200: ref("Unsubscribed")},
        changes=True,
    ),
    _get(
        "/dead_letters",
        subscriptions.dead_letters,
        "Events that could not be told",
        "DeadLetters",
        {"subscription_id": TEXT, "limit": _NUMBER},
    ),
    Route(
        "POST",
        f"{API}/dead_letters/replay",
        subscriptions.replay,
        "Tell dead letters again",
        {200: ref("Replayed")},
        changes=True,
        body=ref("Replay"),
    ),
)
PENDING = (
    _get(
        "/pending",
        pending.listed,
        "Actions that wait for leave, or did",
        "PendingList",
        {"status": TEXT, "namespace": TEXT, "approver": TEXT, "limit": _NUMBER},
    ),
    _get("/pending/{id}", pending.get, "One of them", "PendingAction"),
    *(
        Route(
            "POST",
            f"{API}/pending/{{id}}/{name}",
            handler,
            summary,
            replies,
            changes=True,
            body=body,
            body_required=False,
        )
        for name, handler, summary, replies, body in (
            ("approve", pending.approve, "Vote for an action", _VERDICT, OBJECT),
            ("reject", pending.reject, "Vote against an action", _VERDICT, OBJECT),
            ("cancel", pending.cancel, "Take back an action that one asked for", _VERDICT, OBJECT),
            (
                *("reopen", pending.reopen, "End the wait of an action whose electors are gone for good"),
                *({200: ref("Reopened")}, ref("Reopen")),
            ),
        )
    ),
)
ABOUT = (
    Route("GET", f"{API}/health", about.health, "Whether the node is well", {200: ref("Health"), 503: ref("Health")}),
    _get("/capabilities", about.capabilities, "What the node can do", "Capabilities"),
    _lagging("/stats", about.stats, "Figures of the whole store", "Stats"),
    _get("/status", about.status, "The node's state in full", "Status"),
    _get(
        "/changes",
        about.changes,
        "The change feed after a cursor",
        "Changes",
        {"after": TEXT, "limit": _NUMBER, "kinds": TEXT},
    ),
    _get("/digest", about.digest, "The state digest", "Digest", {"buckets": FLAG}),
    Route("GET", f"{API}/metrics", about.metrics, "Metrics for Prometheus", {200: _METRICS}),
    Route("GET", "/metrics", about.metrics, "Metrics for Prometheus", {200: _METRICS}),
)
LINKS = (
    Route(
        "POST",
        f"{API}/links",
        links.create,
        "Link two memories",
        {201: ref("Linked")},
        changes=True,
        body=ref("NewLink"),
    ),
    Route(
        "DELETE",
        f"{API}/links",
        links.remove,
        "Remove one relation between two memories, or all",
        {200: ref("Unlinked")},
        changes=True,
        body=ref("NewLink"),
    ),
    _lagging("/links/{id}", links.listed, "Links from and to a memory", "Links"),
    Route(
        "POST",
        f"{API}/kg/invalidate",
        links.invalidate,
        "Say that a link no longer holds",
        {200: ref("Invalidated"), 404: ref("Invalidated")},
        changes=True,
        body=ref("NewLink"),
    ),
)
ARCHIVE = (
    _lagging("/archive", archive.listed, "The archive, latest first", "ArchivePage", {**_PAGE, "namespace": TEXT}),
    Route(
        "POST",
        f"{API}/archive",
        archive.add,
        "Set memories aside",
        {200: ref("ArchiveOutcome")},
        changes=True,
        body=ref("ArchiveRequest"),
    ),
    Route(
        "DELETE",
        f"{API}/archive",
        archive.purge,
        "Remove from the archive for good",
        {200: ref("Purged")},
        changes=True,
        parameters={"older_than_days": _NUMBER},
    ),
    _lagging("/archive/stats", archive.stats, "Figures of the archive", "ArchiveStats"),
    Route(
        "POST",
        f"{API}/archive/{{id}}/restore",
        archive.restore,
        "Take a memory back from the archive",
        {200: ref("Restored")},
        changes=True,
        body=OBJECT,
        body_required=False,
    ),
    Route(
        "POST",
        f"{API}/forget",
        archive.forget,
        "Retire all memories that fit",
        {200: ref("Forgotten")},
        changes=True,
        parameters={"namespace": TEXT, "pattern": TEXT, "tier": TIER},
        body=ref("ForgetRequest"),
        body_required=False,
    ),
    Route(
        "POST",
        f"{API}/consolidate",
        archive.consolidate,
        "Make one memory of several",
        {201: ref("Consolidated")},
        changes=True,
        body=ref("Consolidation"),
    ),
    Route("POST", f"{API}/gc", archive.gc, "End what has expired", {200: ref("Collected")}, changes=True),
)
MOVING = (
    Route(
        "GET",
        f"{API}/export",
        moving.export,
        "All live memories and links; everything, as lines, when asked for",
        {200: {"application/json": ref("Export"), LINES: TEXT}},
        parameters={"secrets": FLAG},
    ),
    Route(
        "POST",
        f"{API}/import",
        moving.import_,
        "Rows of an export: an object of up to 1,000, or any number of lines",
        {200: ref("Imported")},
        changes=True,
        body=ref("Import"),
        lines=True,
    ),
)
_ROWS = {"type": "object", "properties": {"id": TEXT, "peer": TEXT, "kind": TEXT, "all": FLAG}}
QUARANTINE = (
    Route(
        "GET",
        f"{API}/quarantine",
        quarantine.listed,
        "Rows that this node keeps aside",
        {200: OBJECT},
        parameters={"peer": TEXT, "kind": TEXT},
    ),
    Route(
        "POST",
        f"{API}/quarantine/rescue",
        quarantine.rescue,
        "Write rows that were kept aside anew",
        {200: OBJECT},
        changes=True,
        body=_ROWS,
    ),
    Route(
        "POST",
        f"{API}/quarantine/drop",
        quarantine.drop,
        "Forget rows that were kept aside",
        {200: OBJECT},
        changes=True,
        body=_ROWS,
    ),
)
SYNC = (
    *(Route("POST", path, sync.message, "A message of another node", {200: OBJECT}, body=OBJECT) for path in PATHS),
    Route("POST", sync.LEGACY_PUSH, sync.legacy_push, "A push of an existing node", {200: OBJECT}, body=OBJECT),
    Route(
        "GET",
        sync.LEGACY_SINCE,
        sync.legacy_since,
        "Memories that an existing node has not seen yet",
        {200: OBJECT},
        parameters={"since": TEXT, "limit": _NUMBER, "peer": TEXT},
    ),
)
_DESCRIBED = (
    *MEMORIES,
    *FINDING,
    *KNOWLEDGE,
    *AGENTS,
    *RULES,
    *MESSAGES,
    *SUBSCRIPTIONS,
    *PENDING,
    *LINKS,
    *ARCHIVE,
    *MOVING,
    *ABOUT,
    *QUARANTINE,
    *SYNC,
)
ROUTES: tuple[Route, ...] = (
    *_DESCRIBED,
    Route("GET", f"{API}/openapi.json", document_handler(_DESCRIBED), "This document", {200: OBJECT}),
)
