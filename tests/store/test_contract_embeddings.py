"""What every store promises about vectors that other programs made: they are there as long as their memory is."""

from __future__ import annotations

import pytest

from aimem.core.digest import Digest
from aimem.core.importing import import_record
from aimem.core.kinds import EMBEDDING, MEMORY
from aimem.core.record import Record
from aimem.core.upkeep import collect, receive
from aimem.core.version import Version
from aimem.core.writes import delete
from aimem.store.base import Store
from tests.store.conftest import DAY, NOW, archiving, creating, elsewhere, held, stored, written


def embedding(memory: Record, model: str = "m") -> Record:
    body = {"model": model, "dims": 1, "data": "AACAPw=="}
    return Record.make(EMBEDDING, f"{memory.key}/{model}", memory.version, memory.born, body)


async def there(store: Store, *records: Record) -> list[bool]:
    return [await held(store, *record.ref) == record for record in records]


async def test_they_go_with_their_memory_and_do_not_come_back(store: Store) -> None:
    memory = await stored(store, creating("A"))
    other, named = elsewhere("x", "B", NOW), elsewhere(f"{memory.key}/m", "C", NOW)  # whose key looks like a vector's
    vectors = [embedding(memory, "m"), embedding(memory, "n"), embedding(other), embedding(named)]
    assert await written(store, *map(receive, [other, named, *vectors])) == [True] * 6
    assert store.digest == Digest.of([memory, other, named])
    await written(store, delete(memory.key))
    assert await there(store, *vectors) == [False, False, True, True]
    assert await written(store, receive(vectors[0]), import_record(vectors[0])) == [False, False]
    assert (await stored(store, creating("A"))).key == memory.key
    assert await written(store, receive(vectors[0])) == [False]
    assert await held(store, *vectors[0].ref) is None
    assert await store.check() == []


async def test_they_go_with_a_memory_that_is_collected_and_stay_with_an_archived_one(store: Store) -> None:
    short = elsewhere("x", "A", NOW, tier="short", expires_at=NOW + 1)
    kept = elsewhere("y", "B", NOW)
    vectors = embedding(short), embedding(kept)
    await written(store, *map(receive, [short, kept, *vectors]))
    assert await written(store, collect("x", NOW + DAY, as_archived=False)) == [True]
    await written(store, archiving("y"))
    assert await there(store, *vectors) == [False, True]


@pytest.mark.parametrize("ended", [True, False], ids=["deleted", "born anew"])
async def test_one_that_came_ahead_of_its_memory_goes_when_that_has_ended(store: Store, ended: bool) -> None:
    memory, other = elsewhere("x", "A", NOW), elsewhere("y", "B", NOW)
    vectors = embedding(memory), embedding(other)
    assert await written(store, *map(receive, vectors)) == [True, True]
    later = Version(NOW + 1, memory.version.origin)
    end = Record.make(MEMORY, "x", later, memory.born if ended else later, memory.body, deleted=ended)
    await written(store, receive(end), receive(other))
    assert await there(store, *vectors) == [False, True]


async def test_one_that_was_held_when_its_memory_was_born_anew_elsewhere_goes(store: Store) -> None:
    memory = elsewhere("x", "A", NOW)
    await written(store, receive(memory), receive(embedding(memory)))
    await written(store, receive(elsewhere("x", "A", NOW + 1)))
    assert await there(store, embedding(memory)) == [False]
