"""Expiry and the sweep: ended after the grace, kept as configured, bounded, counted."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.errors import DiskFull, NotFound
from aimem.node import housekeeping
from aimem.node.node import Node
from tests.node.conftest import Clock, Faulty, Open, caller


async def store(node: Node, title: str = "tea", **more: Any) -> str:
    answer = await node.create({"title": title, "content": "without sugar", **more}, caller())
    memory_id: str = answer.body["id"]
    return memory_id


def counted(node: Node, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    (metric,) = [each for each in node.metrics() if each.name == name]
    return {sample.labels: sample.value for sample in metric.samples()}


async def bodies(node: Node) -> dict[str, dict[str, Any]]:
    changes = (await node.changes({"kinds": "memory"}))["changes"]
    return {change["key"]: change for change in changes}


async def test_a_memory_ends_a_grace_after_it_expired(open_node: Open, clock: Clock) -> None:
    node = await open_node(collect_grace_secs=600)
    memory_id = await store(node, ttl_secs=60)
    clock.forward(seconds=120)
    await node.housekeeping.round()
    assert (await node.get(memory_id))["title"] == "tea"  # by its id it is found until then
    clock.forward(seconds=600)
    await node.housekeeping.round()
    with pytest.raises(NotFound):
        await node.get(memory_id)
    change = (await bodies(node))[memory_id]
    assert (change["deleted"], change["body"]["archived"]["reason"]) == (False, "ttl_expired")
    assert counted(node, "aimem_expired_total") == {(): 1}
    assert counted(node, "ai_memory_memories") == {(): 0}


async def test_without_an_archive_a_tombstone_is_left(open_node: Open, clock: Clock) -> None:
    node = await open_node(archive_on_gc=False)
    memory_id = await store(node, ttl_secs=60)
    clock.forward(days=1)
    await node.housekeeping.round()
    assert (await bodies(node))[memory_id]["deleted"]


async def test_an_extended_or_long_memory_does_not_end(node: Node, clock: Clock) -> None:
    extended, long = await store(node), await store(node, "other", tier="long")
    clock.forward(days=6.9)
    await node.recall({"context": "tea"}, caller())
    await node.touching.fold()
    clock.forward(days=0.5)
    await node.housekeeping.round()
    assert (await node.get(extended))["tier"] == "mid"
    clock.forward(days=400)
    await node.housekeeping.round()
    assert (await node.get(long))["tier"] == "long"
    with pytest.raises(NotFound):
        await node.get(extended)


async def test_a_memory_made_long_by_an_update_never_ends(node: Node, clock: Clock) -> None:
    memory_id = await store(node)
    updated = await node.update(memory_id, {"tier": "long"}, caller())
    assert "expires_at" not in updated.body
    clock.forward(days=400)
    await node.housekeeping.round()
    assert (await node.get(memory_id))["tier"] == "long"


@pytest.mark.parametrize("kind_of_store", ["sqlite"], indirect=True)  # the other has no fsyncs to count
async def test_a_round_is_many_small_writes_and_bounded(
    node: Node, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "HOUSEKEEPING_BATCH", 2)
    monkeypatch.setattr(housekeeping, "HOUSEKEEPING_BATCHES_MAX", 3)
    for number in range(9):
        await store(node, f"tea {number}", ttl_secs=60)
    clock.forward(days=1)
    fsyncs = counted(node, "aimem_fsyncs_total")[()]
    await node.housekeeping.round()
    assert counted(node, "aimem_expired_total") == {(): 6}
    assert counted(node, "aimem_fsyncs_total")[()] - fsyncs >= 3
    await node.housekeeping.round()
    assert counted(node, "aimem_expired_total") == {(): 9}


async def test_a_tombstone_is_swept_after_its_days_and_raises_the_floor(open_node: Open, clock: Clock) -> None:
    node = await open_node(tombstone_days=2)
    memory_id = await store(node)
    await node.delete(memory_id, None, caller())
    clock.forward(days=1.9)
    await node.housekeeping.round()
    assert memory_id in await bodies(node)
    assert (await node.status())["floor"] is None
    clock.forward(days=0.2)
    await node.housekeeping.round()
    assert memory_id not in await bodies(node)
    assert (await node.status())["floor"] is not None
    assert counted(node, "aimem_swept_total")[(("what", "tombstones"),)] == 1
    assert await node.check() == []


async def test_a_node_whose_disk_was_full_recovers_by_itself(faulty_node: Node, faulty: Faulty) -> None:
    await store(faulty_node)
    faulty.fault = DiskFull("no room left")
    with pytest.raises(DiskFull):
        await store(faulty_node, "more")
    assert faulty_node.health()["degraded"] == ["disk_full"]
    assert (await faulty_node.recall({"context": "tea"}, caller()))["count"] == 1
    with pytest.raises(DiskFull):
        await faulty_node.housekeeping.round()
    assert faulty_node.health()["degraded"] == ["disk_full"]
    faulty.fault = None
    await faulty_node.housekeeping.round()
    assert faulty_node.health()["degraded"] == []
