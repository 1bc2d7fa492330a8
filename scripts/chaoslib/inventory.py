"""The inventory of a mesh that runs already: how its nodes are reached, and the commands that hurt and heal them. TOML:

ca_cert = "ca.crt"               # of TLS: who signed the nodes, and what callers show them
client_cert = "tls.crt"
client_key = "tls.key"
[[node]]
name = "rack-a-1"                # its --node
url = "https://rack-a-1:9077"
rack = "a"
zone = "1"
start = "ssh rack-a-1 systemctl start aimem"
kill = "ssh rack-a-1 systemctl kill -s KILL aimem"
pause = "ssh rack-a-1 systemctl kill -s STOP aimem"
resume = "ssh rack-a-1 systemctl kill -s CONT aimem"
cut = "ssh rack-a-1 block-hosts $AIMEM_CHAOS_FROM"     # drop what these hosts send to this node
heal = "ssh rack-a-1 unblock-all"

A class of faults for which a command is missing is skipped. Nobody else may write meanwhile.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chaoslib.mesh import Layout, Standing
from chaoslib.node import Remote

COMMANDS = ("start", "kill", "pause", "resume", "cut", "heal")
_KEYS = {"name", "url", "rack", "zone", *COMMANDS}


def read_inventory(path: Path, layout: Layout) -> Standing:
    """The mesh that a file names. Raises SystemExit: it says what can't be."""
    try:
        values = tomllib.loads(path.read_text())
        nodes = values["node"]
        for node in nodes:
            if unknown := node.keys() - _KEYS:
                raise ValueError(f"{sorted(unknown)[0]} is not a known key of a node")
        names = {"ca_cert", "client_cert", "client_key"}
        files = [path.parent / values[key] if key in values else None for key in sorted(names)]
        return Standing([_remote(node, files) for node in nodes], layout)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"chaos: {path}: {error!r}") from error


def _remote(node: dict[str, Any], files: list[Path | None]) -> Remote:
    commands = {name: node[name] for name in COMMANDS if name in node}
    name, url = node["name"], node["url"]
    host = urlsplit(url).hostname or name
    return Remote(name, node.get("rack", "r0"), node.get("zone", "z0"), url, files, commands, host)
