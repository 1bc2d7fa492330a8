"""Which record a write goes to: ids, pairs, births, and what is hidden behind a holder."""

from __future__ import annotations

import pytest

from aimem.core.kinds import MEMORY
from aimem.core.pairs import Pair, plain_id
from aimem.core.record import Record
from aimem.core.upkeep import receive
from aimem.core.version import Version
from aimem.core.writes import delete, update
from aimem.errors import Conflict, NotFound
from aimem.store.base import Store
from tests.store.conftest import (
    HOUR,
    NOW,
    archiving,
    body,
    creating,
    elsewhere,
    held,
    refused,
    stored,
    titles,
    written,
)

FOREIGN = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"


async def test_a_new_pair_gets_the_id_that_derives_from_it(store: Store) -> None:
    record = await stored(store, creating("X"))
    assert record.key == plain_id(Pair("notes", "X"))


async def test_a_create_on_a_pair_whose_row_has_a_foreign_id_keeps_that_id(store: Store) -> None:
    await written(store, receive(elsewhere(FOREIGN, "X", NOW - HOUR)))
    record = await stored(store, creating("X", content="anew"))
    assert record.key == FOREIGN
    assert record.born.time == NOW - HOUR
    assert await titles(store) == ["X"]
    assert await store.check() == []


async def test_after_a_rename_its_old_pair_is_free_and_both_rows_exist(store: Store) -> None:
    first = await stored(store, creating("X"))
    await written(store, update(first.key, {"title": "Y"}))
    second = await stored(store, creating("X"))
    assert second.key != first.key
    assert sorted(await titles(store)) == ["X", "Y"]
    third = await stored(store, creating("Y"))
    assert third.key == first.key
    assert await store.check() == []


async def test_a_rename_onto_a_taken_pair_is_refused_and_names_its_holder(store: Store) -> None:
    first, second = await stored(store, creating("X")), await stored(store, creating("Y"))
    refusal = await refused(store, update(second.key, {"title": "X"}))
    assert isinstance(refusal, Conflict)
    assert refusal.status == 409
    assert refusal.body()["existing_id"] == first.key
    assert sorted(await titles(store)) == ["X", "Y"]


async def test_archiving_and_creating_again_twice_keeps_both_archived_rows(store: Store) -> None:
    ids = []
    for _ in range(3):
        record = await stored(store, creating("X"))
        ids.append(record.key)
        await written(store, archiving(record.key))
        assert await titles(store) == []
    assert len(set(ids)) == 3
    for each in ids:
        kept = await held(store, MEMORY, each)
        assert kept is not None
        assert not kept.deleted
        assert kept.body["archived"]["reason"] == "done"
    assert (await stored(store, creating("X"))).key not in ids
    assert await store.check() == []


async def test_deleting_and_creating_again_starts_a_new_birth_under_the_same_id(store: Store) -> None:
    first = await stored(store, creating("X"))
    await written(store, delete(first.key))
    assert await titles(store) == []
    second = await stored(store, creating("X"))
    assert second.key == first.key
    assert second.born == second.version > first.born
    assert await titles(store) == ["X"]


async def test_a_late_write_of_a_birth_that_ended_here_does_not_fall_below_its_tier(store: Store) -> None:
    first = await stored(store, creating("X", tier="mid"))
    await written(store, delete(first.key))
    await written(store, creating("X", tier="short"))
    version = Version(NOW + HOUR, "e" * 16)
    late = Record.make(MEMORY, first.key, version, first.born, body("X", tier="short"))
    await written(store, receive(late))
    kept = await held(store, MEMORY, first.key)
    assert kept is not None
    assert kept.version.same_write(version)
    assert kept.body["tier"] == "mid"


async def test_of_two_live_records_of_a_pair_only_the_newest_is_seen(store: Store) -> None:
    await written(store, receive(elsewhere(OTHER, "X", NOW - HOUR, content="late")))
    await written(store, receive(elsewhere(FOREIGN, "X", NOW - 2 * HOUR, content="early")))
    assert await titles(store) == ["X"]
    assert store.visible == 1
    hidden, holder = await store.memories([FOREIGN, OTHER])
    assert hidden is not None
    assert hidden == holder
    assert hidden.record.key == OTHER
    assert await store.check() == []


async def test_who_holds_a_pair_does_not_depend_on_the_order_of_arrival(store: Store) -> None:
    plain = plain_id(Pair("notes", "X"))
    for key, age in ((FOREIGN, 3), (plain, 1), (OTHER, 2)):
        await written(store, receive(elsewhere(key, "X", NOW - age * HOUR)))
    found = await store.memories([FOREIGN, plain, OTHER])
    assert [memory.record.key for memory in found if memory] == [plain] * 3


async def test_a_write_by_a_hidden_id_goes_to_the_holder(store: Store) -> None:
    await written(store, receive(elsewhere(FOREIGN, "X", NOW - 2 * HOUR)))
    await written(store, receive(elsewhere(OTHER, "X", NOW - HOUR)))
    changed = await stored(store, update(FOREIGN, {"content": "changed"}))
    assert changed.key == OTHER


async def test_deleting_a_holder_deletes_what_is_hidden_behind_it(store: Store) -> None:
    await written(store, receive(elsewhere(FOREIGN, "X", NOW - 2 * HOUR)))
    await written(store, receive(elsewhere(OTHER, "X", NOW - HOUR)))
    await written(store, delete(OTHER))
    assert await titles(store) == []
    for each in (FOREIGN, OTHER):
        grave = await held(store, MEMORY, each)
        assert grave is not None
        assert grave.deleted


@pytest.mark.parametrize("holder", [OTHER, plain_id(Pair("notes", "X"))])
async def test_a_hidden_memory_is_seen_when_its_holder_goes_elsewhere(store: Store, holder: str) -> None:
    await written(store, receive(elsewhere(FOREIGN, "X", NOW - 2 * HOUR, content="hidden")))
    await written(store, receive(elsewhere(holder, "X", NOW - HOUR)))
    await written(store, update(holder, {"title": "Y"}))
    assert sorted(await titles(store)) == ["X", "Y"]
    (memory,) = await store.memories([FOREIGN])
    assert memory is not None
    assert memory.record.key == FOREIGN
    assert await store.check() == []


async def test_on_conflict_error_refuses_and_version_takes_the_next_free_title(store: Store) -> None:
    first = await stored(store, creating("X"))
    refusal = await refused(store, creating("X", on_conflict="error"))
    assert isinstance(refusal, Conflict)
    assert refusal.body()["existing_id"] == first.key
    numbered = [await stored(store, creating("X", on_conflict="version")) for _ in range(2)]
    assert [record.body["title"] for record in numbered] == ["X (2)", "X (3)"]


async def test_what_is_deleted_archived_or_unknown_can_not_be_updated(store: Store) -> None:
    gone, put_away = await stored(store, creating("X")), await stored(store, creating("Y"))
    await written(store, delete(gone.key), archiving(put_away.key))
    for each in (gone.key, put_away.key, FOREIGN):
        assert isinstance(await refused(store, update(each, {"content": "x"})), NotFound)
        assert isinstance(await refused(store, delete(each)), NotFound)
