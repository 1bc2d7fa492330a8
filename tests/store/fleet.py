"""Several stores that write, age and read each other's feeds, and the steps that may happen to them.

A step is data, so that a sequence of steps can be made at random, shrunk, and played on stores of any sort. Clocks and
ids come from the fleet: the same steps give the same records wherever they are played.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from hypothesis import strategies as st

from aimem.core import upkeep, writes
from aimem.core.automatic import TIERS, deleted_by_user, effect_of
from aimem.core.digest import counts
from aimem.core.intent import Intent
from aimem.core.kinds import MEMORY
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.store.base import Outcome, Store, Written
from tests.store.conftest import DAY, HOUR, SECOND, Clock, archiving, creating, elsewhere, feed, putting

LARGE = 1 << 40
EVER = 1 << 62
EXTENSION = {"short": HOUR, "mid": DAY}
GRACE = HOUR


class Fleet:
    """The stores, how far each has read every other, and what was seen of their memories."""

    def __init__(self, stores: Sequence[Store], clocks: Sequence[Clock]) -> None:
        self.stores = stores
        self.clocks = clocks
        self.read = {(source, reader): 0 for source in range(len(stores)) for reader in range(len(stores))}
        self.outcomes: list[Outcome] = []
        self.asked: dict[str, Version] = {}
        """By id, the newest version that a user's write gave it, anywhere."""
        self.deleted: dict[str, Version] = {}
        """By id, the newest version of a user's delete."""
        self.ranks: dict[tuple[str, Version], int] = {}
        """The highest tier that any store had, by id and birth."""
        self.swept = False

    async def write(self, at: int, *intents: Intent, by_user: bool = False) -> None:
        """Write into one store, and hold what it does against what no write may do."""
        before = {record.key: record for record in await self.memories(at)}
        outcomes = await self.stores[at].write(intents)
        self.outcomes += outcomes
        for outcome in outcomes:
            for record in outcome.records if isinstance(outcome, Written) else ():
                if record.kind == MEMORY:
                    self._see(before.get(record.key), record, by_user=by_user)
                    before[record.key] = record

    def _see(self, old: Record | None, new: Record, *, by_user: bool) -> None:
        assert old is None or new.order > old.order, "a write took the place of a newer one"
        birth = (new.key, new.born)
        if old is not None and old.born == new.born and not deleted_by_user(new):
            assert effect_of(new).rank >= effect_of(old).rank, "a tier was lowered within a birth"
        self.ranks[birth] = max(self.ranks.get(birth, 0), effect_of(new).rank)
        if by_user:
            self.asked[new.key] = max(self.asked.get(new.key, new.version), new.version)
            if new.deleted:
                self.deleted[new.key] = max(self.deleted.get(new.key, new.version), new.version)

    async def memories(self, at: int) -> list[Record]:
        """All memory records of a store by id, tombstones and hidden ones included."""
        found = [record for _, record in await feed(self.stores[at]) if record.kind == MEMORY]
        return sorted(found, key=lambda record: record.key)

    async def pick(self, at: int, number: int) -> str:
        """The id of some memory of a store."""
        found = await self.memories(at)
        return found[number % len(found)].key if found else "none"

    async def exchange(self, source: int, reader: int, limit: int) -> None:
        """Let one store read a page of another's feed."""
        page = await self.stores[source].changes(self.read[source, reader], limit, LARGE)
        await self.write(reader, *(upkeep.receive(record) for _, record in page.changes))
        self.read[source, reader] = page.cursor.seq

    async def quieten(self, order: Sequence[tuple[int, int]]) -> None:
        """Let all read all, pair by pair in the given order, until nobody has anything new."""
        while any(self.read[source, reader] < self.stores[source].head for source, reader in order):
            for source, reader in order:
                await self.exchange(source, reader, 1_000)

    async def records(self, at: int) -> dict[Ref, Record]:
        """What the digest of a store is about."""
        return {record.ref: record for _, record in await feed(self.stores[at]) if counts(record)}


class Step(Protocol):
    """Something that happens to a fleet."""

    async def play(self, fleet: Fleet) -> None: ...


class Create(NamedTuple):
    at: int
    title: str
    fields: dict[str, Any]
    life: int | None
    on_conflict: str

    async def play(self, fleet: Fleet) -> None:
        ends = {} if self.life is None else {"expires_at": fleet.clocks[self.at].now + self.life}
        intent = creating(self.title, on_conflict=self.on_conflict, **self.fields, **ends)
        await fleet.write(self.at, intent, by_user=True)


class Change(NamedTuple):
    at: int
    number: int
    changes: dict[str, Any]

    async def play(self, fleet: Fleet) -> None:
        await fleet.write(self.at, writes.update(await fleet.pick(self.at, self.number), self.changes), by_user=True)


class Act(NamedTuple):
    at: int
    number: int
    what: str

    async def play(self, fleet: Fleet) -> None:
        memory_id = await fleet.pick(self.at, self.number)
        intents = {
            "delete": writes.delete(memory_id),
            "promote": writes.promote(memory_id),
            "archive": archiving(memory_id),
        }
        await fleet.write(self.at, intents[self.what], by_user=True)


class Foreign(NamedTuple):
    """A record under an id that does not derive from its pair, as migration brings it."""

    at: int
    key: str
    title: str
    age: int
    tier: str

    async def play(self, fleet: Fleet) -> None:
        when = fleet.clocks[self.at].now - self.age
        record = elsewhere(self.key, self.title, when, tier=self.tier)
        held = {each.key: each for each in await fleet.memories(self.at)}.get(self.key)
        if held is None:
            await fleet.write(self.at, putting(record), by_user=True)


class Touch(NamedTuple):
    at: int
    number: int
    accesses: int

    async def play(self, fleet: Fleet) -> None:
        gathered = upkeep.Touched(self.accesses, fleet.clocks[self.at].now)
        await fleet.write(self.at, upkeep.fold(await fleet.pick(self.at, self.number), gathered, EXTENSION))


class Expire(NamedTuple):
    at: int
    as_archived: bool

    async def play(self, fleet: Fleet) -> None:
        before = fleet.clocks[self.at].now - GRACE
        for memory_id in sorted(await fleet.stores[self.at].expired(before, 100)):
            await fleet.write(self.at, upkeep.collect(memory_id, before, as_archived=self.as_archived))


class Sweep(NamedTuple):
    """Drops tombstones of any age that all others have read."""

    at: int

    async def play(self, fleet: Fleet) -> None:
        others = (reader for reader in range(len(fleet.stores)) if reader != self.at)
        read_by_all = min((fleet.read[self.at, reader] for reader in others), default=EVER)
        swept = await fleet.stores[self.at].sweep(EVER, read_by_all, fleet.clocks[self.at].now, 100)
        fleet.swept = fleet.swept or swept.tombstones > 0


class Tick(NamedTuple):
    """Time goes on everywhere."""

    by: int

    async def play(self, fleet: Fleet) -> None:
        for clock in fleet.clocks:
            clock.now += self.by


class Jump(NamedTuple):
    """One clock is set to something else."""

    at: int
    by: int

    async def play(self, fleet: Fleet) -> None:
        fleet.clocks[self.at].now += self.by


class Exchange(NamedTuple):
    source: int
    reader: int
    limit: int

    async def play(self, fleet: Fleet) -> None:
        if self.source != self.reader:
            await fleet.exchange(self.source, self.reader, self.limit)


def steps(stores: int) -> st.SearchStrategy[list[Any]]:
    """Sequences of steps for a fleet of so many stores."""
    at, number = st.integers(0, stores - 1), st.integers(0, 5)
    title, tier = st.sampled_from(["X", "Y", "Z"]), st.sampled_from(TIERS)
    author = st.sampled_from([{"agent_id": "ai:a"}, {"agent_id": "ai:b"}])
    content = st.sampled_from(["red apples", "running trees", "green"])
    tags = st.sampled_from([[], ["red"], ["red", "blue"]])
    life = st.sampled_from([None, SECOND, HOUR, DAY])
    fields = st.fixed_dictionaries(
        {"content": content, "tier": tier, "metadata": author, "tags": tags, "priority": st.integers(4, 6)}
    )
    changes = st.fixed_dictionaries({}, optional={"content": content, "tier": tier, "title": title, "tags": tags})
    create = st.builds(Create, at, title, fields, life, st.sampled_from(["merge", "merge", "error", "version"]))
    exchange = st.builds(Exchange, at, at, st.sampled_from([1, 2, 100]))
    step: st.SearchStrategy[Any] = st.one_of(
        create,
        create,
        exchange,
        exchange,
        exchange,
        st.builds(Change, at, number, changes),
        st.builds(Act, at, number, st.sampled_from(["delete", "promote", "archive"])),
        st.builds(Foreign, at, st.sampled_from(["f1", "f2"]), title, st.sampled_from([0, HOUR, DAY]), tier),
        st.builds(Touch, at, number, st.sampled_from([1, 5])),
        st.builds(Expire, at, st.booleans()),
        st.builds(Sweep, at),
        st.builds(Tick, st.sampled_from([1, SECOND, 2 * HOUR, 2 * DAY])),
        st.builds(Jump, at, st.sampled_from([-DAY, -HOUR, HOUR, DAY])),
    )
    return st.lists(step, min_size=20, max_size=60)
