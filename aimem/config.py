"""Settings: the file, the environment and the flags, and who wins: flag over environment over file.

`SERVE_KEYS`, `TTL_KEYS` and `CLIENT_KEYS` are the whole file format; the names are the long flags with `_` for `-`.
Nothing here opens a database or a socket. What always holds: a key that is not known is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aimem.errors import Misconfigured
from aimem.limits import REPLICA_LAG_SECS, REPLICA_LAG_SECS_MAX, WEBHOOK_GIVE_UP_SECS

if TYPE_CHECKING:
    from aimem.core.memory import TtlConfig
    from aimem.core.webhooks import Networks

DEFAULT_URL: Final = "http://127.0.0.1:9077"
DEFAULT_PORT: Final = 9077
TIERS: Final = ("keyword", "semantic")
QUORUM_SCOPES: Final = ("nodes", "stores")
LOG_FORMATS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

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
_TABLES: Final = {"ttl": TTL_KEYS, "client": CLIENT_KEYS}
_NOT_OURS: Final = {"api_key": "put the key into a file that only its owner may read, and name that: api_key_file"}
"""Keys of the existing system that have no counterpart here, with what to do."""


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
    places = [Path(named)] if named else [Path("/etc/aimem/aimem.toml"), _home(env) / ".config/aimem/aimem.toml"]
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


def _home(env: Mapping[str, str]) -> Path:
    return Path(env.get("HOME") or "/nonexistent")


def _checked(path: Path, text: bytes) -> Mapping[str, Any]:
    import tomllib  # only with a file: most commands run without one

    try:
        values = tomllib.loads(text.decode())
    except ValueError as err:
        raise Misconfigured(f"{path} can't be read: {err}") from err
    for name, value in values.items():
        if name in _TABLES and isinstance(value, dict):
            for key, inner in value.items():
                _check_key(path, f"[{name}] ", key, inner, _TABLES[name])
        else:
            _check_key(path, "", name, value, SERVE_KEYS | dict.fromkeys(_TABLES, dict))
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
    for table, keys in _TABLES.items():
        if key in keys:
            return f"it stands under [{table}]"
    if where and key in SERVE_KEYS:
        return "it stands above all [tables]"
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.7):
        return f"did you mean {near[0]}?"
    return f"known are {', '.join(sorted(known))}"


# The settings of each side.


def client_settings(flags: Mapping[str, str | None], env: Mapping[str, str], config: ConfigFile) -> ClientSettings:
    """The `[client]` table, under the environment, under the flags; `None` in `flags` is "not given"."""
    surroundings = {"to": env.get("AIMEM_URL"), "agent_id": env.get("AI_MEMORY_AGENT_ID") or None}
    chosen = {
        name: flags.get(name) or surroundings.get(name) or config.table("client").get(name) for name in CLIENT_KEYS
    }
    settings = ClientSettings(**{name: value for name, value in chosen.items() if value})
    if bool(settings.client_cert) != bool(settings.client_key):
        raise Misconfigured("--client-cert and --client-key go together")
    return settings


def serve_settings(
    flags: Mapping[str, Any], env: Mapping[str, str], config: ConfigFile, *, old_name: bool = False
) -> ServeSettings:
    """Everything `serve` needs; `None` in `flags` is "not given". Raises `Misconfigured`.

    `old_name`: called as `ai-memory`, where an `./ai-memory.db` that exists counts as the database.
    """
    from aimem.core.memory import TtlConfig

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    values = {name: value for name, value in config.values.items() if name not in _TABLES} | given
    values["store_read_url"] = _read_urls(values.get("store_read_url") or ())
    _check_one_store(values, given, env)
    values["db"] = database_path(given.get("db"), env, config, old_name=old_name)
    cache_dir = given.get("cache_dir") or env.get("AIMEM_CACHE_DIR") or config.values.get("cache_dir")
    values["cache_dir"] = Path(cache_dir) if cache_dir else None
    if "memory_max" in values:
        values["memory_max"] = byte_count(values["memory_max"])
    values |= _listening(config.values, given)
    values["ttl"] = TtlConfig(**config.table("ttl"))
    values |= _quorum(values, old_name=old_name)
    if "webhook_networks" in values:
        values["webhook_networks"] = _networks(values["webhook_networks"])
    names = {each.name for each in fields(ServeSettings)}
    settings = ServeSettings(**{name: value for name, value in values.items() if name in names})
    _check_serve(settings)
    return settings


def _networks(value: str | list[str]) -> Networks:
    """Networks, in a list or with commas between them."""
    from ipaddress import ip_network

    named = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(ip_network(each.strip()) for each in named)
    except ValueError as err:
        raise Misconfigured(f"webhook_networks: {err}", hint="write networks as 10.20.0.0/16") from err


def _read_urls(value: str | Sequence[Any]) -> tuple[str, ...]:
    """Replicas, one or several; a comma belongs to the hosts of one."""
    named = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(url, str) for url in named):
        raise Misconfigured("store_read_url must be a URL, or a list of them")
    return tuple(dict.fromkeys(named))


def _check_one_store(values: Mapping[str, Any], given: Mapping[str, Any], env: Mapping[str, str]) -> None:
    """A node keeps its memories in a file or in a shared store."""
    if not values.get("store_url"):
        for name in ("store_password_file", "store_sslmode", "store_ca_cert", "store_read_url", "store_read_lag_secs"):
            if values.get(name):
                raise Misconfigured(f"{name} needs store_url", hint="it belongs to a shared store")
        return
    file = given.get("db") or env.get("AIMEM_DB") or env.get("AI_MEMORY_DB") or values.get("db")
    if file:
        raise Misconfigured(
            f"--store-url and the database file {file} are both named",
            hint=f"leave one out; to move there first: aimem migrate --from {file} --to URL",
        )
    for name, why in (
        ("allow_network_fs", "there is no file"),
        ("memory_max", "the store searches the vectors, and this node keeps none"),
    ):
        if values.get(name):
            raise Misconfigured(f"--{name.replace('_', '-')} does not go with --store-url: {why}", hint="leave it out")


def byte_count(text: str) -> int:
    """`512M`, `2G`, `65536`: bytes, with K, M, G in powers of 1024."""
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in ("K", "M", "G") else (text, "")
    if not digits.isascii() or not digits.isdigit() or int(digits) == 0:
        raise Misconfigured(f"{text!r} is no size", hint="write bytes, or a number with K, M or G")
    return int(digits) << {"": 0, "K": 10, "M": 20, "G": 30}[unit]


def database_path(
    flag: str | None, env: Mapping[str, str], config: ConfigFile | None = None, *, old_name: bool = False
) -> Path:
    """`--db`, else `AIMEM_DB`, `AI_MEMORY_DB`, the file's `db`, systemd's state directory, the current directory."""
    named = flag or env.get("AIMEM_DB") or env.get("AI_MEMORY_DB") or (config.values.get("db") if config else None)
    if named:
        return _from_home(named, env)
    if state := env.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0]) / "aimem.db"
    if old_name and Path("ai-memory.db").exists():
        return Path("ai-memory.db")
    return Path("aimem.db")


def _from_home(named: str, env: Mapping[str, str]) -> Path:
    """A path whose `~/` is the home directory: a shell has put it there, but a file, a unit and `--db=~/x` have not."""
    if named.startswith("~") and not named.startswith("~/"):
        raise Misconfigured(f"db {named} is no path", hint="write ~/ for your own home, ./~ for a file of that name")
    if named.startswith("~/") and not env.get("HOME"):
        raise Misconfigured(f"db is {named}, and HOME is not set", hint="write the whole path")
    return _home(env) / named[2:] if named.startswith("~/") else Path(named)


def _listening(config: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Host and port; `bind` is both at once, and a flag of either kind stands above the file's of any kind."""
    found: dict[str, Any] = {}
    for source in (config, flags):
        if "bind" in source:
            if "host" in source or "port" in source:
                raise Misconfigured("bind already says host and port: give either it or host and port")
            host, colon, port = source["bind"].rpartition(":")
            if not colon or not port.isascii() or not port.isdigit():
                raise Misconfigured(f"bind takes HOST:PORT, not {source['bind']!r}")
            found = {"host": host.strip("[]") or "127.0.0.1", "port": int(port)}
        found |= {name: source[name] for name in ("host", "port") if name in source}
    return found


def _quorum(values: Mapping[str, Any], *, old_name: bool) -> dict[str, Any]:
    """Peers as a tuple without doubles, their pins, and W as a number or None. W=0, which the existing system calls
    off, is known under its own name only: there it means W=1 and no peers."""
    named = values.get("quorum_peers") or ()
    listed = named.split(",") if isinstance(named, str) else named
    if not all(isinstance(url, str) for url in listed):
        raise Misconfigured("quorum_peers must be a list of URLs")
    urls = [url.strip().rstrip("/") for url in listed]
    pairs = [url.partition("#")[::2] for url in urls if url]
    peers = tuple(dict.fromkeys(url.rstrip("/") for url, _ in pairs))
    pins = tuple((url.rstrip("/"), _pin(url, pin)) for url, pin in pairs if pin)
    for url in peers:
        if not url.startswith(("http://", "https://")):
            raise Misconfigured(f"{url!r} in --quorum-peers is no URL", hint="write it as https://HOST:PORT")
    writes = values.get("quorum_writes")
    if isinstance(writes, str):
        if writes != "majority" and not writes.isdigit():
            raise Misconfigured(f"--quorum-writes takes a number or majority, not {writes!r}")
        writes = None if writes == "majority" else int(writes)
    if writes == 0:
        if peers and not old_name:
            raise Misconfigured("--quorum-writes 0 with peers", hint="say 1 to acknowledge on this node alone")
        return {"quorum_writes": None, "quorum_peers": ()}
    return {"quorum_writes": writes, "quorum_peers": peers, "quorum_pins": pins}


def _pin(url: str, text: str) -> str:
    """The fingerprint that stands behind `#` at a peer's URL."""
    from aimem.core.allowlist import fingerprint_of

    if not url.startswith("https://"):
        raise Misconfigured(f"{url} has no certificate that #{text[:16]} could name")
    try:
        return fingerprint_of(text)
    except Misconfigured as err:
        raise Misconfigured(f"the pin of {url}: {err.message}", hint="write it as https://HOST:PORT#SHA256") from err


def _check_serve(settings: ServeSettings) -> None:
    for name, allowed in (
        ("tier", TIERS),
        ("quorum_scope", QUORUM_SCOPES),
        ("log_format", LOG_FORMATS),
        ("log_level", LOG_LEVELS),
    ):
        if getattr(settings, name) not in allowed:
            raise Misconfigured(f"{name} must be one of {', '.join(allowed)}, not {getattr(settings, name)!r}")
    if settings.fleet is not None:
        _check_name("fleet", settings.fleet)
    if not 0 <= settings.port <= 65_535:
        raise Misconfigured(f"port must be between 0 and 65535, not {settings.port}")
    for name in ("quorum_timeout_ms", "quorum_racks", "max_skew", "webhook_give_up_secs"):
        if getattr(settings, name) < 1:
            raise Misconfigured(f"{name} must be at least 1")
    if not 1 <= settings.store_read_lag_secs <= REPLICA_LAG_SECS_MAX:
        raise Misconfigured(f"store_read_lag_secs must be from 1 to {REPLICA_LAG_SECS_MAX}")
    if bool(settings.quorum_client_cert) != bool(settings.quorum_client_key):
        raise Misconfigured("--quorum-client-cert and --quorum-client-key go together")
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
    if settings.quorum_peers and not settings.insecure:
        from urllib.parse import urlsplit

        for url in settings.quorum_peers:
            if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
                raise Misconfigured(
                    f"{url} is reached in the clear: everybody on the way could read and change what goes there",
                    hint="use https, or say --insecure if the network is yours alone",
                )
    for name in (
        "catchup_interval_secs",
        "tombstone_days",
        "collect_grace_secs",
        "shutdown_grace_secs",
        "archive_max_days",
    ):
        if (getattr(settings, name) or 0) < 0:
            raise Misconfigured(f"{name} can't be negative")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise Misconfigured("--tls-cert and --tls-key go together")
    if settings.mtls_allowlist and not settings.tls_cert:
        raise Misconfigured("--mtls-allowlist needs --tls-cert and --tls-key: only TLS asks for certificates")
    known = settings.mtls_allowlist or settings.api_key_file
    if not is_loopback(settings.host) and not known and not settings.insecure:
        raise Misconfigured(
            f"listening on {settings.host} without authentication would let everybody on the network read and write",
            hint=f"ask for certificates ({_missing_tls(settings)}) or keys (--api-key-file), listen on 127.0.0.1, "
            "or say --insecure if the network is yours alone",
        )


def _check_name(what: str, name: str) -> None:
    import re

    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", name):
        raise Misconfigured(f"{what} {name[:80]!r} is no name", hint="write up to 64 letters, digits, and _ . : -")


def _missing_tls(settings: ServeSettings) -> str:
    """The flags of TLS that are missing, as they would be written; each may stand in the config file instead."""
    names = ["tls_cert", "tls_key", "mtls_allowlist"]
    if any(url.startswith("https://") for url in settings.quorum_peers):
        names += ["quorum_client_cert", "quorum_client_key", "quorum_ca_cert"]
    return " ".join(f"--{name.replace('_', '-')} FILE" for name in names if not getattr(settings, name))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost counts as reachable from outside."""
    import socket

    if host == "localhost":
        return True
    for family, loopback in ((socket.AF_INET, lambda raw: raw[0] == 127), (socket.AF_INET6, _is_loopback6)):
        try:
            return loopback(socket.inet_pton(family, host))
        except OSError:
            continue
    return False


def _is_loopback6(raw: bytes) -> bool:
    return raw == bytes(15) + b"\x01"
