"""A simulated fleet: nodes that start, crash, jump in time and come back from old copies of their stores.

A crash loses whatever was not synced: the disk of a node is the last state that an fsync ended, and the real store is
dropped. Time is the loop's; each node has a clock of its own that may be off.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimem.core.intent import Intent
from aimem.core.timestamp import SECOND_NS
from aimem.errors import Busy
from aimem.mesh.mesh import Mesh
from aimem.mesh.settings import MeshSettings
from aimem.node.background import Background
from aimem.node.caller import Caller
from aimem.node.lane import Fleet, Lane
from aimem.node.node import Node
from aimem.node.settings import KEYWORD, NodeSettings
from aimem.store.base import Outcome, Store
from aimem.store.memory import MemoryStore
from tests.simulation.network import Network, SimulatedTransport

EPOCH_NS = 1_750_000_000 * SECOND_NS


class Disk:
    """What of a node's store is on disk: the last synced state."""

    def __init__(self) -> None:
        self.synced: MemoryStore | None = None


class DiskStore(MemoryStore):
    """A store in memory that acknowledges after a simulated fsync; a crash before it leaves the disk as it was."""

    def __init__(self, disk: Disk, rand: random.Random, **options: Any) -> None:
        super().__init__(after=disk.synced, rand=lambda: f"{rand.getrandbits(64):016x}", **options)
        self._disk = disk
        self._random = rand
        self.alive = True
        self._sync_now()

    def _sync_now(self) -> None:
        kept = MemoryStore.__new__(MemoryStore)
        kept._state = self._state.copy()
        self._disk.synced = kept

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        await asyncio.sleep(0.0005 + 0.003 * self._random.random())
        if not self.alive:
            raise Busy("the node has crashed")
        outcomes = await super().write(intents)
        self._sync_now()
        return outcomes


@dataclass
class Member:
    """One node of the world, up or down."""

    name: str
    settings: MeshSettings
    disk: Disk
    offset: int = 0
    node: Node | None = None
    store: DiskStore | None = None
    mesh: Mesh | None = None
    shelf: MemoryStore | None = None
    """A copy of the disk, put aside."""


class World:
    """The fleet. `graph` gives each name the names of its peers."""

    def __init__(self, rand: random.Random, graph: dict[str, Sequence[str]], **settings: Any) -> None:
        self.rand = rand
        self.network = Network(rand)
        racks = settings.pop("racks_of", {})
        self.members = {
            name: Member(
                name,
                replace(
                    MeshSettings(name, tuple(self.network.url_of(peer) for peer in peers), rack=racks.get(name)),
                    **settings,
                ),
                Disk(),
            )
            for name, peers in graph.items()
        }

    def now(self, member: Member) -> int:
        """What the clock of a node reads."""
        return EPOCH_NS + int(asyncio.get_running_loop().time() * 1e9) + member.offset

    async def start(self, name: str) -> Member:
        """Bring a node up on what its disk holds."""
        member = self.members[name]
        assert member.node is None
        rand = random.Random(self.rand.getrandbits(64))
        member.store = DiskStore(member.disk, rand, now=lambda: self.now(member))
        transport = SimulatedTransport(self.network, name)

        def fleet(store: Store, lane: Lane, background: Background) -> Fleet:
            member.mesh = Mesh(store, lane, member.settings, transport, lambda: self.now(member), background, rand)
            return member.mesh

        settings = NodeSettings(db=Path(f"/nowhere/{name}.db"), tier=KEYWORD)
        member.node = await Node.open(settings, store=member.store, now=lambda: self.now(member), make_fleet=fleet)
        assert member.mesh is not None
        self.network.attach(name, member.mesh.answer)
        return member

    async def crash(self, name: str) -> None:
        """End a node at once: nothing more reaches its disk."""
        member = self.members[name]
        assert member.node is not None and member.store is not None
        self.network.detach(name)
        member.store.alive = False
        node, member.node, member.store, member.mesh = member.node, None, None, None
        await node._background.close()

    def call(self, name: str) -> Node:
        """The node under a name, which is up."""
        node = self.members[name].node
        assert node is not None
        return node

    @property
    def up(self) -> list[str]:
        return [name for name, member in self.members.items() if member.node is not None]

    def digests(self) -> dict[str, str]:
        """The state digest of every node that is up."""
        return {name: member.store.digest.root() for name, member in self.members.items() if member.store is not None}

    async def converged(self, secs: float) -> bool:
        """Wait until all digests are equal, `secs` at most."""
        until = asyncio.get_running_loop().time() + secs
        while len(set(self.digests().values())) > 1:
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(0.25)
        return True


def caller(agent: str = "ai:sim", key: str | None = None) -> Caller:
    """A caller as HTTP would make one."""
    return Caller(agent_id=agent, request_id="sim", idempotency_key=key, expected_version=None)


def full(count: int) -> dict[str, list[str]]:
    """Everybody is everybody's peer."""
    names = [f"n{number}" for number in range(count)]
    return {name: [other for other in names if other != name] for name in names}
