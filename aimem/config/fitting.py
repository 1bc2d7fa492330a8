"""What a node can't be told: values that are none, and settings that do not go together."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from aimem.config.loopback import is_loopback
from aimem.config.settings import ServeSettings
from aimem.errors import Misconfigured
from aimem.limits import REPLICA_LAG_SECS_MAX

TIERS: Final = ("keyword", "semantic")
QUORUM_SCOPES: Final = ("nodes", "stores")
LOG_FORMATS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_CHOICES: Final = {
    "tier": TIERS,
    "quorum_scope": QUORUM_SCOPES,
    "log_format": LOG_FORMATS,
    "log_level": LOG_LEVELS,
}
_FROM_ONE: Final = ("quorum_timeout_ms", "quorum_racks", "max_skew", "webhook_give_up_secs")
_FROM_NOTHING: Final = (
    "catchup_interval_secs",
    "tombstone_days",
    "collect_grace_secs",
    "shutdown_grace_secs",
    "archive_max_days",
)


def check_serve(settings: ServeSettings) -> None:
    """Raises:
    Misconfigured: the first thing that does not fit.
    """
    _check_values(settings)
    _check_quorum(settings)
    _check_clear_peers(settings)
    _check_pairs(settings)
    _check_door(settings)


def _check_values(settings: ServeSettings) -> None:
    """Each by itself."""
    for name, allowed in _CHOICES.items():
        if getattr(settings, name) not in allowed:
            raise Misconfigured(f"{name} must be one of {', '.join(allowed)}, not {getattr(settings, name)!r}")
    if settings.fleet is not None:
        _check_name("fleet", settings.fleet)
    if not 0 <= settings.port <= 65_535:
        raise Misconfigured(f"port must be between 0 and 65535, not {settings.port}")
    for name in _FROM_ONE:
        if getattr(settings, name) < 1:
            raise Misconfigured(f"{name} must be at least 1")
    if not 1 <= settings.store_read_lag_secs <= REPLICA_LAG_SECS_MAX:
        raise Misconfigured(f"store_read_lag_secs must be from 1 to {REPLICA_LAG_SECS_MAX}")
    for name in _FROM_NOTHING:
        if (getattr(settings, name) or 0) < 0:
            raise Misconfigured(f"{name} can't be negative")


def _check_name(what: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", name):
        raise Misconfigured(f"{what} {name[:80]!r} is no name", hint="write up to 64 letters, digits, and _ . : -")


def _check_quorum(settings: ServeSettings) -> None:
    """Whether W can be met."""
    if settings.quorum_writes is not None and settings.quorum_writes > 1 + len(settings.quorum_peers):
        raise Misconfigured(
            f"--quorum-writes {settings.quorum_writes} can't be met by {1 + len(settings.quorum_peers)} nodes",
            hint="it counts this node and its peers",
        )
    if settings.quorum_scope == "stores" and settings.quorum_writes is None and settings.quorum_peers:
        raise Misconfigured(
            "--quorum-scope stores without --quorum-writes: how many stores there are is not known before they are met",
            hint="say on how many stores a write must lie: --quorum-writes 2",
        )


def _check_clear_peers(settings: ServeSettings) -> None:
    """Peers without TLS must be on this machine, or the network must be one's own."""
    if settings.insecure:
        return
    for url in settings.quorum_peers:
        if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
            raise Misconfigured(
                f"{url} is reached in the clear: everybody on the way could read and change what goes there",
                hint="use https, or say --insecure if the network is yours alone",
            )


def _check_pairs(settings: ServeSettings) -> None:
    """Flags of which one is nothing without the other."""
    if bool(settings.quorum_client_cert) != bool(settings.quorum_client_key):
        raise Misconfigured("--quorum-client-cert and --quorum-client-key go together")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise Misconfigured("--tls-cert and --tls-key go together")
    if settings.mtls_allowlist and not settings.tls_cert:
        raise Misconfigured("--mtls-allowlist needs --tls-cert and --tls-key: only TLS asks for certificates")


def _check_door(settings: ServeSettings) -> None:
    """Who listens to a network must know who comes, or say that it is his own."""
    known = settings.mtls_allowlist or settings.api_key_file
    if not is_loopback(settings.host) and not known and not settings.insecure:
        raise Misconfigured(
            f"listening on {settings.host} without authentication would let everybody on the network read and write",
            hint=f"ask for certificates ({_missing_tls(settings)}) or keys (--api-key-file), listen on 127.0.0.1, "
            "or say --insecure if the network is yours alone",
        )


def _missing_tls(settings: ServeSettings) -> str:
    """The flags of TLS that are missing, as they would be written; each may stand in the config file instead."""
    names = ["tls_cert", "tls_key", "mtls_allowlist"]
    if any(url.startswith("https://") for url in settings.quorum_peers):
        names += ["quorum_client_cert", "quorum_client_key", "quorum_ca_cert"]
    return " ".join(f"--{name.replace('_', '-')} FILE" for name in names if not getattr(settings, name))
