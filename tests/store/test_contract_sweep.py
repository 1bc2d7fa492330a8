"""What every store promises about forgetting: which tombstones may go, what goes with them, and what ages."""

from __future__ import annotations

from aimem.core.automatic import born_of_touch, touch
from aimem.core.kinds import DAY_NS, IDEMPOTENCY, LINK, MEMORY, TOUCH
from aimem.core.record import Record
from aimem.core.upkeep import Touched, collect, fold, receive
from aimem.core.version import Version
from aimem.core.writes import delete
from aimem.store.base import Store, Swept
from tests.store.conftest import (
    DAY,
    HOUR,
    NOW,
    Clock,
    OpenStore,
    creating,
    elsewhere,
    feed,
    held,
    putting,
    stored,
    titles,
    written,
)

EVER = 1 << 62


def outcome(key: str, at: int) -> Record:
    version = Version(at, "e" * 16)
    return Record.make(IDEMPOTENCY, key, version, version, {"request": "", "status": 200, "reply": {}})


async def graves(store: Store, *names: str) -> list[Record]:
    """Memories that were stored and deleted again."""
    return [await stored(store, delete((await stored(store, creating(name))).key)) for name in names]


async def test_a_tombstone_goes_when_it_is_old_and_read_by_all(store: Store, clock: Clock) -> None:
    (grave,) = await graves(store, "A")
    await written(store, creating("B"))
    clock.now += DAY
    assert await store.sweep(NOW + 1, store.head, clock.now, 10) == Swept(1, 0)
    assert await held(store, MEMORY, grave.key) is None
    assert store.floor == grave.version.time
    assert await titles(store, now=clock.now) == ["B"]
    assert await store.check() == []


async def test_a_tombstone_stays_while_it_is_young(store: Store, clock: Clock) -> None:
    (grave,) = await graves(store, "A")
    assert await store.sweep(NOW, EVER, NOW, 10) == Swept(0, 0)
    assert await held(store, MEMORY, grave.key) == grave
    assert store.floor == 0


async def test_it_is_known_up_to_where_tombstones_are_older(store: Store, clock: Clock) -> None:
    assert await store.last_tombstone(EVER) == 0
    await graves(store, "A")
    old = store.head
    clock.now += DAY
    await graves(store, "B")
    assert await store.last_tombstone(NOW) == 0
    assert await store.last_tombstone(NOW + 1) == old
    assert await store.last_tombstone(EVER) == store.head


async def test_a_tombstone_stays_while_somebody_has_not_read_it(store: Store) -> None:
    first, second = await graves(store, "A", "B")
    assert await store.sweep(EVER, 2, NOW, 10) == Swept(1, 0)
    assert await held(store, MEMORY, first.key) is None
    assert await held(store, MEMORY, second.key) == second
    assert store.floor == first.version.time


async def test_the_age_of_a_tombstone_counts_from_when_it_was_stored_here(store: Store, clock: Clock) -> None:
    clock.now += 30 * DAY
    await written(store, receive(elsewhere("x", "X", NOW, deleted=True)))
    assert await store.sweep(clock.now - DAY, EVER, clock.now, 10) == Swept(0, 0)
    clock.now += 2 * DAY
    assert await store.sweep(clock.now - DAY, EVER, clock.now, 10) == Swept(1, 0)
    assert store.floor == NOW


async def test_a_sweep_is_bounded_and_takes_the_oldest_first(store: Store, clock: Clock) -> None:
    records = []
    for name in "ABC":
        records += await graves(store, name)
        clock.now += HOUR
    assert await store.sweep(EVER, EVER, clock.now, 2) == Swept(2, 0)
    assert [record for _, record in await feed(store)] == records[2:]


async def test_the_touches_of_what_was_deleted_go_with_its_tombstone_and_no_others(store: Store) -> None:
    first, second = await stored(store, creating("A")), await stored(store, creating("B"))
    await written(store, *(fold(each.key, Touched(1, NOW), {}) for each in (first, second)))
    await written(store, delete(first.key))
    await store.sweep(EVER, EVER, NOW, 10)
    assert [(record.kind, record.key.partition("/")[0]) for _, record in await feed(store)] == [
        (MEMORY, second.key),
        (TOUCH, second.key),
    ]


async def births(store: Store) -> list[tuple[int, Version]]:
    """The count of every touch, and the birth that it is of."""
    return [(record.body["count"], born_of_touch(record)) for _, record in await feed(store) if record.kind == TOUCH]


async def test_the_touches_of_a_birth_that_was_followed_by_another_go_when_no_late_write_of_it_can_come(
    store: Store, clock: Clock
) -> None:
    first = await stored(store, creating("A"))
    await written(store, fold(first.key, Touched(1, NOW), {}))
    await written(store, delete(first.key))
    clock.now += DAY
    second = await stored(store, creating("A"))
    assert (second.key, second.born != first.born) == (first.key, True)
    await written(store, fold(first.key, Touched(2, clock.now), {}))
    assert await store.sweep(clock.now, EVER, clock.now, 10) == Swept(0, 0)
    clock.now += DAY
    assert await store.sweep(clock.now, store.head - 2, clock.now, 10) == Swept(0, 0)
    assert await births(store) == [(1, first.born), (2, second.born)]
    assert await store.sweep(clock.now, EVER, clock.now, 10) == Swept(0, 1)
    assert await births(store) == [(2, second.born)]
    assert await store.check() == []


async def test_a_touch_that_comes_before_its_memory_stays(store: Store, clock: Clock) -> None:
    memory = elsewhere("x", "X", NOW)
    await written(store, putting(touch(memory, "e" * 16, memory.version, None, count=1, last=NOW, expires=0)))
    await written(store, receive(memory))
    clock.now += DAY
    assert await store.sweep(clock.now, EVER, clock.now, 10) == Swept(0, 0)
    assert await births(store) == [(1, memory.born)]


async def test_tombstones_of_every_kind_go_live_records_never(store: Store) -> None:
    version = Version(NOW, "e" * 16)
    alive, gone = (Record.make(LINK, key, version, version, {}, deleted=key == "b") for key in "ab")
    await written(store, putting(alive, gone))
    assert await store.sweep(EVER, EVER, EVER, 10) == Swept(1, 0)
    assert [record for _, record in await feed(store)] == [alive]


async def test_the_tombstone_of_an_expiry_is_swept_too(store: Store) -> None:
    record = await stored(store, creating("A", tier="short", expires_at=NOW - HOUR))
    await written(store, collect(record.key, NOW, as_archived=False))
    assert await store.sweep(EVER, EVER, NOW, 10) == Swept(1, 0)
    assert store.floor == record.version.time


async def test_the_floor_only_rises_and_outlives_a_restart(open_store: OpenStore) -> None:
    store = await open_store()
    for at in (NOW, NOW - DAY):
        await written(store, receive(elsewhere("x", "X", at, deleted=True)))
        await store.sweep(EVER, EVER, NOW, 10)
        assert store.floor == NOW
    store = await open_store.again(store)
    assert store.floor == NOW


async def test_a_sweep_moves_neither_head_nor_digest(store: Store) -> None:
    await graves(store, "A")
    await written(store, creating("B"))
    before = (store.head, store.digest.root(), store.visible)
    assert await store.sweep(EVER, EVER, NOW, 10) == Swept(1, 0)
    assert (store.head, store.digest.root(), store.visible) == before


async def test_kinds_of_a_fixed_life_age_without_a_tombstone(store: Store, clock: Clock) -> None:
    await written(store, putting(outcome("old", NOW)))
    clock.now += HOUR
    await written(store, putting(outcome("new", NOW + HOUR)), creating("A"))
    assert await store.sweep(0, 0, NOW + DAY_NS, 10) == Swept(0, 0)
    assert await store.sweep(0, 0, NOW + DAY_NS + 1, 10) == Swept(0, 1)
    assert await held(store, IDEMPOTENCY, "old") is None
    assert [record.kind for _, record in await feed(store)] == [IDEMPOTENCY, MEMORY]
    assert store.floor == 0


async def test_ageing_is_bounded_too(store: Store) -> None:
    await written(store, putting(*(outcome(key, NOW) for key in "abc")))
    assert [(await store.sweep(0, 0, EVER, 2)).aged for _ in range(3)] == [2, 1, 0]


async def test_a_swept_id_can_be_used_again(store: Store) -> None:
    (grave,) = await graves(store, "A")
    await store.sweep(EVER, EVER, NOW, 10)
    again = await stored(store, creating("A"))
    assert again.key == grave.key
    assert again.version > grave.version
    assert await titles(store) == ["A"]
    assert await store.check() == []


async def test_what_aged_away_is_unknown_to_the_next_write(store: Store) -> None:
    record = outcome("a", NOW)
    await written(store, receive(record))
    assert (await store.sweep(0, 0, EVER, 10)).aged == 1
    await written(store, receive(record))
    assert await held(store, IDEMPOTENCY, "a") == record
