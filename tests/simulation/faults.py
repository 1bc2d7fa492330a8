"""What goes wrong while callers work: weather, cut and clogged links, racks apart, crashes, lost disks, odd clocks.

Each fault comes at a random instant and is undone a random while later; `heal` undoes all that is left.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from aimem.core.kinds import DAY_NS
from aimem.core.timestamp import SECOND_NS
from tests.simulation.network import Weather
from tests.simulation.scenario import AWAY, CALM, STALE, WILD, Scenario
from tests.simulation.world import Member, World

_RATES = {STALE: 2.0, AWAY: 0.03}
"""Faults a second, where it is not one in two."""


class Faults:
    """The faults of one run."""

    def __init__(self, world: World, plan: Scenario, rand: random.Random) -> None:
        self._world = world
        self._plan = plan
        self._rand = rand
        self._losses = plan.losses
        self._busy: set[str] = set()
        self.ahead = 0
        """How far (ns) beyond the true time any clock has been."""

    async def run(self) -> None:
        """Make trouble, for ever."""
        if self._plan.weather == CALM:
            return
        self._world.ledger.calm = False
        if self._rand.random() < 0.5 and self._plan.weather not in (STALE, AWAY):
            self._world.network.weather = self._some_weather()
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (3, self._cut_one_way),
            (2, self._isolated),
            (2, self._split),
            (2, self._clogged),
            (2, self._jump),
        ]
        if self._plan.weather == STALE:
            kinds = [(1, self._cut_one_way), (4, self._clogged)]
        if self._plan.weather == AWAY:
            kinds = [(1, self._cut_one_way), (1, self._crash), (4, self._away)]
        if self._plan.weather == WILD:
            kinds += [(4, self._crash), (2, self._far_jump), (3, self._disk_lost)]
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(self._rand.expovariate(_RATES.get(self._plan.weather, 0.5)))
                (kind,) = self._rand.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
                group.create_task(self._one(kind))

    async def _one(self, kind: Callable[[], Awaitable[None]]) -> None:
        await kind()

    async def heal(self) -> None:
        """All is well from here on: whatever is down comes back, unless its rack is lost."""
        world = self._world
        world.network.heal()
        for member in world.members.values():
            member.offset = 0
        for name, member in world.members.items():
            if member.node is None and name not in world.gone:
                await world.start(name)

    async def lose_rack(self) -> None:
        """One rack is gone for good."""
        world = self._world
        rack = self._rand.choice(sorted(set(self._plan.rack_of.values())))
        for name in [name for name, each in self._plan.rack_of.items() if each == rack]:
            world.gone.add(name)
            await world.crash(name)

    # Kinds of trouble.

    def _while(self) -> float:
        return self._rand.choice((0.3, 2.0, 8.0)) * (0.5 + self._rand.random())

    def _any(self) -> str:
        return self._rand.choice(sorted(self._world.members))

    def _some_weather(self) -> Weather:
        rand = self._rand
        return Weather(
            delay=rand.choice((0.001, 0.02, 0.1)),
            jitter=rand.choice((0.004, 0.05, 0.3)),
            loss=rand.choice((0.0, 0.02, 0.2)),
            twice=rand.choice((0.0, 0.1)),
            late=rand.choice((0.0, 0.1)),
        )

    async def _cut_one_way(self) -> None:
        await self._cut({(self._any(), self._any())})

    async def _isolated(self) -> None:
        name = self._any()
        others = [other for other in self._world.members if other != name]
        await self._cut({pair for other in others for pair in ((name, other), (other, name))})

    async def _split(self) -> None:
        """Two halves that do not hear each other: by rack where there are racks."""
        members, rack_of = self._world.members, self._plan.rack_of
        groups = sorted(set(rack_of.values())) or sorted(members)
        side = set(self._rand.sample(groups, len(groups) // 2))
        left = {name for name in members if rack_of.get(name, name) in side}
        right = members.keys() - left
        await self._cut({pair for one in left for other in right for pair in ((one, other), (other, one))})

    async def _cut(self, pairs: set[tuple[str, str]]) -> None:
        network = self._world.network
        for source, target in sorted(pairs):
            network.cut(source, target)
        await asyncio.sleep(self._while())
        for source, target in sorted(pairs):
            network.join(source, target)

    async def _clogged(self) -> None:
        source, target = self._any(), self._any()
        self._world.network.clog(source, target, self._rand.choice((0.2, 1.0, 5.0)))
        await asyncio.sleep(self._while())
        self._world.network.clog(source, target, 0.0)

    async def _jump(self) -> None:
        """A clock within the bound: no two are further apart than `max_skew`."""
        member = self._world.members[self._any()]
        bound = member.settings.max_skew // 2
        await self._set_clock(member, self._rand.randint(-bound, bound))

    async def _far_jump(self) -> None:
        """A clock beyond the bound, for a while."""
        member = self._world.members[self._any()]
        bound = member.settings.max_skew
        await self._set_clock(
            member, self._rand.choice((-1, 1)) * self._rand.randint(bound, 2 * bound + 60 * SECOND_NS)
        )
        await asyncio.sleep(self._while())
        await self._set_clock(member, 0)

    async def _set_clock(self, member: Member, offset: int) -> None:
        self.ahead = max(self.ahead, offset)
        member.jumped, member.offset = offset - member.offset, offset
        member.jumped_at = asyncio.get_running_loop().time()
        await asyncio.sleep(0.01)

    async def _away(self) -> None:
        """A node comes back after days; or it was there all the time, and then its disk is as it was days ago."""
        name = self._any()
        world, member = self._world, self._world.members[name]
        if name in self._busy or member.node is None:
            return
        self._busy.add(name)
        loses = self._losses > 0 and self._rand.random() < 0.5
        if loses:
            self._losses -= 1
            world.shelve(name)
        else:
            await world.crash(name)
        await asyncio.sleep(90 * self._rand.random())
        world.later += int(self._rand.choice((0.5, 2.0, 40.0)) * DAY_NS)
        await asyncio.sleep(130 * self._rand.random())
        if loses:
            await world.crash(name)
            await world.replace_disk(name, member.shelf, seen=self._rand.random() < 0.5)
        await world.start(name)
        self._busy.discard(name)

    async def _crash(self) -> None:
        name = self._any()
        if name in self._busy or self._world.members[name].node is None:
            return
        self._busy.add(name)
        await self._world.crash(name)
        await asyncio.sleep(self._while())
        await self._world.start(name)
        self._busy.discard(name)

    async def _store_lost(self, store: str) -> None:
        """A store of several nodes is set back, or empty: they all go down, and come back on what there is."""
        world = self._world
        names = [name for name, each in self._plan.store_of.items() if each == store]
        if self._busy & set(names):
            return
        self._losses -= 1
        self._busy |= set(names)
        how = self._rand.choice(("empty", "old", "set back"))
        first = world.members[names[0]]
        world.shelve(names[0])
        await asyncio.sleep(self._while())
        for name in names:
            await world.crash(name)
        await world.replace_disk(names[0], None if how == "empty" else first.shelf, seen=how == "old")
        for name in names[1:]:
            world.ledger.disk_lost(name, first.disk.records())
        await asyncio.sleep(self._while())
        for name in names:
            await world.start(name)
        self._busy -= set(names)

    async def _disk_lost(self) -> None:
        """A node comes back with another disk: empty, an old copy that shows or does not show, or another node's."""
        name, other = self._any(), self._any()
        world = self._world
        member = world.members[name]
        if not self._losses or name in self._busy or member.node is None:
            return
        if name in self._plan.store_of:
            await self._store_lost(self._plan.store_of[name])
            return
        self._losses -= 1
        self._busy.add(name)
        how = self._rand.choice(("empty", "old", "set back", "clone"))
        if how in ("old", "set back"):
            world.shelve(name)
            await asyncio.sleep(self._while())
        await world.crash(name)
        holds = None if how == "empty" else world.members[other].disk.copy() if how == "clone" else member.shelf
        await world.replace_disk(name, holds, seen=how != "set back")
        await asyncio.sleep(self._while())
        await world.start(name)
        self._busy.discard(name)
