"""What this node can do, in the shapes that clients of the existing system know. Never a claim that is not so.

Two shapes are spoken: `1`, and `2`, which says more and is the default. Fields are only ever added.
"""

from __future__ import annotations

from typing import Any, Final

from aimem import __version__
from aimem.core.events import EVENTS
from aimem.node.families import families_json
from aimem.node.settings import SEMANTIC

FIRST, SECOND = "1", "2"
VERSIONS: Final = {"v1": FIRST, "1": FIRST, "v2": SECOND, "2": SECOND}
"""What a client may ask for, and what it gets; anything else gets the default."""

_FEATURES_OF_1: Final = (
    *("keyword_search", "semantic_search", "hybrid_recall", "query_expansion", "auto_consolidation", "auto_tagging"),
    *("contradiction_analysis", "cross_encoder_reranking", "memory_reflection", "embedder_loaded"),
)


def asked_for(text: str | None) -> str:
    """The shape that a client asks for by a word such as `v1`."""
    return VERSIONS.get((text or "").strip().lower(), SECOND)


def capabilities(
    *,
    tier: str,
    model: dict[str, Any],
    loaded: bool,
    ready: bool,
    rules: int,
    policy: str,
    known: bool,
    unnamed: str,
    waiting: int,
    subscriptions: int,
    digest: str,
    schema: int,
    mesh: dict[str, Any] | None,
) -> dict[str, Any]:
    """The document. `model` has the name and width of the vectors in use, `rules` is how many policies stand, `policy`
    their digest, `known` whether certificates or keys say who calls, `unnamed` what those see who show none, `waiting`
    how many actions wait for leave, `subscriptions` how many there are."""
    semantic = tier == SEMANTIC
    active = ("hybrid" if ready else "degraded") if semantic else "disabled"
    scopes = "enforced" if known else "advisory"
    return {
        "schema_version": SECOND,
        "tier": tier,
        "version": __version__,
        "product": "aimem",
        "features": {
            **dict.fromkeys(_FEATURES_OF_1, False),
            "keyword_search": True,
            "semantic_search": semantic,
            "hybrid_recall": semantic,
            "embedder_loaded": loaded,
            "recall_mode_active": active,
            "reranker_active": "off",
        },
        "models": {
            "embedding": model["model"],
            "embedding_dim": model["dims"],
            "llm": "none",
            "cross_encoder": "none",
        },
        "permissions": {
            "mode": "enforced",
            "inheritance": "enforced",
            "scopes": scopes,
            "unnamed_callers": unnamed,
            "active_rules": rules,
            "rule_summary": [],
            "policy_digest": policy,
        },
        "hooks": {"registered_count": subscriptions, "by_event": {}, "webhook_events": list(EVENTS)},
        "compaction": {"enabled": False, "interval_minutes": None, "last_run_at": None, "last_run_stats": None},
        "approval": {"subscribers": 0, "pending_requests": waiting, "default_timeout_seconds": 0},
        "transcripts": {"enabled": False, "total_count": 0, "total_size_mb": 0},
        "families": families_json(),
        "state_digest": digest,
        "db_schema_version": schema,
        "quorum": None if mesh is None else mesh["quorum"],
        "node": None if mesh is None else _node(mesh),
    }


def _node(mesh: dict[str, Any]) -> dict[str, Any]:
    """The part that differs from node to node."""
    peers = [
        {name: peer.get(name) for name in ("url", "node", "state", "lag_rows", "lag_secs")} for peer in mesh["peers"]
    ]
    return {**{name: mesh.get(name) for name in ("node", "rack", "zone", "protocol", "stores")}, "peers": peers}


def first_shape(document: dict[str, Any]) -> dict[str, Any]:
    """The document as clients of shape 1 know it."""
    features = {name: document["features"][name] for name in _FEATURES_OF_1}
    return {**{name: document[name] for name in ("tier", "version", "models")}, "features": features}
