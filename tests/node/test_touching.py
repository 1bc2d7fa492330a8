"""Touches: counted at once, written later, never shortening a life, never lost by a clean end."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.core.timestamp import parse_timestamp
from aimem.errors import DiskFull
from aimem.node import touching
from aimem.node.node import Node
from tests.node.conftest import Clock, Faulty, Open, caller
from tests.waiting import until

DAY = 86_400 * 10**9


async def store(node: Node, **more: Any) -> str:
    answer = await node.create({"title": "tea", "content": "without sugar", **more}, caller())
    memory_id: str = answer.body["id"]
    return memory_id


async def recall(node: Node, times: int = 1) -> None:
    for _ in range(times):
        reply = await node.recall({"context": "tea"}, caller())
        assert reply["count"] == 1


async def test_a_recall_counts_right_away_and_the_same_after_it_is_written(node: Node, clock: Clock) -> None:
    memory_id = await store(node)
    assert "last_accessed_at" not in await node.get(memory_id)
    clock.forward(seconds=5)
    await recall(node, 2)
    before = await node.get(memory_id)
    assert before["access_count"] == 2
    assert parse_timestamp(before["last_accessed_at"]) == clock.now
    await node.touching.fold()
    assert await node.get(memory_id) == before
    await recall(node)
    assert (await node.get(memory_id))["access_count"] == 3
    assert (await node.list({}))["memories"][0]["access_count"] == 3


async def test_recalling_writes_nothing_on_its_own_path(node: Node) -> None:
    """B-22."""
    await store(node)
    head = node.digest()["head"]
    await recall(node, 3)
    assert node.digest()["head"] == head


async def test_a_recall_never_shortens_a_life_and_extends_one_near_its_end(node: Node, clock: Clock) -> None:
    memory_id = await store(node)
    first = (await node.get(memory_id))["expires_at"]
    await recall(node)
    assert (await node.get(memory_id))["expires_at"] == first
    await node.touching.fold()
    assert (await node.get(memory_id))["expires_at"] == first
    clock.forward(days=6.5)
    await recall(node)
    extended = (await node.get(memory_id))["expires_at"]
    assert parse_timestamp(extended) == clock.now + DAY
    await node.touching.fold()
    assert (await node.get(memory_id))["expires_at"] == extended


async def test_an_extended_memory_is_found_past_its_first_end(node: Node, clock: Clock) -> None:
    await store(node)
    clock.forward(days=6.5)
    await recall(node)
    await node.touching.fold()
    clock.forward(days=0.9)
    await recall(node)


async def test_five_recalls_make_a_mid_memory_long(node: Node) -> None:
    memory_id = await store(node)
    await recall(node, 4)
    assert (await node.get(memory_id))["tier"] == "mid"
    await recall(node)
    before = await node.get(memory_id)
    assert before["tier"] == "long"
    assert "expires_at" not in before
    await node.touching.fold()
    assert await node.get(memory_id) == before


async def test_recalls_on_both_sides_of_a_write_add_up_to_a_promotion(node: Node) -> None:
    memory_id = await store(node)
    await recall(node, 3)
    await node.touching.fold()
    await recall(node, 2)
    await node.touching.fold()
    assert (await node.get(memory_id))["tier"] == "long"


async def test_a_short_memory_stays_short(node: Node) -> None:
    memory_id = await store(node, tier="short")
    await recall(node, 12)
    await node.touching.fold()
    assert ((await node.get(memory_id))["tier"], (await node.get(memory_id))["access_count"]) == ("short", 12)


async def test_a_version_that_a_recall_promoted_is_no_conflict(node: Node) -> None:
    memory_id = await store(node)
    await recall(node, 5)
    shown = (await node.get(memory_id))["version"]
    assert (await node.update(memory_id, {"priority": 2}, caller(expected=shown))).body["tier"] == "long"


async def test_touches_belong_to_one_birth(node: Node) -> None:
    memory_id = await store(node)
    await recall(node, 3)
    await node.delete(memory_id, None, caller())
    assert await store(node) == memory_id
    await node.touching.fold()
    assert (await node.get(memory_id))["access_count"] == 0


async def test_closing_writes_what_was_gathered(open_node: Open) -> None:
    node = await open_node()
    memory_id = await store(node)
    await recall(node)
    await node.close()
    assert (await (await open_node()).get(memory_id))["access_count"] == 1


async def test_what_a_full_disk_does_not_take_is_kept_for_later(faulty_node: Node, faulty: Faulty) -> None:
    memory_id = await store(faulty_node)
    await recall(faulty_node, 2)
    faulty.fault = DiskFull("no room")
    with pytest.raises(DiskFull):
        await faulty_node.touching.fold()
    await recall(faulty_node)
    assert (await faulty_node.get(memory_id))["access_count"] == 3
    faulty.fault = None
    await faulty_node.touching.fold()
    assert (await faulty_node.get(memory_id))["access_count"] == 3


async def test_what_is_gathered_is_bounded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touching, "TOUCHES_WAITING_MAX", 2)
    for number in range(4):
        await node.create({"title": f"tea {number}", "content": "hot"}, caller())
    assert (await node.recall({"context": "tea"}, caller()))["count"] == 4
    counts = {metric.name: list(metric.samples()) for metric in node.metrics()}
    assert counts["aimem_touches_dropped_total"][0].value == 2
    # Being full it folds at once, and what is read meanwhile may miss what is being written.
    await until(lambda: not (node.touching._gathered or node.touching._folding))
    assert sum(memory["access_count"] for memory in (await node.list({}))["memories"]) == 2
