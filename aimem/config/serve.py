"""What a node is told by file, environment and flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimem.config.file import TABLES, ConfigFile
from aimem.config.fitting import check_serve
from aimem.config.peers import peers_and_quorum
from aimem.config.place import check_one_store, database_path, read_urls
from aimem.config.settings import ServeSettings
from aimem.errors import Misconfigured

if TYPE_CHECKING:
    from aimem.core.webhooks import Networks


def serve_settings(
    flags: Mapping[str, Any], env: Mapping[str, str], config: ConfigFile, *, old_name: bool = False
) -> ServeSettings:
    """Everything `serve` needs; `None` in `flags` is "not given". Raises `Misconfigured`.

    `old_name`: called as `ai-memory`, where an `./ai-memory.db` that exists counts as the database.
    """
    from aimem.core.memory import TtlConfig

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    values = {name: value for name, value in config.values.items() if name not in TABLES} | given
    values["store_read_url"] = read_urls(values.get("store_read_url") or ())
    check_one_store(values, given, env)
    values["db"] = database_path(given.get("db"), env, config, old_name=old_name)
    cache_dir = given.get("cache_dir") or env.get("AIMEM_CACHE_DIR") or config.values.get("cache_dir")
    values["cache_dir"] = Path(cache_dir) if cache_dir else None
    if "memory_max" in values:
        values["memory_max"] = byte_count(values["memory_max"])
    values |= _listening(config.values, given)
    values["ttl"] = TtlConfig(**config.table("ttl"))
    values |= peers_and_quorum(values, old_name=old_name)
    if "webhook_networks" in values:
        values["webhook_networks"] = _networks(values["webhook_networks"])
    names = {each.name for each in fields(ServeSettings)}
    settings = ServeSettings(**{name: value for name, value in values.items() if name in names})
    check_serve(settings)
    return settings


def _networks(value: str | list[str]) -> Networks:
    """Networks, in a list or with commas between them."""
    from ipaddress import ip_network

    named = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(ip_network(each.strip()) for each in named)
    except ValueError as err:
        raise Misconfigured(f"webhook_networks: {err}", hint="write networks as 10.20.0.0/16") from err


def byte_count(text: str) -> int:
    """`512M`, `2G`, `65536`: bytes, with K, M, G in powers of 1024."""
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in ("K", "M", "G") else (text, "")
    if not digits.isascii() or not digits.isdigit() or int(digits) == 0:
        raise Misconfigured(f"{text!r} is no size", hint="write bytes, or a number with K, M or G")
    return int(digits) << {"": 0, "K": 10, "M": 20, "G": 30}[unit]


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
