"""What commands and nodes are told, with the defaults of what they are not told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aimem.limits import REPLICA_LAG_SECS, WEBHOOK_GIVE_UP_SECS

if TYPE_CHECKING:
    from aimem.core.memory import TtlConfig
    from aimem.core.webhooks import Networks

DEFAULT_URL: Final = "http://127.0.0.1:9077"
DEFAULT_PORT: Final = 9077


def _default_ttl() -> TtlConfig:
    from aimem.core.memory import (
        TtlConfig,  # only a node needs it: a thin command pays for no rule that it does not use
    )

    return TtlConfig()


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """All that `aimem serve` can be told. Units stand in the names; `None` is "no limit", or "the program chooses"."""

    db: Path
    store_url: str | None = field(default=None, repr=False)  # of a shared store: then there is no database file
    store_password_file: str | None = None
    store_read_url: tuple[str, ...] = field(default=(), repr=False)  # of its hot standbys
    store_read_lag_secs: int = REPLICA_LAG_SECS  # how old what they answer may be
    store_sslmode: str | None = None
    store_ca_cert: str | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT  # 0: any free one
    tier: str = "semantic"
    insecure: bool = False
    check: bool = False
    cache_dir: Path | None = None
    allow_network_fs: bool = False
    tombstone_days: int = 30
    collect_grace_secs: int = 3_600
    archive_on_gc: bool = True
    archive_max_days: int | None = None
    archive_superseded: bool = False
    memory_max: int | None = None  # bytes
    shutdown_grace_secs: int = 30
    log_format: str = "text"
    log_level: str = "warning"
    tls_cert: str | None = None
    tls_key: str | None = None
    mtls_allowlist: str | None = None
    api_key_file: str | None = None
    fleet: str | None = None  # whose node this is, told to a shared store
    node: str | None = None
    rack: str | None = None
    zone: str | None = None
    quorum_writes: int | None = None  # W; None for a majority
    quorum_peers: tuple[str, ...] = ()
    quorum_pins: tuple[tuple[str, str], ...] = ()  # peer and the SHA-256 of the one certificate that it may have
    quorum_racks: int = 1
    quorum_scope: str = "nodes"  # what W counts: nodes, or distinct stores
    quorum_timeout_ms: int = 2_000
    quorum_client_cert: str | None = None
    quorum_client_key: str | None = None
    quorum_ca_cert: str | None = None
    catchup_interval_secs: int = 30
    max_skew: int = 30
    webhook_networks: Networks = ()
    webhook_give_up_secs: int = int(WEBHOOK_GIVE_UP_SECS)
    count_legacy_acks: bool = False
    require_identity: bool = False
    ttl: TtlConfig = field(default_factory=_default_ttl)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a command finds a node and who it says it is; TLS files as paths."""

    to: str = DEFAULT_URL
    agent_id: str | None = None
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    pin: str | None = None
    api_key_file: str | None = None
