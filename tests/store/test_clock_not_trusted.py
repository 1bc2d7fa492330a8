"""Law 7 on one node: order never comes from the wall clock alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aimem.core import writes
from aimem.core.intent import Intent
from aimem.core.memory import clean_create
from aimem.core.version import Version
from aimem.store.base import Written
from aimem.store.sqlite.store import SqliteStore, open_sqlite

YEAR = 365 * 86_400 * 10**9
NOW = 60 * YEAR


class Clock:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def storing(content: str, now: int) -> Intent:
    raw: dict[str, Any] = {"title": "one", "content": content, "tier": "long"}
    return writes.create(clean_create(raw, now, anonymous="anonymous:test"))


async def put(store: SqliteStore, content: str) -> Version:
    (outcome,) = await store.write([storing(content, NOW)])
    assert isinstance(outcome, Written)
    version: Version = outcome.reply.record.version
    return version


async def content(store: SqliteStore, memory_id: str) -> str:
    (memory,) = await store.memories([memory_id])
    assert memory is not None
    text: str = memory.record.body["content"]
    return text


async def test_a_clock_set_back_while_running_orders_nothing_before_what_was_written(tmp_path: Path) -> None:
    clock = Clock()
    store = await open_sqlite(tmp_path / "a.db", now=clock)
    first = await put(store, "first")
    clock.now -= YEAR
    second = await put(store, "second")
    third = await put(store, "third")
    assert first < second < third
    assert second.time == first.time + 1
    await store.close()


async def test_a_clock_set_back_while_the_node_was_down_orders_nothing_before_what_is_stored(tmp_path: Path) -> None:
    clock = Clock()
    store = await open_sqlite(tmp_path / "a.db", now=clock)
    first = await put(store, "first")
    await store.close()
    clock.now -= YEAR
    store = await open_sqlite(tmp_path / "a.db", now=clock)
    (outcome,) = await store.write([storing("second", NOW - YEAR)])
    assert isinstance(outcome, Written)
    assert outcome.reply.record.version > first
    assert await content(store, outcome.reply.record.key) == "second"
    await store.close()


async def test_two_writes_at_one_reading_of_the_clock_have_an_order(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "a.db", now=Clock())
    outcomes = await store.write([storing("a", NOW), storing("b", NOW), storing("c", NOW)])
    versions = [outcome.reply.record.version for outcome in outcomes if isinstance(outcome, Written)]
    assert versions == sorted(set(versions))
    assert len(versions) == 3
    await store.close()
