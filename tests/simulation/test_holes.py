"""How the existing system's mesh fails, one test for each hole that no other test has: here it does not.

The numbers are those of the list of its faults that this project keeps; `grep -r "HOLE 7"` finds the test of one.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from aimem.core.kinds import TOUCH
from aimem.limits import BODY_BYTES_MAX
from aimem.mesh.messages import DIGEST, FEED, RECORDS
from tests.simulation.stories import fleet, ids_on, lasting, memory, run, up
from tests.simulation.world import World, caller

PAIR = ("n0", "n1")


def only_by_feed(world: World, *sources: str) -> None:
    """What these nodes hold is not pushed and not compared by digests: who has it has read it from their feed."""
    call = world.network.call

    async def limited(source: str, target: str, path: str, body: bytes, timeout: float) -> bytes:
        if (path == RECORDS and source in sources) or path == DIGEST:
            await asyncio.Event().wait()
        return await call(source, target, path, body, timeout)

    world.network.call = limited  # type: ignore[method-assign]


def part(world: World) -> None:
    """Cut the link between the two nodes."""
    world.network.cut(*PAIR)
    world.network.cut(*reversed(PAIR))


async def on(world: World, name: str, memory_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await world.call(name).get(memory_id))["memory"]
    return found


def test_hole_4_one_pair_made_on_both_sides_of_a_split_is_one_memory() -> None:
    """HOLE 4: it has one id everywhere, and a delete by that id is a delete everywhere."""

    async def story() -> None:
        world = await up(fleet(2, writes=1))
        part(world)
        made = [await world.call(name).create(memory("t", f"by {name}"), caller(f"ai:{name}")) for name in PAIR]
        world.network.heal()
        await asyncio.sleep(60)
        assert await world.converged(60)
        assert made[0].body["id"] == made[1].body["id"]
        assert (await on(world, "n0", made[0].body["id"]))["content"] == "by n1"
        await world.call("n0").delete(made[0].body["id"], None, caller())
        await asyncio.sleep(2)
        assert await ids_on(world, "n1") == set()

    run(story)


def test_hole_5_what_was_lowered_or_cleared_is_so_everywhere() -> None:
    """HOLE 5: priority, confidence, tags and the end of a life, while the other node is away."""

    async def story() -> None:
        world = await up(fleet(2, writes=1))
        high = {**memory("t"), "priority": 9, "confidence": 0.9, "tags": ["a"], "ttl_secs": 900_000}
        made = (await world.call("n0").create(high, caller())).body["id"]
        await asyncio.sleep(2)
        part(world)
        low = {"priority": 2, "confidence": 0.1, "tags": [], "expires_at": ""}
        await world.call("n0").update(made, low, caller())
        world.network.heal()
        await asyncio.sleep(60)
        held = await on(world, "n1", made)
        assert (held["priority"], held["confidence"], held["tags"]) == (2, 0.1, [])
        assert held.get("expires_at") is None
        assert await world.converged(60)

    run(story)


def test_hole_7_what_was_read_of_a_peer_goes_by_the_node_and_not_by_its_place_in_the_list() -> None:
    """HOLE 7: the list is turned around and a new peer put first; nothing is skipped, though the feed of one peer was
    read much further than that of the other goes."""

    async def story() -> None:
        world = await up(fleet(4, writes=1), "n0", "n1")
        early = (await world.call("n1").create(lasting("early"), caller())).body["id"]
        for at in range(30):
            await world.call("n1").update(early, {"content": f"{at}"}, caller())
        await asyncio.sleep(60)
        await world.crash("n0")
        await up(world, "n2")
        await asyncio.sleep(60)
        only_by_feed(world, "n1", "n2")
        late = (await world.call("n2").create(lasting("late"), caller())).body["id"]
        member = world.members["n0"]
        member.settings = replace(member.settings, peers=tuple(reversed(member.settings.peers)))
        await world.crash("n1")
        await up(world, "n0", "n3")
        await asyncio.sleep(60)
        assert await ids_on(world, "n0") == await ids_on(world, "n3") == {early, late}

    run(story)


def test_hole_8_a_push_to_a_peer_does_not_hide_what_that_held_before() -> None:
    """HOLE 8: the peer held older rows, and hears of newer ones before its own are read."""

    async def story() -> None:
        world = await up(fleet(2, writes=1))
        call = world.network.call
        feeds = asyncio.Event()

        async def late_feeds(source: str, target: str, path: str, body: bytes, timeout: float) -> bytes:
            if path == FEED:
                await feeds.wait()
            return await call(source, target, path, body, timeout)

        world.network.call = late_feeds  # type: ignore[method-assign]
        only_by_feed(world, "n1")
        before = (await world.call("n1").create(lasting("before"), caller())).body["id"]
        pushed = (await world.call("n0").create(lasting("pushed"), caller())).body["id"]
        await asyncio.sleep(30)
        assert pushed in await ids_on(world, "n1")
        assert before not in await ids_on(world, "n0")
        feeds.set()
        await asyncio.sleep(60)
        assert await ids_on(world, "n0") == {before, pushed}

    run(story)


def test_hole_9_no_message_is_longer_than_a_body_however_long_the_rows() -> None:
    """HOLE 9: two hundred of the longest memories reach a node that was away, by push and by catch-up."""

    async def story() -> None:
        world = await up(fleet(2, writes=1))
        sizes: list[int] = []
        call = world.network.call

        async def weighed(source: str, target: str, path: str, body: bytes, timeout: float) -> bytes:
            reply = await call(source, target, path, body, timeout)
            sizes.extend((len(body), len(reply)))
            return reply

        world.network.call = weighed  # type: ignore[method-assign]
        await world.crash("n1")
        rows = [memory(f"t{at}", "é" * 30_000) for at in range(200)]
        for at in range(0, 200, 25):
            await world.call("n0").bulk(rows[at : at + 25], caller())
        await up(world, "n1")
        await world.call("n0").bulk([memory(f"more {at}", "é" * 30_000) for at in range(30)], caller())
        assert await world.converged(120)
        assert max(sizes) > BODY_BYTES_MAX // 4
        assert max(sizes) < BODY_BYTES_MAX

    run(story)


def test_hole_15_a_memory_that_was_used_on_one_node_lives_on_on_the_other() -> None:
    """HOLE 15: neither ends it, and neither brings back what both have ended."""

    async def story() -> None:
        world = await up(fleet(2, writes=1, catchup_secs=20))
        used = (await world.call("n0").create({**memory("used"), "ttl_secs": 20_000}, caller())).body["id"]
        idle = (await world.call("n0").create({**memory("idle"), "ttl_secs": 20_000}, caller())).body["id"]
        await asyncio.sleep(10_000)
        await world.call("n1").recall({"context": "used"}, caller())
        await asyncio.sleep(60)
        store = world.members["n0"].store
        assert store is not None
        assert [each.kind for each in (row.record for row in store._state.rows.values()) if each.kind == TOUCH]
        await asyncio.sleep(20_000)
        for name in PAIR:
            assert await ids_on(world, name) == {used}
        assert await world.converged(60)
        assert idle not in await ids_on(world, "n1")

    run(story)


def test_hole_22_rows_that_a_peer_may_not_have_do_not_hold_up_those_that_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HOLE 22: whole pages of a feed are of other namespaces; the reader goes on behind them."""
    for module in ("pulling", "showing"):
        monkeypatch.setattr(f"aimem.mesh.{module}.MESH_PAGE_HEADS", 5)

    async def story() -> None:
        def carries_of(node: str) -> Any:
            return (lambda namespace: namespace == "eu") if node == "n1" else None

        world = await up(fleet(2, writes=1, catchup_secs=600, carries_of=carries_of))
        only_by_feed(world, "n0")
        await world.crash("n1")
        await world.call("n0").bulk([memory(f"foreign {at}") for at in range(500)], caller())
        mine = (await world.call("n0").create({**memory("mine"), "namespace": "eu"}, caller())).body["id"]
        await world.start("n1")
        await asyncio.sleep(10)
        assert await ids_on(world, "n1") == {mine}

    run(story)
