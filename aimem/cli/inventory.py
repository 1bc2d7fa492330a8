"""The inventory of a fleet to be: which nodes there are, where they stand and how they are reached. A TOML file.

quorum_racks = 2            # the rest of the top level goes into every node's configuration
[[node]]
name = "rack-a-1"
address = "rack-a-1:9077"   # how peers reach it; the port may be left out
rack = "a"
zone = "1"
also = ["10.1.0.1"]         # more names and addresses for its certificate
[[agent]]
name = "planner"            # a certificate for agents, that may speak for these
agents = "ai:planner"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimem.config.file import SERVE_KEYS
from aimem.config.settings import DEFAULT_PORT
from aimem.core.allowlist import Entry
from aimem.core.identity_words import AGENT, identity_of
from aimem.errors import Misconfigured

_NODE_KEYS = ("name", "address", "rack", "zone", "also")
_AGENT_KEYS = ("name", "agents", "namespaces", "home")
_OWN_KEYS = frozenset({"node", "rack", "zone", "bind", "host", "port", "quorum_peers", "tls_cert", "tls_key", "db"})


@dataclass(frozen=True, slots=True)
class Planned:
    """A node to be."""

    name: str
    host: str
    port: int
    rack: str | None = None
    zone: str | None = None
    also: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """How peers reach it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"

    def entry(self, fingerprint: str) -> Entry:
        """Its line in the allowlist."""
        return Entry(self.name, self.rack, self.zone, fingerprint=fingerprint)


@dataclass(frozen=True, slots=True)
class Inventory:
    """All nodes, the certificates of agents (name to words), and what every configuration has in common."""

    nodes: tuple[Planned, ...]
    agents: Mapping[str, Mapping[str, str]]
    common: Mapping[str, Any]

    def agent_entry(self, name: str, fingerprint: str) -> Entry:
        """The line of an agent's certificate."""
        return Entry.of(identity_of({**self.agents[name], "roles": AGENT}), fingerprint, name)


def planned(text: str) -> Planned:
    """A node given as `NAME` or `NAME=HOST[:PORT]`."""
    name, _, address = text.partition("=")
    return _node({"name": name, "address": address or name}, text)


def read_inventory(path: Path) -> Inventory:
    """The inventory in a file.

    Raises:
        Misconfigured: it can't be read, or says what can't be.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise Misconfigured(f"can't read the inventory {path}: {error.strerror}") from error
    except ValueError as error:
        raise Misconfigured(f"{path} can't be read: {error}") from error
    nodes, agents = values.pop("node", []), values.pop("agent", [])
    if not isinstance(nodes, list) or not nodes:
        raise Misconfigured(f"{path} names no node", hint="each is a table [[node]] with name and address")
    for key in values:
        if key not in SERVE_KEYS or key in _OWN_KEYS:
            raise Misconfigured(f"{path}: {key} is no setting that all nodes share")
    found = tuple(_node(each, f"{path}: node") for each in nodes)
    words = {
        _text(each, "name", f"{path}: agent"): {
            key: _text(each, key, f"{path}: agent") for key in _AGENT_KEYS[1:] if key in each
        }
        for each in agents
        if _known(each, _AGENT_KEYS, f"{path}: agent")
    }
    for name in words:
        identity_of({"node": name})  # it names a folder: the rules of node names hold for it too
    no_name_twice([*(each.name for each in found), *words], str(path))
    return Inventory(found, words, values)


def no_name_twice(names: Sequence[str], where: str) -> None:
    """Raises: Misconfigured: two would share a folder."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise Misconfigured(f"{where}: {twice[0]} stands twice")


def _node(values: Any, where: str) -> Planned:
    _known(values, _NODE_KEYS, where)
    name, address = _text(values, "name", where), _text(values, "address", where)
    identity_of({"node": name, **{key: values[key] for key in ("rack", "zone") if key in values}})
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, str(DEFAULT_PORT)
    bare = host if not host.startswith("[") else ""
    if not port.isdigit() or not 0 < int(port) < 65_536 or not host or ":" in bare:
        raise Misconfigured(f"{where}: {address!r} is not HOST, HOST:PORT or [ADDRESS]:PORT")
    also = values.get("also", [])
    if not isinstance(also, list) or not all(isinstance(each, str) for each in also):
        raise Misconfigured(f"{where}: also must be a list of names and addresses")
    return Planned(name, host.strip("[]"), int(port), values.get("rack"), values.get("zone"), tuple(also))


def _known(values: Any, keys: tuple[str, ...], where: str) -> bool:
    if not isinstance(values, dict):
        raise Misconfigured(f"{where}: not a table")
    if unknown := [key for key in values if key not in keys]:
        raise Misconfigured(f"{where}: {unknown[0]} is not a known key", hint=f"known are {', '.join(keys)}")
    return True


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value or ("/" in value and key == "name"):
        raise Misconfigured(f"{where}: {key} must be text")
    return value
