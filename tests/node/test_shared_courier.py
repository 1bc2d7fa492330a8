"""Events of every kind from nodes over one PostgreSQL: told in order, and none is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from aimem.core.events import ASKED, CONSOLIDATED, DELETED, EVENTS, LINKED, PROMOTED, STORED, UNLINKED
from aimem.core.kinds import EVENT
from aimem.core.record import Record
from aimem.core.version import Version
from aimem.node.node import Node
from aimem.node.settings import KEYWORD, NodeSettings
from aimem.store.base import Change
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.url import read_target
from tests.hooks import Hooks, receiving
from tests.node.conftest import caller
from tests.node.test_courier import settled, store, subscribe
from tests.waiting import until


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with receiving() as made:
        yield made


@pytest.fixture
async def nodes(database: Callable[[], str], tmp_path: Path) -> AsyncIterator[list[Node]]:
    """Two nodes over one database."""
    url = database()
    async with AsyncExitStack() as closing:
        made = []
        for _ in range(2):
            opened = await open_store(read_target(url))
            made.append(await Node.open(NodeSettings(tmp_path / "unused.db", KEYWORD), store=opened))
            closing.push_async_callback(made[-1].close)
        yield made


async def test_every_kind_of_event_is_told_and_in_order(nodes: list[Node], hooks: Hooks) -> None:
    first, second = nodes
    await subscribe(first, hooks.url, secret="a-long-secret")
    await until(lambda: bool(second.subscribers.listening))  # writes of either are told from here on
    one, two = await store(first, "one"), await store(second, "two")
    await second.update(one, {"content": "new"}, caller())
    await first.promote(one, caller())
    link = {"source_id": one, "target_id": two, "relation": "supersedes"}
    await second.link(link, caller())
    await first.invalidate_link(link, caller())
    await second.delete(one, None, caller())
    three = await store(first, "three")
    merged = {"ids": [two, three], "title": "both", "summary": "s", "namespace": "t"}
    both = str((await second.consolidate(merged, caller())).body["id"])
    await first.set_standard({"governance": {"write": "approve"}}, caller("ai:boss"), "g")
    parked = await first.create({"title": "x", "content": "c", "namespace": "g"}, caller("ai:asker"))
    assert parked.status == 202
    done = await first.approve(parked.body["pending_id"], caller("ai:boss"))
    assert done.status == 200
    await settled(first)

    told: dict[str, list[str]] = defaultdict(list)
    for each in {each.body["event_id"]: each.body for each in hooks.told}.values():
        told[each.get("pending_id") or each["memory_id"]].append(each["event"])
    assert told[one] == [STORED, STORED, PROMOTED, LINKED, UNLINKED, DELETED]
    assert told[both] == [CONSOLIDATED]
    assert told[parked.body["pending_id"]] == [ASKED]
    assert told[done.body["memory_id"]] == [STORED]
    assert {event for events in told.values() for event in events} == set(EVENTS), "a kind was not tried"


async def test_what_another_node_told_waits_no_longer_here(nodes: list[Node]) -> None:
    """Of a change by another node it is known that something stood there, not what."""
    courier, version = nodes[0].courier, Version(1, "o" * 16)
    events = [Record.make(EVENT, f"memory/{name}/1", version, version, {"to": ["s", "t"]}) for name in "ab"]
    courier._changed([Change(at, at, each, None, False) for at, each in enumerate(events, 1)])
    assert len(courier._receivers["s"]) == 2
    stub = Record(EVENT, events[0].key, version, version, b"{}")
    later = Version(2, "p" * 16)
    told = Record.make(EVENT, events[0].key, later, version, {"to": ["s", "t"], "done": ["s"]})
    gone = Record.make(EVENT, events[1].key, later, version, {}, deleted=True)
    courier._changed([Change(3, 1, told, stub, False), Change(4, 2, gone, stub, False)])
    assert [len(courier._receivers[each]) for each in "st"] == [0, 1]
