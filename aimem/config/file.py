"""The configuration file: which keys it may have, where it lies, and how it is read.

`SERVE_KEYS`, `TTL_KEYS` and `CLIENT_KEYS` are the whole format; the names are the long flags with `_` for `-`. What
always holds: a key that is not known is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aimem.errors import Misconfigured

SERVE_KEYS: Final[dict[str, type | tuple[type, ...]]] = {
    "db": str,
    "store_url": str,
    "store_password_file": str,
    "store_sslmode": str,
    "store_read_url": (list, str),
    "store_read_lag_secs": int,
    "store_ca_cert": str,
    "host": str,
    "port": int,
    "bind": str,
    "tier": str,
    "insecure": bool,
    "require_identity": bool,
    "cache_dir": str,
    "allow_network_fs": bool,
    "tombstone_days": int,
    "collect_grace_secs": int,
    "archive_on_gc": bool,
    "archive_max_days": int,
    "archive_superseded": bool,
    "memory_max": str,
    "shutdown_grace_secs": int,
    "log_format": str,
    "log_level": str,
    "tls_cert": str,
    "tls_key": str,
    "mtls_allowlist": str,
    "api_key_file": str,
    "fleet": str,
    "node": str,
    "rack": str,
    "zone": str,
    "quorum_writes": (int, str),
    "quorum_peers": (list, str),
    "quorum_racks": int,
    "quorum_scope": str,
    "quorum_timeout_ms": int,
    "quorum_client_cert": str,
    "quorum_client_key": str,
    "quorum_ca_cert": str,
    "catchup_interval_secs": int,
    "max_skew": int,
    "count_legacy_acks": bool,
    "webhook_networks": (list, str),
    "webhook_give_up_secs": int,
}
TTL_KEYS: Final[dict[str, type]] = {
    "short_ttl_secs": int,
    "mid_ttl_secs": int,
    "long_ttl_secs": int,
    "short_extend_secs": int,
    "mid_extend_secs": int,
}
CLIENT_KEYS: Final[dict[str, type]] = {
    "to": str,
    "agent_id": str,
    "ca_cert": str,
    "client_cert": str,
    "client_key": str,
    "pin": str,
    "api_key_file": str,
}
TABLES: Final = {"ttl": TTL_KEYS, "client": CLIENT_KEYS}
_NOT_OURS: Final = {"api_key": "put the key into a file that only its owner may read, and name that: api_key_file"}
"""Keys of the existing system that have no counterpart here, with what to do."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a configuration file said, checked for names and types; empty when there is none."""

    path: Path | None
    values: Mapping[str, Any]

    def table(self, name: str) -> Mapping[str, Any]:
        """The keys of `[name]`."""
        found: Mapping[str, Any] = self.values.get(name, {})
        return found


def load_config(flag: str | None, env: Mapping[str, str]) -> ConfigFile:
    """The file named by `--config`, else `AIMEM_CONFIG`, else the first default place that has one.

    An empty name, or `AI_MEMORY_NO_CONFIG`, means no file. Raises `Misconfigured`: unreadable, not TOML, unknown key.
    """
    named = flag if flag is not None else env.get("AIMEM_CONFIG")
    if named == "" or (named is None and env.get("AI_MEMORY_NO_CONFIG")):
        return ConfigFile(None, {})
    places = [Path(named)] if named else [Path("/etc/aimem/aimem.toml"), home(env) / ".config/aimem/aimem.toml"]
    for path in places:
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as err:
            if named:
                raise Misconfigured(f"there is no configuration file {path}") from err
            continue
        except OSError as err:
            hint = "name another with --config, or none with --config ''"
            raise Misconfigured(f"can't read the configuration file {path}: {err.strerror}", hint=hint) from err
        return ConfigFile(path, _checked(path, text))
    return ConfigFile(None, {})


def home(env: Mapping[str, str]) -> Path:
    """The home directory of whoever runs this; a path that nothing has where there is none."""
    return Path(env.get("HOME") or "/nonexistent")


def _checked(path: Path, text: bytes) -> Mapping[str, Any]:
    import tomllib  # only with a file: most commands run without one

    try:
        values = tomllib.loads(text.decode())
    except ValueError as err:
        raise Misconfigured(f"{path} can't be read: {err}") from err
    for name, value in values.items():
        if name in TABLES and isinstance(value, dict):
            for key, inner in value.items():
                _check_key(path, f"[{name}] ", key, inner, TABLES[name])
        else:
            _check_key(path, "", name, value, SERVE_KEYS | dict.fromkeys(TABLES, dict))
    return values


def _check_key(path: Path, where: str, key: str, value: object, known: Mapping[str, type | tuple[type, ...]]) -> None:
    if key not in known:
        raise Misconfigured(f"{path}: {where}{key} is not a known key", hint=_unknown_hint(where, key, known))
    named = known[key]
    wanted = named if isinstance(named, tuple) else (named,)
    if not isinstance(value, wanted) or (bool not in wanted and isinstance(value, bool)):
        names = {str: "a string", int: "a whole number", bool: "true or false", dict: "a table", list: "a list"}
        raise Misconfigured(
            f"{path}: {where}{key} must be {' or '.join(names[each] for each in wanted)}, not {value!r}"
        )


def _unknown_hint(where: str, key: str, known: Iterable[str]) -> str:
    """What to write instead of a key that nobody knows: what it means elsewhere, what it looks like, or the choice."""
    import difflib

    if key in _NOT_OURS:
        return _NOT_OURS[key]
    for table, keys in TABLES.items():
        if key in keys:
            return f"it stands under [{table}]"
    if where and key in SERVE_KEYS:
        return "it stands above all [tables]"
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.7):
        return f"did you mean {near[0]}?"
    return f"known are {', '.join(sorted(known))}"
