"""A store whose clock ran ahead comes back into time: nothing is lost, and others can take what it holds."""

from __future__ import annotations

import pytest

from aimem.core import writes
from aimem.core.archiving import keeping_superseded, purge
from aimem.core.digest import Digest
from aimem.core.kinds import EMBEDDING, LINK, MEMORY, SUPERSEDED, TOUCH
from aimem.core.links import clean_link, create_link
from aimem.core.record import Record, Ref
from aimem.core.upkeep import Touched, fold, outlives, receive
from aimem.core.version import Version
from aimem.store.base import Store, Written
from tests.store.conftest import DAY, HOUR, NOW, OpenStore, body

AHEAD = 400 * DAY


async def every(store: Store) -> list[Record]:
    return [record for _, record in (await store.changes(0, 1_000, 1 << 24)).changes]


async def put(store: Store, title: str) -> Record:
    (outcome,) = await store.write([writes.create(body(title=title))])
    assert isinstance(outcome, Written)
    record: Record = outcome.reply.record
    return record


async def test_what_was_written_ahead_gets_versions_of_now(open_store: OpenStore) -> None:
    store = await open_store()
    before = await put(store, "before")
    open_store.clock.now = NOW + AHEAD
    early, other = await put(store, "early"), await put(store, "other")
    raw = {"source_id": early.key, "target_id": other.key, "relation": "related_to"}
    await store.write([create_link(clean_link(raw), None), writes.delete(before.key)])
    await store.write([fold(early.key, Touched(1, NOW + AHEAD), {})])
    open_store.clock.now = NOW + HOUR
    assert await store.restamp(NOW + DAY)
    held = await every(store)
    assert all(max(each.version.time, each.born.time) <= NOW + DAY for each in held)
    assert store.clock <= NOW + DAY
    live = {each.key: each for each in held if each.kind == MEMORY and not each.deleted}
    assert {early.key, other.key} == set(live)
    assert live[early.key].body == early.body
    assert [each.deleted for each in held if each.ref == Ref(MEMORY, before.key)] == [True]
    assert [each.deleted for each in held if each.kind == LINK] == [False]
    assert not [each for each in held if each.kind == TOUCH and each.version.time > NOW + DAY]
    assert store.digest == Digest.of(held)
    assert await store.check() == []
    again = await put(store, "after")
    assert again.version.time < NOW + DAY
    store = await open_store.again(store)
    assert store.clock <= NOW + DAY
    assert await store.check() == []


async def test_a_copy_of_a_superseded_write_keeps_its_place_in_the_archive(open_store: OpenStore) -> None:
    store = await open_store()
    open_store.clock.now = NOW + AHEAD
    first = await put(store, "t")
    await store.write([keeping_superseded(writes.update(first.key, {"content": "new"}))])
    open_store.clock.now = NOW
    await store.restamp(NOW + DAY)
    (kept,) = [each for each in await every(store) if each.kind == SUPERSEDED]
    assert kept.key == f"{first.key}/{kept.version}"
    assert kept.version.time <= NOW + DAY
    assert len(await store.archived(None, 10, 0)) == 1
    assert await store.check() == []


@pytest.mark.parametrize("vector_first", [False, True])
@pytest.mark.parametrize("born", [NOW, NOW + AHEAD])
async def test_a_vector_of_another_program_stays_with_its_memory(
    open_store: OpenStore, born: int, vector_first: bool
) -> None:
    """It can't be made again, so it must not go; and its birth must not fall before that of its memory."""
    store = await open_store()
    birth, version = Version(born, "a" * 16), Version(NOW + AHEAD, "a" * 16, 1)
    memory = Record.make(MEMORY, "m1", version, birth, body(title="migrated"))
    vector = Record.make(EMBEDDING, "m1/x", version, birth, {"model": "x", "dims": 1, "data": "AAAA"})
    open_store.clock.now = NOW + AHEAD
    for record in (vector, memory) if vector_first else (memory, vector):
        await store.write([receive(record)])
    open_store.clock.now = NOW
    await store.restamp(NOW + DAY)
    held, kept = await store.get([memory.ref, vector.ref])
    assert held is not None
    assert kept is not None
    assert kept.body == vector.body
    assert max(kept.version.time, kept.born.time) <= NOW + DAY
    assert not outlives(kept, held)
    assert await store.check() == []


async def test_a_copy_that_was_purged_by_a_clock_ahead_stays_purged(open_store: OpenStore) -> None:
    store = await open_store()
    first = await put(store, "t")
    await store.write([keeping_superseded(writes.update(first.key, {"content": "new"}))])
    (copy,) = [each for each in await every(store) if each.kind == SUPERSEDED]
    open_store.clock.now = NOW + AHEAD
    await store.write([purge(copy.kind, copy.key, NOW + 2 * AHEAD)])
    open_store.clock.now = NOW
    await store.restamp(NOW + DAY)
    (held,) = await store.get([copy.ref])
    assert held is not None
    assert held.deleted
    await store.write([receive(copy)])
    assert await store.archived(None, 10, 0) == []
    assert await store.check() == []


async def test_nothing_is_done_where_nothing_is_ahead(open_store: OpenStore) -> None:
    store = await open_store()
    made = await put(store, "t")
    assert await store.restamp(NOW + DAY) == 0
    assert (await store.get([made.ref]))[0] == made
