"""The tools of `aimem mcp`: for each its route, and its arguments with their types and defaults.

A new tool is an entry here. Names, arguments and defaults are those of the existing system. What always holds: a tool
is one request on a route of the node, which judges it; an argument that the route does not know is not offered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

CALLER: Final = "X-Agent-Id"  # where an argument goes that says who calls
FORMAT: Final = "format"  # and one that says how the result is written
KEY: Final = "Idempotency-Key"
VERSION: Final = "2026-04-26"  # of the names and arguments, as the existing system counts them


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. `sent`: its name in path, query or body where it is another there, or `CALLER`, `FORMAT`, `KEY`."""

    name: str
    summary: str = ""
    type: str = "string"
    default: Any = None
    required: bool = False
    enum: tuple[str, ...] = ()
    sent: str = ""

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        found: dict[str, Any] = {"type": self.type}
        if self.type == "array":
            found["items"] = {"type": "string"}
        if self.summary:
            found["description"] = self.summary
        if self.enum:
            found["enum"] = list(self.enum)
        if self.default is not None:
            found["default"] = self.default
        return found


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: what it is for, the request it makes, and what it takes."""

    name: str
    summary: str
    method: str
    path: str  # below /api/v1; a segment in braces is an argument
    arguments: tuple[Argument, ...] = ()
    changes: bool = False

    def described(self) -> dict[str, Any]:
        """The entry in the list of tools."""
        schema = {
            "type": "object",
            "properties": {each.name: each.schema() for each in self.arguments},
            "required": [each.name for each in self.arguments if each.required],
            "additionalProperties": False,
        }
        return {"name": self.name, "description": self.summary, "inputSchema": schema}


def _need(name: str, summary: str = "", type: str = "string", sent: str = "") -> Argument:
    return Argument(name, summary, type, required=True, sent=sent)


def _change(name: str, summary: str, method: str, path: str, *arguments: Argument) -> Tool:
    """A tool that writes: it can be repeated under its key."""
    key = Argument("idempotency_key", "Repeat an earlier call safely: the key that its error named.", sent=KEY)
    return Tool(name, summary, method, path, (*arguments, key), changes=True)


_TIERS = ("short", "mid", "long")
_TIER = Argument("tier", "How long it lives: 6 hours, 7 days, for good.", enum=_TIERS)
_NAMESPACE = Argument("namespace", "The namespace, such as ops/dns.")
_ID = _need("id", "The memory: its id, or the beginning of it.")
_AUTHOR = Argument("agent_id", "Only memories that this agent wrote.")
_CALLER = Argument("agent_id", "Who calls; without it the client's own name.", sent=CALLER)
_AS_AGENT = Argument("as_agent", "Only what an agent whose place is this namespace may see.")
_SINCE = Argument("since", "From this time on (RFC 3339).")
_UNTIL = Argument("until", "Up to this time (RFC 3339).")
_FORMAT = Argument(
    "format",
    "How the memories are written; each form has their content.",
    default="toon_compact",
    enum=("json", "toon", "toon_compact"),
    sent=FORMAT,
)
_LINK = (
    _need("source_id", "The memory that the link comes from."),
    _need("target_id", "The memory that it leads to."),
)
_RELATIONS = "related_to, supersedes, contradicts, derived_from."
_STATUS = "pending, approved, rejected, executed, expired, cancelled or failed. All without it."


def _limit(default: int | None) -> Argument:
    return Argument("limit", "At most so many.", "integer", default)


_MEMORIES = (
    _change(
        "memory_store",
        "Store a memory. The same title in the same namespace is the same memory.",
        "POST",
        "/memories",
        _need("title", "What it is about, in a few words."),
        _need("content", "What to remember."),
        Argument("tier", _TIER.summary, default="mid", enum=_TIERS),
        _NAMESPACE,
        Argument("tags", "Words to find it by.", "array"),
        Argument("priority", "From 1 to 10.", "integer", 5),
        Argument("confidence", "From 0 to 1.", "number", 1.0),
        Argument("source", "Where it comes from.", default="claude"),
        Argument("metadata", "Anything else, by name.", "object"),
        _CALLER,
        Argument("scope", "Who may see it.", enum=("private", "team", "unit", "org", "collective")),
    ),
    Tool(
        "memory_recall",
        "Find memories by meaning and by words.",
        "POST",
        "/recall",
        (
            _need("context", "What to recall, in your own words."),
            _NAMESPACE,
            _limit(10),
            Argument("tags", "With this tag."),
            _SINCE,
            _UNTIL,
            _AS_AGENT,
            Argument("budget_tokens", "Stop when the contents have so many tokens.", "integer"),
            _FORMAT,
        ),
    ),
    Tool(
        "memory_search",
        "Find memories that hold all words.",
        "GET",
        "/search",
        (_need("query", "The words.", sent="q"), _NAMESPACE, _TIER, _limit(20), _AUTHOR, _AS_AGENT, _FORMAT),
    ),
    Tool("memory_list", "List memories.", "GET", "/memories", (_NAMESPACE, _TIER, _limit(20), _AUTHOR, _FORMAT)),
    Tool("memory_get", "Show one memory in full, with its links.", "GET", "/memories/{id}", (_ID,)),
    _change(
        "memory_update",
        "Change the named fields of a memory.",
        "PUT",
        "/memories/{id}",
        _ID,
        Argument("title"),
        Argument("content"),
        _TIER,
        _NAMESPACE,
        Argument("tags", "All its tags from now on.", "array"),
        Argument("priority", "From 1 to 10.", "integer"),
        Argument("confidence", "From 0 to 1.", "number"),
        Argument("expires_at", "When it expires (RFC 3339)."),
        Argument("metadata", "All its metadata from now on.", "object"),
    ),
    _change("memory_delete", "Delete a memory.", "DELETE", "/memories/{id}", _ID),
    _change("memory_promote", "Keep a memory for good.", "POST", "/memories/{id}/promote", _ID),
    _change(
        "memory_forget",
        "Forget all memories that fit; at least one argument must be given.",
        "POST",
        "/forget",
        _NAMESPACE,
        Argument("pattern", "Words that they hold."),
        _TIER,
    ),
    _change(
        "memory_consolidate",
        "Make one memory of several.",
        "POST",
        "/consolidate",
        _need("ids", "The memories.", "array"),
        _need("title", "The title of the new one."),
        _need("summary", "Its content."),
        Argument("namespace", "Its namespace.", default="global"),
    ),
)
_LINKS = (
    _change(
        "memory_link",
        "Link two memories.",
        "POST",
        "/links",
        *_LINK,
        Argument("relation", _RELATIONS, default="related_to"),
    ),
    Tool("memory_get_links", "The links from and to a memory.", "GET", "/links/{id}", (_ID,)),
    Tool(
        "memory_kg_query",
        "What the links of a memory lead to, nearest first.",
        "POST",
        "/kg/query",
        (
            _LINK[0],
            Argument("max_depth", "Links one after another, up to 5.", "integer", 1),
            Argument("valid_at", "Links that held at this time (RFC 3339)."),
            Argument("allowed_agents", "Only links that one of these agents made.", "array"),
            _limit(200),
        ),
    ),
    Tool(
        "memory_kg_timeline",
        "The links out of a memory by time.",
        "GET",
        "/kg/timeline",
        (_LINK[0], _SINCE, _UNTIL, _limit(200)),
    ),
    _change(
        "memory_kg_invalidate",
        "Say that a link no longer holds.",
        "POST",
        "/kg/invalidate",
        *_LINK,
        _need("relation", _RELATIONS),
        Argument("valid_until", "Until when it held (RFC 3339); now without it."),
    ),
)
_KNOWLEDGE = (
    Tool(
        "memory_session_start",
        "What an agent should know when it begins.",
        "POST",
        "/session/start",
        (_NAMESPACE, _limit(10), _FORMAT),
    ),
    Tool(
        "memory_check_duplicate",
        "Whether a memory that is to be stored is there already.",
        "POST",
        "/check_duplicate",
        (
            _need("title"),
            _need("content"),
            _NAMESPACE,
            Argument("threshold", "How alike, from 0 to 1.", "number", 0.85),
        ),
    ),
    _change(
        "memory_entity_register",
        "Make an entity, or give it more names.",
        "POST",
        "/entities",
        _need("canonical_name", "Its first name."),
        _need("namespace"),
        Argument("aliases", "Its other names.", "array"),
        Argument("metadata", "Anything else, by name.", "object"),
        _CALLER,
    ),
    Tool(
        "memory_entity_get_by_alias",
        "The entity of a name.",
        "GET",
        "/entities/by_alias",
        (_need("alias", "One of its names."), _NAMESPACE),
    ),
)
_MESSAGES = (
    _change(
        "memory_notify",
        "Send a message to an agent.",
        "POST",
        "/notify",
        _need("target_agent_id", "The agent."),
        _need("title", "What it is about."),
        _need("payload", "The message."),
        Argument("priority", "From 1 to 10.", "integer", 5),
        Argument("tier", _TIER.summary, default="mid", enum=_TIERS),
    ),
    Tool(
        "memory_inbox",
        "The messages of an agent.",
        "GET",
        "/inbox",
        (
            Argument("agent_id", "Whose; the caller's without it."),
            Argument("unread_only", "Only those not yet read.", "boolean", False),
            _limit(50),
        ),
    ),
    _change(
        "memory_subscribe",
        "Ask to be told of events.",
        "POST",
        "/subscriptions",
        _need("url", "Where to be told."),
        Argument("events", "Names of events with commas; * for all.", default="*"),
        Argument("secret", "What the events are signed with."),
        Argument("namespace_filter", "Only events in this namespace."),
        Argument("agent_filter", "Only events of this agent."),
    ),
    _change("memory_unsubscribe", "End a subscription.", "DELETE", "/subscriptions/{id}", _need("id")),
    Tool("memory_list_subscriptions", "Who is told of what.", "GET", "/subscriptions"),
)
_RULES = (
    _change(
        "memory_namespace_set_standard",
        "Make a memory the standard of a namespace, with its policy.",
        "POST",
        "/namespaces",
        _need("namespace"),
        _need("id", "The memory that holds the rules."),
        Argument("parent", "The namespace whose rules come next."),
        Argument("governance", "The policy: write, promote, delete, approver.", "object"),
    ),
    Tool(
        "memory_namespace_get_standard",
        "The standard of a namespace, or its chain.",
        "GET",
        "/namespaces",
        (_need("namespace"), Argument("inherit", "With those above it.", "boolean", False)),
    ),
    _change(
        "memory_namespace_clear_standard",
        "Take the standard and the policy of a namespace away.",
        "DELETE",
        "/namespaces",
        _need("namespace"),
    ),
    Tool(
        "memory_pending_list",
        "Actions that wait for leave, or did.",
        "GET",
        "/pending",
        (Argument("status", _STATUS), _limit(100)),
    ),
    _change("memory_pending_approve", "Vote for an action.", "POST", "/pending/{id}/approve", _need("id", "Of it.")),
    _change("memory_pending_reject", "Vote against an action.", "POST", "/pending/{id}/reject", _need("id", "Of it.")),
    _change(
        "memory_agent_register",
        "Register an agent, or say anew what it is.",
        "POST",
        "/agents",
        _need("agent_id", "The agent."),
        _need("agent_type", "Such as human, ai:claude or system."),
        Argument("capabilities", "What it can do.", "array"),
    ),
    Tool("memory_agent_list", "All agents.", "GET", "/agents"),
)
_HOUSE = (
    Tool(
        "memory_get_taxonomy",
        "The namespaces as a tree, with counts.",
        "GET",
        "/taxonomy",
        (
            Argument("namespace_prefix", "Only from this namespace on.", sent="prefix"),
            Argument("depth", "Levels at most.", "integer", 8),
            _limit(1_000),
        ),
    ),
    Tool("memory_stats", "Count what is stored.", "GET", "/stats"),
    Tool("memory_capabilities", "What the node can do.", "GET", "/capabilities"),
    Tool(
        "memory_archive_list",
        "The archive, latest first.",
        "GET",
        "/archive",
        (_NAMESPACE, _limit(None), Argument("offset", "Leave out so many.", "integer")),
    ),
    _change(
        "memory_archive_restore", "Take a memory back from the archive.", "POST", "/archive/{id}/restore", _need("id")
    ),
    _change(
        "memory_archive_purge",
        "Remove from the archive for good: all, or what is older.",
        "DELETE",
        "/archive",
        Argument("older_than_days", "Only what was archived longer ago.", "integer"),
    ),
    Tool("memory_archive_stats", "Figures of the archive.", "GET", "/archive/stats"),
    _change("memory_gc", "End what has expired, now.", "POST", "/gc"),
)

TOOLS: Final = {tool.name: tool for tool in (*_MEMORIES, *_LINKS, *_KNOWLEDGE, *_MESSAGES, *_RULES, *_HOUSE)}
