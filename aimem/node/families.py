"""The MCP tools in the families that clients of the existing system know them by, for whoever asks which are there.

A client that needs some tools asks for their families. Each family names those of its tools that there are here: what
needs a language model is not.
"""

from __future__ import annotations

from typing import Any, Final

FAMILIES: Final = {
    "core": ("memory_store", "memory_recall", "memory_list", "memory_get", "memory_search"),
    "lifecycle": ("memory_update", "memory_delete", "memory_forget", "memory_gc", "memory_promote"),
    "graph": (
        *("memory_link", "memory_get_links", "memory_kg_query", "memory_kg_timeline", "memory_kg_invalidate"),
        *("memory_entity_register", "memory_entity_get_by_alias", "memory_get_taxonomy"),
    ),
    "governance": (
        *("memory_pending_list", "memory_pending_approve", "memory_pending_reject"),
        *("memory_namespace_set_standard", "memory_namespace_get_standard", "memory_namespace_clear_standard"),
        *("memory_subscribe", "memory_unsubscribe"),
    ),
    "power": ("memory_consolidate", "memory_check_duplicate", "memory_inbox"),
    "meta": (
        *("memory_capabilities", "memory_agent_register", "memory_agent_list"),
        *("memory_session_start", "memory_stats"),
    ),
    "archive": ("memory_archive_list", "memory_archive_restore", "memory_archive_purge", "memory_archive_stats"),
    "other": ("memory_list_subscriptions", "memory_notify"),
}


def families_json() -> dict[str, Any]:
    """The families as clients read them. All are loaded: there are no profiles that leave some out."""
    return {
        "schema_version": "v0.6.4-families-1",
        "always_on": ["memory_capabilities"],
        "families": [
            {"name": name, "tool_count": len(tools), "loaded": True, "tools": list(tools)}
            for name, tools in FAMILIES.items()
        ],
    }
