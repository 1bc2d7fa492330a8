"""The end of the feed in memory tells the same as the feed in the store, and nothing that it can't know."""

from __future__ import annotations

import json

import pytest

from aimem.core.kinds import MEMORY, VECTOR, kind_of
from aimem.core.record import Record
from aimem.core.taking import take
from aimem.core.version import Version
from aimem.mesh.repair import head_of
from aimem.mesh.tail import Tail
from aimem.store.memory.store import MemoryStore

ORIGIN = "a" * 16


def record(key: str, time: int, kind: str = MEMORY) -> Record:
    version = Version(time, ORIGIN)
    fields = {"namespace": "n", "title": key, "content": "c", "tier": "mid", "tags": [], "priority": 5, "metadata": {}}
    return Record.make(kind, key, version, version, fields)


async def put(store: MemoryStore, *records: Record) -> None:
    await store.write([take(each) for each in records])


async def in_the_store(store: MemoryStore, after: int) -> list[list[str]]:
    page = await store.changes(after, 1_000, 1 << 20)
    return [[*each.ref, *head_of(each)] for _, each in page.changes if not kind_of(each.kind).local]


async def test_it_tells_what_the_feed_of_the_store_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimem.mesh.tail.MESH_TAIL_HEADS", 4)
    store = MemoryStore()
    await put(store, record("before", 1))
    tail = Tail(store)
    tail.open()
    for time, key in enumerate("abcadef", 2):
        await put(store, record(key, time))
        for after in range(store.head + 2):
            told = tail.after(after)
            if told is None:
                assert after < tail.since or after > store.head
            else:
                assert [json.loads(each) for each in told] == await in_the_store(store, after)
    assert tail.after(store.head) == []
    assert tail.after(0) is None


async def test_it_knows_what_is_held_and_never_of_a_derived_record() -> None:
    store = MemoryStore()
    tail = Tail(store)
    tail.open()
    old, new, vector = record("a", 2), record("a", 3), record("a", 2, VECTOR)
    await put(store, old, vector)
    assert tail.holds(old.ref, head_of(old))
    assert not tail.holds(old.ref, head_of(new))
    assert not tail.holds(vector.ref, head_of(vector))
    await put(store, new)
    assert tail.holds(old.ref, head_of(old))
    assert not tail.holds(record("b", 1).ref, head_of(record("b", 1)))


async def test_a_page_longer_than_a_message_is_left_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimem.mesh.tail.MESH_PAGE_HEADS", 2)
    store = MemoryStore()
    tail = Tail(store)
    tail.open()
    await put(store, *(record(key, 2) for key in "abc"))
    assert tail.after(0) is None
    assert len(tail.after(1) or ()) == 2


async def test_a_tail_that_was_never_opened_knows_of_no_place() -> None:
    """A node without peers keeps none, and others may read its feed all the same."""
    store = MemoryStore()
    tail = Tail(store)
    assert tail.after(store.head) is None
    await put(store, record("a", 1))
    assert tail.after(0) is None
    assert tail.after(store.head) is None
