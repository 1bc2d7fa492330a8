"""Random steps on stores: fleets that exchange feeds end equal, and every store does what the one in memory does.

`AIMEM_EXAMPLES` sets how many sequences are tried; they are the same in every run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aimem.core.automatic import deleted_by_user, effect_of, use_of
from aimem.core.identity_words import parse_words
from aimem.core.kinds import TOUCH
from aimem.core.pairs import pair_of
from aimem.core.reach import Reach
from aimem.store.base import Change, Filter, Store, Words, Written
from aimem.store.memory.store import MemoryStore
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.url import read_target
from aimem.store.sqlite.store import open_sqlite
from tests.postgres_server import PostgresServer, databases
from tests.store.conftest import HOUR, Clock, Ids, feed
from tests.store.fleet import Fleet, Step, steps

STORES = 3
ALL_PAIRS = list(itertools.permutations(range(STORES), 2))


def examples(number: int) -> settings:
    """So many sequences, or as many as the environment asks for."""
    return settings(
        max_examples=int(os.environ.get("AIMEM_EXAMPLES", number)),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


async def settle(fleet: Fleet, sequence: Sequence[Step], order: Sequence[tuple[int, int]]) -> None:
    """Play the steps, then let the stores read each other until all is quiet."""
    for step in sequence:
        await step.play(fleet)
    await fleet.quieten(order)


def in_memory(number: int) -> Fleet:
    clocks = [Clock() for _ in range(number)]
    return Fleet([MemoryStore(now=clock, rand=Ids(at)) for at, clock in enumerate(clocks)], clocks)


async def holds_its_laws(fleet: Fleet) -> None:
    """What must be so of every fleet in which all have read all."""
    first = await fleet.records(0)
    for at, store in enumerate(fleet.stores):
        assert await fleet.records(at) == first
        assert store.digest == fleet.stores[0].digest
        assert await store.check() == []
        shown = [pair_of(memory.record) for memory in await store.select(Filter(0), 1_000, 0)]
        assert len(shown) == len(set(shown)) == store.visible, "two visible memories have one pair"
        touches = [record for _, record in await feed(store) if record.kind == TOUCH]
        for record in await fleet.memories(at):
            asked = fleet.asked[record.key]
            assert record.version.base() >= asked, "an automatic change beat a newer write"
            if not record.deleted and record.key in fleet.deleted:
                assert record.version.base() > fleet.deleted[record.key], "what was deleted came back"
            if not deleted_by_user(record) and effect_of(record).collected:
                use = use_of(record, touches)
                assert effect_of(record).expires >= use.expires, "a life ended before its extension"
            if not deleted_by_user(record) and not fleet.swept:
                assert effect_of(record).rank >= fleet.ranks[record.key, record.born], "a tier was forgotten"


@examples(1_500)
@given(steps(STORES), st.permutations(ALL_PAIRS))
def test_stores_that_exchange_feeds_in_any_order_end_equal(sequence: list[Step], order: list[tuple[int, int]]) -> None:
    async def run() -> None:
        fleet = in_memory(STORES)
        await settle(fleet, sequence, order)
        await holds_its_laws(fleet)

    asyncio.run(run())


class Heard:
    """What the listeners of a store know: the last that they heard of each address."""

    def __init__(self, store: Store) -> None:
        self.shown: dict[str, bool] = {}
        store.subscribe(self._listen)

    def _listen(self, changes: Sequence[Change]) -> None:
        self.shown.update({f"{change.record.ref}": change.visible for change in changes})


REACH = Reach(parse_words("agents=ai:b* namespaces=notes,*/**")[0])
FILTERS: list[dict[str, Any]] = [
    {},
    {"tier": "mid"},
    {"tag": "red", "min_priority": 5},
    {"agent_id": "ai:b"},
    {"namespaces": ("notes",), "since": 0},
    {"visible_from": "notes"},
    {"reach": REACH},
]
WORDS = [
    Words((("apple",), ("run",))),
    Words((("running", "tree"),), all_of=True),
    Words((("red",), ("about",)), all_of=True, everywhere=False),
]


async def seen(store: Store, now: int) -> dict[str, Any]:
    """Everything that reads tell of a store, row numbers, scores and sizes apart."""
    everything = [record.key for _, record in await feed(store)]
    view: dict[str, Any] = {
        "feed": await feed(store),
        "place": (store.head, store.floor, store.visible, store.digest.root()),
        "counted": (await store.namespaces(now), (await store.stats(now))._replace(size=0)),
        "in reach": (await store.namespaces(now, REACH), (await store.stats(now, REACH))._replace(size=0)),
        "expired": set(await store.expired(now - HOUR, 1_000)),
        "prefix": await store.ids_with_prefix("f", 10),
        "memories": [memory and (memory.record, memory.use) for memory in await store.memories(everything)],
        "scan": {record.ref: row > 0 async for batch in store.scan(TOUCH) for row, record in batch},
    }
    for at, fields in enumerate(FILTERS):
        which = Filter(now, **fields)
        found = await store.select(which, 1_000, 0)
        view[f"select {at}"] = [(memory.record, memory.use) for memory in found]
        assert sorted(await store.rows(which)) == sorted(memory.row for memory in found)
        assert await store.by_rows([memory.row for memory in found]) == found
        view[f"match {at}"] = [{hit.id for hit in await store.match(words, which, 1_000)} for words in WORDS]
    return view


async def play_on(stores: Sequence[Store], clocks: Sequence[Clock], sequence: Sequence[Step]) -> list[Any]:
    """What is to be seen after the steps: replies, what listeners know, and what reads tell."""
    heard = [Heard(store) for store in stores]
    fleet = Fleet(stores, clocks)
    await settle(fleet, sequence, list(itertools.permutations(range(len(stores)), 2)))
    replies = [outcome.records if isinstance(outcome, Written) else repr(outcome) for outcome in fleet.outcomes]
    assert [await store.check() for store in stores] == [[] for _ in stores]
    return [
        replies,
        [each.shown for each in heard],
        [await seen(store, clock.now) for store, clock in zip(stores, clocks, strict=True)],
    ]


async def _comes_to_the_same(sequence: list[Step], opened: Callable[[int, Clock], Awaitable[Store]]) -> None:
    """Play the steps on two stores, and on two in memory."""
    clocks = [Clock(), Clock()]
    oracle = [MemoryStore(now=clock, rand=Ids(at)) for at, clock in enumerate(clocks)]
    expected = await play_on(oracle, clocks, sequence)
    clocks = [Clock(), Clock()]
    stores = [await opened(at, clock) for at, clock in enumerate(clocks)]
    try:
        assert await play_on(stores, clocks, sequence) == expected
    finally:
        for store in stores:
            await store.close()


@examples(100)
@given(steps(2))
def test_the_same_steps_on_another_store_come_to_the_same(sequence: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:

        async def opened(at: int, clock: Clock) -> Store:
            return await open_sqlite(Path(folder) / f"{at}.db", now=clock, rand=Ids(at), allow_network_fs=True)

        asyncio.run(_comes_to_the_same(sequence, opened))


@examples(25)
@given(steps(2))
def test_the_same_steps_on_a_shared_store_come_to_the_same(postgres: PostgresServer, sequence: list[Step]) -> None:
    with databases(postgres) as new_database:

        async def opened(at: int, clock: Clock) -> Store:
            return await open_store(read_target(new_database()), now=clock, rand=Ids(at))

        asyncio.run(_comes_to_the_same(sequence, opened))
