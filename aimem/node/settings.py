"""What a node can be told. Where the values come from (flags, environment, file) is decided above."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aimem.core.memory import TtlConfig
from aimem.core.webhooks import Networks
from aimem.limits import REPLICA_LAG_SECS, WEBHOOK_GIVE_UP_SECS
from aimem.store.postgres.url import Target

KEYWORD, SEMANTIC = "keyword", "semantic"
CHECKOUT_MODEL = Path(__file__).resolve().parent.parent.parent / "build" / "model"
"""Where a source checkout builds the embedding model. The one-file program names the folder that it unpacked."""


def _nobody() -> bool:
    """Without certificates and keys every name is a claim."""
    return False


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """`tier` is `keyword` (words only, no model) or `semantic`.

    `memory_max` is what the vector index may take, in bytes; None is no limit.
    `known_callers()` tells whether the line of every agent's certificate or key binds it; with `require_identity`
    who shows neither sees, and changes, collective memories alone.
    """

    db: Path
    tier: str = SEMANTIC
    model: Path = CHECKOUT_MODEL
    ttl: TtlConfig = field(default_factory=TtlConfig)
    tombstone_days: int = 30
    collect_grace_secs: int = 3_600
    archive_on_gc: bool = True
    archive_max_days: int | None = None
    archive_superseded: bool = False
    allow_network_fs: bool = False
    memory_max: int | None = None
    webhook_networks: Networks = ()
    webhook_give_up_secs: float = WEBHOOK_GIVE_UP_SECS
    known_callers: Callable[[], bool] = _nobody
    require_identity: bool = False
    shared: Target | None = None  # the database of a shared store; then there is no file
    replicas: tuple[Target, ...] = ()  # of it, which answer reads that are no older than:
    read_lag_secs: float = REPLICA_LAG_SECS
    by_hand: bool = False  # the node of a command that was given the store itself: no caller reaches it
    fills: bool = True  # a shared store is made where there is none
    fleet: str | None = None  # whose node this is; a shared store of another one is refused
