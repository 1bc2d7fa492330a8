"""The mesh that is hurt: its nodes, who is whose peer, and the lines between them.

`Minted` is made by the run: certificates from `aimem allowlist mint`, a namespace for each node. `Standing` is there
already, and an inventory says how its nodes are reached and hurt.
"""

from __future__ import annotations

import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chaoslib.graph import peers_of
from chaoslib.network import Line, Network
from chaoslib.node import Member, Node, Remote, eventually
from chaoslib.shared_store import SharedStore

_DISK_MB = 96
_START_SECS = 120.0  # twelve nodes at once on two busy cores
PORT = 9077


@dataclass(frozen=True)
class Layout:
    """What a mesh is to be. `zones` says for each rack in which zone it stands."""

    nodes: int = 4
    racks: int = 2
    zones: tuple[str, ...] = ()
    graph: str = "full"
    writes: int = 2
    quorum_racks: int = 1
    timeout: float = 1.0
    catchup: float = 2.0
    max_skew: float = 2.0

    def rack_of(self) -> dict[str, str]:
        """Where each node stands: racks are filled one after the other, as evenly as can be."""
        return {f"n{number}": f"r{number * self.racks // self.nodes}" for number in range(self.nodes)}

    def zone_of(self, rack: str) -> str:
        """Where a rack stands."""
        return self.zones[int(rack[1:]) % len(self.zones)] if self.zones else "z0"


class Mesh(ABC):
    """What both kinds have in common. `peers` are those of each node, by name."""

    def __init__(self, members: Sequence[Member], layout: Layout, peers: Mapping[str, list[str]]) -> None:
        self.members = {member.name: member for member in members}
        self.layout = layout
        self.peers = peers
        self.cuts: set[Line] = set()
        self.can = frozenset.intersection(*(member.can for member in members))
        """What can be done to every node."""

    @property
    def names(self) -> list[str]:
        return list(self.members)

    def groups(self, of: str) -> dict[str, list[str]]:
        """Nodes by their `rack` or `zone`."""
        found: dict[str, list[str]] = {}
        for member in self.members.values():
            found.setdefault(getattr(member, of), []).append(member.name)
        return found

    @abstractmethod
    def cut(self, lines: Iterable[Line]) -> None:
        """Nothing gets through in these directions, until `join`."""

    @abstractmethod
    def join(self) -> None:
        """No line is cut any more."""

    def may_write(self, name: str) -> bool:
        """Whether by the rules a node can have a write acknowledged while the lines are cut as they are."""
        reached = [peer for peer in self.peers[name] if not {(name, peer), (peer, name)} & self.cuts]
        racks = {self.members[each].rack for each in (name, *reached)}
        return len(reached) + 1 >= self.layout.writes and len(racks) >= self.layout.quorum_racks

    def digests(self) -> set[str]:
        """The digests of all nodes. Raises OSError: one does not answer."""
        return {str(member.get("/digest")["digest"]) for member in self.members.values()}

    def met(self) -> bool:
        """Whether every node has met all its peers. Raises OSError: one does not answer."""
        for member in self.members.values():
            if any(peer["state"] == "down" or peer["state"] == "unknown" for peer in _peers_of(member)):
                return False
        return True

    def wait_met(self, secs: float = _START_SECS) -> bool:
        """Whether all have met within that time."""
        return eventually(self.met, secs)


def _peers_of(member: Member) -> list[dict[str, str]]:
    found: list[dict[str, str]] = member.get("/status")["mesh"]["peers"]
    return found


class Minted(Mesh):
    """See the module. `folder` gets all that is made; `program` is what the nodes run, `previous` an earlier build."""

    def __init__(self, folder: Path, layout: Layout, program: Path, previous: Path | None = None) -> None:
        rack_of = layout.rack_of()
        self.network = Network(rack_of)
        self.program = program
        self.previous = previous
        self.store: SharedStore | None = None
        """What the nodes share, where they do."""
        peers = peers_of(layout.graph, rack_of)
        _mint(folder, layout, self.network, program)
        nodes = [self._node(folder, name, layout, peers[name]) for name in rack_of]
        super().__init__(nodes, layout, peers)
        self.can |= {"cut", "slow", "failover"} | ({"previous"} if previous is not None else set())
        self.nodes = {node.name: node for node in nodes}

    def _node(self, folder: Path, name: str, layout: Layout, peers: Sequence[str]) -> Node:
        home = folder / name
        data = home / "data"
        data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(data)], check=True)
        rack = layout.rack_of()[name]
        urls = ",".join(f"https://{self.network.address(peer)}:{PORT}" for peer in peers)
        flags = {
            "--bind": f"0.0.0.0:{PORT}",
            "--tier": "keyword",
            "--quorum-peers": urls,
            "--quorum-writes": str(layout.writes),
            "--quorum-racks": str(layout.quorum_racks),
            "--quorum-timeout-ms": str(int(layout.timeout * 1_000)),
            "--catchup-interval-secs": f"{layout.catchup:g}",
            "--max-skew": f"{layout.max_skew:g}",
            "--shutdown-grace-secs": "5",
        }
        words = [word for pair in flags.items() for word in pair]
        url = f"https://{self.network.agent_address(name)}:{PORT}"
        return Node(name, rack, layout.zone_of(rack), url, home, self.network.within(name), words)

    def share(self) -> None:
        """Start all nodes anew on one store that is empty, and wait until they have met. Raises: as `begin`."""
        self.end()
        self.store = SharedStore(self.network.AGENTS, self.network.OF_AGENTS)
        self._begin(self.program)

    def begin(self, program: Path | None = None) -> None:
        """Start all nodes anew on nothing, as `program` if that is not the mesh's own, and wait until they have met.

        Raises:
            RuntimeError: they do not.
        """
        self.end()
        self._begin(program or self.program)

    def _begin(self, program: Path) -> None:
        for node in self.nodes.values():
            node.wipe()
            node.program = program
            node.store_url = None if self.store is None else self.store.url
            node.start()
        if not self.wait_met():
            raise RuntimeError(f"the nodes do not meet; see the logs in {self._home()}")

    def _home(self) -> Path:
        return next(iter(self.nodes.values())).home.parent

    def end(self) -> None:
        """End all nodes, and what they share."""
        for node in self.nodes.values():
            node.free()
            node.kill()
        if self.store is not None:
            self.store.close()
            self.store = None

    def cut(self, lines: Iterable[Line]) -> None:
        lines = set(lines)
        self.cuts |= lines
        self.network.cut(lines)

    def join(self) -> None:
        self.cuts.clear()
        self.network.join()


class Standing(Mesh):
    """See the module. Nobody else must write to it meanwhile, or its digests are never equal. What its nodes say of
    their quorum and their peers stands above `layout`.

    Raises OSError: one does not answer.
    """

    def __init__(self, members: Sequence[Remote], layout: Layout) -> None:
        policy = members[0].get("/status")["mesh"]["quorum"]
        layout = replace(
            layout, nodes=len(members), graph="theirs", writes=policy["writes"], quorum_racks=policy["racks"]
        )
        peers = {each.name: [str(peer["node"]) for peer in _peers_of(each)] for each in members}
        super().__init__(members, layout, peers)
        self.remotes = {member.name: member for member in members}
        if strangers := {name for each in peers.values() for name in each} - self.members.keys():
            raise ValueError(f"{', '.join(sorted(strangers))}: peers that the inventory does not name")
        if "heal" not in self.can:
            self.can -= {"cut"}

    def cut(self, lines: Iterable[Line]) -> None:
        """Each receiver's `cut` is run, with the hosts that it must not hear in AIMEM_CHAOS_FROM."""
        lines = set(lines)
        self.cuts |= lines
        for name, remote in self.remotes.items():
            if unheard := [self.remotes[sender].host for sender, receiver in lines if receiver == name]:
                remote.do("cut", AIMEM_CHAOS_FROM=" ".join(sorted(unheard)))

    def join(self) -> None:
        for name in {receiver for _, receiver in self.cuts}:
            self.remotes[name].do("heal")
        self.cuts.clear()


def _mint(folder: Path, layout: Layout, network: Network, program: Path) -> None:
    lines = []
    for name, rack in layout.rack_of().items():
        places = f'name = "{name}"\naddress = "{network.address(name)}:{PORT}"\nrack = "{rack}"\n'
        lines.append(f'[[node]]\n{places}zone = "{layout.zone_of(rack)}"\nalso = ["{network.agent_address(name)}"]\n')
    inventory = folder / "inventory.toml"
    folder.mkdir(parents=True, exist_ok=True)
    inventory.write_text("\n".join(lines))
    command = [sys.executable, str(program), "allowlist", "mint", "--out", str(folder), "--inventory", str(inventory)]
    done = subprocess.run([*command, "--config-dir", f"{folder}/{{node}}"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"minting failed: {done.stderr}")
    for name in layout.rack_of():  # a node is told at its start what it keeps its records in
        config = folder / name / "aimem.toml"
        kept = [line for line in config.read_text().splitlines(keepends=True) if not line.startswith("db =")]
        config.write_text("".join(kept))
