"""Who is on call: reopens what hangs because the electors that it needs are gone for good, and sees it to an end.

They tell the truth: lost is whose store is on no disk any more. What a reply says that it could not rule out is noted,
for that alone may come about.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import NamedTuple

from aimem.core.deciding import electors_of_pending, successor_of
from aimem.core.kinds import DECISION, PENDING
from aimem.core.quorum import majority
from aimem.core.record import Ref
from tests.simulation.governing import BOSS, VOTERS
from tests.simulation.workload import Request, Workload
from tests.simulation.world import World, caller

_TRIES = 5


class Hung(NamedTuple):
    """An action that no majority of its electors will ever decide, and a node that can reach those that are left."""

    pending_id: str
    node: str
    lost: tuple[str, ...]


class OnCall:
    """See the module."""

    def __init__(self, world: World, workload: Workload, rand: random.Random) -> None:
        self._world = world
        self._workload = workload
        self._rand = rand
        self.over = False
        """Set to have `run` come to its end."""

    async def run(self) -> None:
        """Look now and then, until all is over."""
        while not self.over:
            await asyncio.sleep(self._rand.expovariate(1 / 3))
            for hung in list(self._hung()):
                await self._reopen(hung, BOSS)

    async def finish(self) -> None:
        """When all is well: nothing is left that hangs, and what was reopened is voted about."""
        for _ in range(_TRIES):
            hung = {each.pending_id: each for each in self._hung()}
            for each in hung.values():
                for who in (BOSS, *VOTERS):
                    if await self._reopen(each, who):
                        break
            if not hung:
                break
            await asyncio.sleep(1)
        for pending_id in self._successors():
            for who in VOTERS:
                if pending_id in self._open(self._world.up[0]):
                    await self._vote(pending_id, who)
                    await asyncio.sleep(1)

    async def _reopen(self, hung: Hung, who: str) -> bool:
        decided = self._world.ledger.decided
        if hung.node not in self._world.up:
            return False
        decided.reopening.add(hung.pending_id)
        decided.doubted.add(hung.pending_id)

        def request(node: object, caller: object) -> object:
            return node.reopen(hung.pending_id, {"lost": list(hung.lost)}, caller)  # type: ignore[attr-defined]

        await self._workload.send("reopen", hung.node, request, caller(who))  # type: ignore[arg-type]
        return hung.pending_id not in self._open(hung.node)

    async def _vote(self, pending_id: str, who: str) -> None:
        request: Request = lambda node, caller: node.approve(pending_id, caller)  # noqa: E731
        await self._workload.send("approve after all", self._rand.choice(self._world.up), request, caller(who))

    # What there is to see.

    def _stores(self) -> set[str]:
        """The incarnations that are on any disk."""
        disks = [member.disk.synced for member in self._world.members.values()]
        return {disk._state.incarnation for disk in disks if disk is not None}

    def _open(self, name: str) -> list[str]:
        node = self._world.members[name].node
        return [] if node is None else node.deciding.open.ids(None, None, 1_000)

    def _hung(self) -> Iterator[Hung]:
        world, there = self._world, self._stores()
        for name in world.up:
            store = world.members[name].store
            near = {world.incarnation(each) for each in (name, *world.graph[name])}
            for pending_id in self._open(name):
                assert store is not None
                electors = electors_of_pending(store._state.rows[Ref(PENDING, pending_id)].record)
                lost = tuple(each for each in electors if each not in there)
                closed = pending_id in world.ledger.decided.reopening
                if (len(lost) >= majority(len(electors)) or closed) and set(electors) - set(lost) <= near:
                    yield Hung(pending_id, name, lost)

    def _successors(self) -> list[str]:
        found = set()
        for member in self._world.members.values():
            rows = {} if member.store is None else member.store._state.rows
            found |= {successor_of(row.record) for ref, row in rows.items() if ref.kind == DECISION}
        return sorted(each for each in found if each is not None)
