"""A simulated fleet: nodes that start, crash, jump in time and come back from old copies of their stores.

A crash loses whatever was not synced: the disk of a node is the last state that an fsync ended, and the real store is
dropped. Time is the loop's; each node has a clock of its own that may be off.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aimem.core.kinds import SUPERSEDED
from aimem.core.quorum import Met, NotMet, majority
from aimem.core.record import Record
from aimem.core.timestamp import SECOND_NS
from aimem.mesh.mesh import Mesh
from aimem.mesh.settings import MeshSettings
from aimem.node.background import Background
from aimem.node.caller import Caller
from aimem.node.lane import Fleet, Lane, Turn
from aimem.node.node import Node
from aimem.node.settings import KEYWORD, NodeSettings
from aimem.store.base import Change, Store
from aimem.store.memory.store import MemoryStore
from tests.simulation.disk import Disk, DiskStore
from tests.simulation.ledger import Ledger
from tests.simulation.network import Network, SimulatedTransport

EPOCH_NS = 1_750_000_000 * SECOND_NS


class WatchedMesh(Mesh):
    """A mesh whose rounds are told to the ledger."""

    ledger: Ledger
    name: str

    async def spread(self, writes: Sequence[Sequence[Record]], turn: Turn) -> list[Met | NotMet]:
        began = asyncio.get_running_loop().time()
        results = await super().spread(writes, turn)
        assert isinstance(self._store, DiskStore)
        self._store._hear_now()  # a repeat spreads what it reads, by whichever node of the store it was written
        for records, result in zip(writes, results, strict=True):
            self.ledger.round_over(self.name, records, turn, result, began)
        return results


@dataclass
class Member:
    """One node of the world, up or down."""

    name: str
    settings: MeshSettings
    disk: Disk
    offset: int = 0
    jumped: int = 0
    jumped_at: float = -math.inf
    """How far (ns) its clock jumped last, and when (loop time)."""
    node: Node | None = None
    store: DiskStore | None = None
    mesh: Mesh | None = None
    shelf: MemoryStore | None = None
    """A copy of the disk, put aside."""
    calls: set[asyncio.Task[Any]] = field(default_factory=set)
    """Requests of callers under way: they end with the node."""


class World:
    """The fleet. `graph` gives each name the names of its peers, `racks_of` its rack, `store_of` those that share a
    store its name; `node` is what every node is told beside, `settings` what every mesh is."""

    def __init__(
        self,
        rand: random.Random,
        graph: Mapping[str, Sequence[str]],
        *,
        racks_of: dict[str, str] | None = None,
        store_of: Mapping[str, str] | None = None,
        node: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.rand = rand
        self.graph = graph
        self.network = Network(rand)
        self.gone: set[str] = set()
        """Nodes that are lost for good."""
        self.later = 0
        """How far (ns) the time of all nodes was moved on at once."""
        racks = racks_of or {}
        self._node = {"tier": KEYWORD, **(node or {})}
        self.store_of = {name: (store_of or {}).get(name, name) for name in graph}
        shared = {store: Disk(shared=True) for store in (store_of or {}).values()}
        self.members = {
            name: Member(
                name,
                replace(
                    MeshSettings(name, tuple(self.network.url_of(peer) for peer in peers), rack=racks.get(name)),
                    **settings,
                ),
                shared.get(self.store_of[name]) or Disk(),
            )
            for name, peers in graph.items()
        }
        same = all(len(peers) == len(graph) - 1 for peers in graph.values())
        fewest = min(self._writes(member.settings) for member in self.members.values())
        self.ledger = Ledger(
            same_lists=same,
            writes=fewest,
            racks=settings.get("racks", 1),
            rack_of={name: racks.get(name) for name in graph},
            store_of=self.store_of,
            now=self.true_time,
        )

    @staticmethod
    def _writes(settings: MeshSettings) -> int:
        return majority(len(settings.peers) + 1) if settings.writes is None else settings.writes

    def true_time(self) -> int:
        """The time (ns) that right clocks read."""
        return EPOCH_NS + int(asyncio.get_running_loop().time() * 1e9) + self.later

    def now(self, member: Member) -> int:
        """What the clock of a node reads."""
        return self.true_time() + member.offset

    async def start(self, name: str) -> Member:
        """Bring a node up on what its disk holds."""
        member = self.members[name]
        assert member.node is None
        rand = random.Random(self.rand.getrandbits(64))
        member.store = DiskStore(member.disk, rand, now=lambda: self.now(member))
        if member.disk.shared:
            self.ledger.opened(name, [other for other, store in self.store_of.items() if store == self.store_of[name]])
        member.store.subscribe(partial(self._synced, member, member.store))
        transport = SimulatedTransport(self.network, name)

        def fleet(store: Store, lane: Lane, background: Background) -> Fleet:
            mesh = WatchedMesh(store, lane, member.settings, transport, lambda: self.now(member), background, rand)
            mesh.ledger, mesh.name = self.ledger, name
            member.mesh = mesh
            return mesh

        settings = NodeSettings(db=Path(f"/nowhere/{name}.db"), **self._node)
        member.node = await Node.open(
            settings, store=member.store, now=lambda: self.now(member), make_fleet=fleet, rand=rand
        )
        assert member.mesh is not None
        self.network.attach(name, member.mesh.answer, partial(self._plain, member))
        return member

    async def _plain(self, member: Member, source: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """What a node says to one of the existing system, as its HTTP does."""
        mesh, where, query = member.mesh, urlsplit(path).path, dict(parse_qsl(urlsplit(path).query))
        assert mesh is not None
        if where == "/api/v1/health":
            told: dict[str, Any] = {"service": "ai-memory", "product": "aimem"}
        elif where == "/api/v1/sync/push":
            told = await mesh.legacy_push(json.loads(body), source)
        elif where == "/api/v1/sync/since":
            told = await mesh.legacy_since(query)
        else:
            return 404, b""
        return 200, json.dumps(told, separators=(",", ":")).encode()

    async def crash(self, name: str) -> None:
        """End a node at once: nothing more reaches its disk."""
        member = self.members[name]
        assert member.node is not None
        assert member.store is not None
        self.network.detach(name)
        member.store.end()
        node, member.node, member.store, member.mesh = member.node, None, None, None
        calls, member.calls = member.calls, set()
        for call in calls:
            call.cancel()
        await node._background.close()

    def shelve(self, name: str) -> None:
        """Put a copy of a node's disk aside."""
        member = self.members[name]
        member.shelf = member.disk.copy()

    async def replace_disk(self, name: str, holds: MemoryStore | None, *, seen: bool) -> None:
        """A node that is down gets another disk: an old copy, somebody else's, or (None) an empty one. `seen`: the
        file's identity shows that it is not the old one, as it does unless a whole machine was set back."""
        member = self.members[name]
        assert member.node is None
        member.disk.synced = holds
        if holds is not None and seen:
            holds._state.incarnation = f"{self.rand.getrandbits(64):016x}"
        self.ledger.disk_lost(name, member.disk.records())

    def _synced(self, member: Member, store: DiskStore, changes: Sequence[Change]) -> None:
        taken = [each.record.version for each in changes if not _held_before(each)]
        newest = max((version.time for version in taken if version.origin != store.start), default=0)
        if newest > self.now(member) + self._slack(member) + 2 * member.settings.max_skew and not store.shared:
            self.ledger.breaks(
                f"{member.name} took a version {(newest - self.now(member)) / 1e9:.1f} s ahead of its clock"
            )
        if store.anybody_restamps:
            self.ledger.restamped(member.name, changes, ahead=self._believed_time(member) + member.settings.max_skew)
        else:
            self.ledger.synced(member.name, store.start, changes)

    def _believed_time(self, member: Member) -> int:
        """The true time (ns); of a member whose clock is behind together with those of most of its peers, what these
        say: it can't know better."""
        bound, peers = member.settings.max_skew, self.graph[member.name]
        alike = [peer for peer in peers if abs(self.members[peer].offset - member.offset) <= bound]
        misled = member.offset < -bound and 2 * len(alike) > len(peers)
        return self.now(member) if misled else self.true_time()

    def _slack(self, member: Member) -> int:
        """By how much (ns) a clock was off that a node went by when it judged what it writes now. What it decides is
        written after two rounds of asking."""
        lately = asyncio.get_running_loop().time() - member.jumped_at <= 2 * member.settings.timeout + 0.01
        return abs(member.jumped) if lately else 0

    def call(self, name: str) -> Node:
        """The node under a name, which is up."""
        node = self.members[name].node
        assert node is not None
        return node

    def incarnation(self, name: str) -> str | None:
        """The incarnation of a node's store; None while it is down."""
        store = self.members[name].store
        return None if store is None else store.incarnation

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


def _held_before(change: Change) -> bool:
    """Whether this is the same write as before, a step on, or a copy of what stood here: a clock that was set back
    judges it no more."""
    if change.record.kind == SUPERSEDED:
        return True
    return change.old is not None and change.old.version.base() == change.record.version.base()


def caller(agent: str = "ai:sim", key: str | None = None) -> Caller:
    """A caller as HTTP would make one."""
    return Caller(agent_id=agent, request_id="sim", idempotency_key=key, expected_version=None)


def full(count: int) -> dict[str, list[str]]:
    """Everybody is everybody's peer."""
    names = [f"n{number}" for number in range(count)]
    return {name: [other for other in names if other != name] for name in names}
