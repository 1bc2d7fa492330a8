"""Where a node keeps its memories: in a file, or in a shared store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aimem.config.file import ConfigFile, home
from aimem.errors import Misconfigured


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
    return home(env) / named[2:] if named.startswith("~/") else Path(named)


def read_urls(value: str | Sequence[Any]) -> tuple[str, ...]:
    """Replicas, one or several; a comma belongs to the hosts of one."""
    named = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(url, str) for url in named):
        raise Misconfigured("store_read_url must be a URL, or a list of them")
    return tuple(dict.fromkeys(named))


def check_one_store(values: Mapping[str, Any], given: Mapping[str, Any], env: Mapping[str, str]) -> None:
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
