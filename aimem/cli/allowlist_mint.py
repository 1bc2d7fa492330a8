"""`aimem allowlist mint`: a CA, certificates, the list, and a configuration for every node of a new fleet.

What always holds: no file is overwritten. Run again with more nodes it makes what is missing; a file that would be
different now is written beside the old one as FILE.new, and said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Command, pass_invocation
from aimem.errors import Misconfigured, Usage

if TYPE_CHECKING:
    from aimem.cli.inventory import Inventory, Planned
    from aimem.core.allowlist import Entry
    from aimem.net.minting import Authority, Minted

_LIST = "peer-fingerprints.txt"


@click.command(
    "mint",
    cls=Command,
    examples="""
aimem allowlist mint --out fleet --inventory racks.toml
aimem allowlist mint --out fleet a=10.0.0.1 b=10.0.0.2 c=10.0.0.3
""",
)
@click.argument("nodes", nargs=-1, metavar="[NAME[=HOST[:PORT]]...]")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where to.")
@click.option(
    "--inventory", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The nodes, in TOML."
)
@click.option("--days", type=click.IntRange(1, 3_650), default=825, show_default=True, help="How long they are valid.")
@click.option(
    "--config-dir",
    default="/etc/aimem",
    show_default=True,
    metavar="DIR",
    help="Where a node's files will lie on its host; {node} stands for its name.",
)
@pass_invocation
def mint(
    invocation: Invocation, nodes: tuple[str, ...], out: Path, inventory: Path | None, days: int, config_dir: str
) -> None:
    """Make certificates and configurations for a new fleet.

    DIR gets ca.crt and ca.key, the allowlist, and for each node a folder with its certificate and key, ca.crt, the list
    and aimem.toml: copy it to the node's host, and keep ca.key away from all of them. The peers in the configurations
    make a graph that holds together without any one rack.

    An inventory is a TOML file with a table [[node]] for each node (name, address as HOST:PORT, rack, zone, and also,
    a list of further names and addresses for its certificate), and [[agent]] for each certificate of agents (name,
    agents, namespaces, home). What else stands at its top, such as quorum_racks = 2, goes into every configuration.

    Nothing is overwritten. With more nodes than before it makes what is missing; what would be different now is written
    as FILE.new, and said.
    """
    if bool(nodes) == bool(inventory):
        raise Usage("name the nodes, or an --inventory of them")
    from aimem import unpack

    if invocation.flags.get("cache_dir"):
        unpack.set_cache_dir(Path(invocation.flags["cache_dir"]))
    unpack.native(unpack.TLS_PACKAGES)
    from aimem.cli.inventory import read_inventory

    fleet = read_inventory(inventory) if inventory else _named(nodes)
    _Mint(out, fleet, days, config_dir).run()


def _named(nodes: Sequence[str]) -> Inventory:
    from aimem.cli.inventory import Inventory, no_name_twice, planned

    try:
        found = tuple(map(planned, nodes))
        no_name_twice([each.name for each in found], " ".join(nodes))
    except Misconfigured as error:
        raise Usage(error.message, hint=error.hint) from error
    return Inventory(found, {}, {})


class _Mint:
    def __init__(self, out: Path, fleet: Inventory, days: int, config_dir: str) -> None:
        self._out = out
        self._fleet = fleet
        self._days = days
        self._config_dir = config_dir
        self._now = datetime.now(UTC)
        self._made = 0

    def run(self) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        authority = self._authority()
        entries = [node.entry(self._certificate(authority, node.name, _hosts(node))) for node in self._fleet.nodes]
        entries += [
            self._fleet.agent_entry(name, self._certificate(authority, name, [])) for name in self._fleet.agents
        ]
        listed = self._list(entries)
        peers = self._peers()
        for node in self._fleet.nodes:
            self._put(self._out / node.name / _LIST, listed)
            self._put(self._out / node.name / "aimem.toml", self._config(node, peers[node.name]))
        for name in self._fleet.agents:
            self._put(self._out / name / "aimem.toml", self._client_config(name))
        count = len(self._fleet.nodes)
        print(f"{self._out}: {count} node{'s' if count != 1 else ''}, {self._made} new certificates")

    def _authority(self) -> Authority:
        from aimem.net.credentials import read_credentials
        from aimem.net.minting import Authority

        cert, key = self._out / "ca.crt", self._out / "ca.key"
        if key.exists():
            held = read_credentials(cert, key)
            return Authority(held.leaf, held.key)
        authority, minted = Authority.make("aimem fleet", self._now, 3_650)
        self._write(minted, cert, key)
        return authority

    def _certificate(self, authority: Authority, name: str, hosts: list[str]) -> str:
        """The fingerprint of the certificate of `name`, made when it is missing."""
        from aimem.net.credentials import read_credentials

        folder = self._out / name
        folder.mkdir(mode=0o755, exist_ok=True)
        cert, key = folder / "tls.crt", folder / "tls.key"
        self._put(folder / "ca.crt", (self._out / "ca.crt").read_text())
        if cert.exists():
            return read_credentials(cert, key).fingerprint
        minted = authority.issue(name, hosts, self._now, self._days)
        self._write(minted, cert, key)
        self._made += 1
        return minted.fingerprint

    def _list(self, entries: list[Entry]) -> str:
        from aimem.core.allowlist import with_entry

        path = self._out / _LIST
        text = path.read_text() if path.exists() else "# Certificates of this fleet. See aimem-allowlist(1).\n"
        for entry in entries:
            text = with_entry(text, entry)
        self._put(path, text)
        return text

    def _peers(self) -> dict[str, list[str]]:
        from aimem.core.topology import Place, peers_of

        graph = peers_of([Place(node.name, node.rack, node.zone) for node in self._fleet.nodes])
        url_of = {node.name: node.url for node in self._fleet.nodes}
        return {name: [url_of[peer] for peer in peers] for name, peers in graph.items()}

    def _config(self, node: Planned, peers: list[str]) -> str:
        folder = self._config_dir.replace("{node}", node.name)
        racks = {each.rack for each in self._fleet.nodes}
        values: dict[str, Any] = {
            "node": node.name,
            "rack": node.rack,
            "zone": node.zone,
            "bind": _bind(node),
            "tls_cert": f"{folder}/tls.crt",
            "tls_key": f"{folder}/tls.key",
            "mtls_allowlist": f"{folder}/{_LIST}",
            "quorum_peers": peers,
            "quorum_writes": "majority",
            "quorum_racks": 2 if len(racks) > 1 else 1,
            "quorum_client_cert": f"{folder}/tls.crt",
            "quorum_client_key": f"{folder}/tls.key",
            "quorum_ca_cert": f"{folder}/ca.crt",
            **self._fleet.common,
        }
        return f"{_toml(values)}\n{_client(node.url, folder)}"

    def _client_config(self, name: str) -> str:
        entry = self._fleet.agent_entry(name, "")
        single = [agent for agent in entry.agents if "*" not in agent][:1]  # who it is unless it says otherwise
        client = _client(self._fleet.nodes[0].url, self._config_dir.replace("{node}", name))
        return client + (_toml({"agent_id": single[0]}) if single else "")

    def _write(self, minted: Minted, cert: Path, key: Path) -> None:
        _create(key, minted.key, 0o600)
        _create(cert, minted.cert, 0o644)

    def _put(self, path: Path, text: str) -> None:
        """Write a file that is not there; beside one that differs."""
        if not path.exists():
            _create(path, text.encode(), 0o644)
        elif path.read_text() != text:
            beside = path.with_name(f"{path.name}.new")
            beside.write_text(text)
            output.say(f"{path} would be different now: see {beside}")


def _bind(node: Planned) -> str:
    """What a node listens on: its address where that is one, else all of its host's; nobody unlisted is let in."""
    import ipaddress

    try:
        version = ipaddress.ip_address(node.host).version
    except ValueError:
        return f"0.0.0.0:{node.port}"
    return f"[{node.host}]:{node.port}" if version == 6 else f"{node.host}:{node.port}"


def _hosts(node: Planned) -> list[str]:
    return [node.host, node.name, *node.also, "localhost", "127.0.0.1"]


def _create(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _client(url: str, folder: str) -> str:
    named = {"to": url, "ca_cert": "ca.crt", "client_cert": "tls.crt", "client_key": "tls.key"}
    values = {key: value if key == "to" else f"{folder}/{value}" for key, value in named.items()}
    return f"[client]\n{_toml(values)}"


def _toml(values: dict[str, Any]) -> str:
    """Keys and values as TOML: text, numbers, truth and lists of text, for which JSON is written alike."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"
