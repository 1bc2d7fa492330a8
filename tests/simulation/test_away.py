"""Stores that were away, set back, or are not what they were: nothing that was deleted comes back with them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aimem.core.record import Record, Ref
from aimem.core.taking import RESEED
from aimem.core.timestamp import SECOND_NS
from tests.simulation.stories import DAY, fleet, ids_on, lasting, memory, run, up
from tests.simulation.world import World, caller


async def _away_too_long() -> tuple[World, str, str]:
    """A memory is deleted and its tombstone swept, after n2 was copied. Its id, and that of one that stays."""
    world = await up(fleet(catchup_secs=600, tombstone_days=1, node={"tombstone_days": 1}))
    stays = await world.call("n0").create(memory("stays"), caller())
    goes = await world.call("n0").create(memory("goes"), caller())
    await asyncio.sleep(1_000)
    world.shelve("n2")
    await world.call("n0").delete(goes.body["id"], None, caller())
    await asyncio.sleep(3 * DAY)
    for name in ("n0", "n1"):
        store = world.members[name].store
        assert store is not None
        assert store.floor
        assert (await store.get([Ref("memory", goes.body["id"])]))[0] is None
    return world, goes.body["id"], stays.body["id"]


@pytest.mark.parametrize("seen", [True, False])
def test_hole_3_a_store_set_back_too_far_brings_nothing_deleted_back(seen: bool) -> None:
    async def story() -> None:
        world, goes, stays = await _away_too_long()
        await world.crash("n2")
        await world.replace_disk("n2", world.members["n2"].shelf, seen=seen)
        await world.start("n2")
        await asyncio.sleep(200)
        for name in world.up:
            found = await ids_on(world, name)
            assert goes not in found
            assert stays in found
        assert await world.converged(60)
        kept = await world.call("n2").quarantine({})
        assert [(row["key"], row["reason"]) for row in kept["quarantine"]] == [(goes, RESEED)]
        rescued = await world.call("n2").rescue({"all": True}, caller())
        assert rescued.body["rescued"] == 1
        assert await world.converged(60)
        assert goes in await ids_on(world, "n0")
        assert (await world.call("n2").quarantine({}))["count"] == 0

    run(story)


async def _held_by(world: World, name: str, key: str) -> Record | None:
    store = world.members[name].store
    assert store is not None
    return (await store.get([Ref("memory", key)]))[0]


def _holding_up(world: World, name: str) -> list[str]:
    mesh = world.members[name].mesh
    assert mesh is not None
    return [peer["node"] for peer in mesh.describe()["peers"] if peer["holds_up_sweeping"]]


async def _weeks_pass(world: World, weeks: int) -> None:
    """Time moves on by a week at once; then nodes that meet read each other, so none is behind, and keep house."""
    for _ in range(weeks):
        world.later += 7 * int(DAY) * SECOND_NS
        await asyncio.sleep(130)


def test_a_peer_that_does_not_come_back_holds_up_sweeping_for_a_year_and_brings_nothing_back_later() -> None:
    async def story() -> None:
        world = await up(fleet(catchup_secs=20))
        stays = (await world.call("n0").create(lasting("stays"), caller())).body["id"]
        goes = (await world.call("n0").create(lasting("goes"), caller())).body["id"]
        await asyncio.sleep(60)
        await world.crash("n2")
        await world.call("n0").delete(goes, None, caller())
        await _weeks_pass(world, 50)
        assert await _held_by(world, "n0", goes) is not None
        assert _holding_up(world, "n0") == ["n2"]
        await _weeks_pass(world, 4)
        assert await _held_by(world, "n0", goes) is None
        assert await _held_by(world, "n1", goes) is None
        assert _holding_up(world, "n0") == []
        await world.start("n2")
        await asyncio.sleep(200)
        assert await world.converged(60)
        assert await ids_on(world, "n0") == await ids_on(world, "n2") == {stays}
        assert [row["key"] for row in (await world.call("n2").quarantine({}))["quarantine"]] == [goes]

    run(story)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_side_that_was_split_off_for_more_than_a_year_brings_nothing_back(restarted: bool) -> None:
    """Neither side is behind: each reads the feed of somebody. But each has swept what the other has not read."""

    async def story() -> None:
        world = await up(fleet(4, writes=1, catchup_secs=20))
        goes = (await world.call("n0").create(lasting("goes"), caller())).body["id"]
        await asyncio.sleep(60)
        for one in ("n0", "n1"):
            for other in ("n2", "n3"):
                world.network.cut(one, other)
                world.network.cut(other, one)
        await world.call("n0").delete(goes, None, caller())
        await _weeks_pass(world, 54)
        late = (await world.call("n2").create(lasting("late"), caller())).body["id"]
        assert await _held_by(world, "n0", goes) is None
        if restarted:
            await world.crash("n0")
            await world.start("n0")
        world.network.heal()
        await asyncio.sleep(200)
        for name in ("n0", "n1"):
            assert await ids_on(world, name) == {late}
            kept = (await world.call(name).quarantine({}))["quarantine"]
            assert {(row["key"], row["reason"]) for row in kept} == {(goes, RESEED)}

    run(story)


def test_a_store_whose_past_is_not_what_peers_have_read_takes_a_new_incarnation() -> None:
    async def story() -> None:
        world = await up(fleet(writes=1))
        world.shelve("n0")
        made = [(await world.call("n0").create(memory(f"t{at}"), caller())).body["id"] for at in range(20)]
        await asyncio.sleep(40)
        store = world.members["n0"].store
        assert store is not None
        before = store.incarnation
        await world.crash("n0")
        await world.replace_disk("n0", world.members["n0"].shelf, seen=False)
        await world.start("n0")
        await asyncio.sleep(90)
        store = world.members["n0"].store
        assert store is not None
        assert store.incarnation != before
        assert await world.converged(60)
        assert set(made) <= await ids_on(world, "n0")

    run(story)


def test_a_peer_that_was_off_the_list_for_a_while_brings_nothing_back() -> None:
    """Nobody waits for it, and it says of itself that it is not behind: it reads the feed of one that is new."""

    async def story() -> None:
        world = await up(fleet(4, writes=1, catchup_secs=20), "n0", "n1", "n2")
        lists = {name: member.settings for name, member in world.members.items()}
        goes = (await world.call("n0").create(lasting("goes"), caller())).body["id"]
        await asyncio.sleep(60)
        for name in ("n0", "n1", "n2"):
            await world.crash(name)
        for name, peers in {"n0": ["n1"], "n1": ["n0"], "n2": ["n3"], "n3": ["n2"]}.items():
            urls = tuple(world.network.url_of(peer) for peer in peers)
            world.members[name].settings = replace(lists[name], peers=urls)
            await world.start(name)
        await asyncio.sleep(60)
        await world.call("n0").delete(goes, None, caller())
        await _weeks_pass(world, 6)
        assert await _held_by(world, "n0", goes) is None
        for name in world.members:
            await world.crash(name)
            world.members[name].settings = lists[name]
        for name in world.members:
            await world.start(name)
        await asyncio.sleep(400)
        for name in ("n0", "n1"):
            assert goes not in await ids_on(world, name)

    run(story)


async def _alone_joins(had_peers: bool) -> tuple[World, str, str]:
    """A store with an old memory joins a fleet that has swept tombstones since. Ids of its memory and of theirs."""
    world = fleet(3, catchup_secs=20, tombstone_days=1, node={"tombstone_days": 1})
    lists = {name: member.settings for name, member in world.members.items()}
    for name, peers in {"n0": ["n1"], "n1": ["n0"], "n2": ["n1"] if had_peers else []}.items():
        urls = tuple(world.network.url_of(peer) for peer in peers)
        world.members[name].settings = replace(lists[name], peers=urls, writes=1)
    await up(world, "n0", "n1", "n2")
    await asyncio.sleep(30)
    if had_peers:
        for one, other in (("n2", "n1"), ("n1", "n2")):
            world.network.cut(one, other)
    own = (await world.call("n2").create(lasting("own"), caller())).body["id"]
    theirs = (await world.call("n0").create(lasting("theirs"), caller())).body["id"]
    goes = (await world.call("n0").create(lasting("goes"), caller())).body["id"]
    await asyncio.sleep(60)
    await world.call("n0").delete(goes, None, caller())
    await _weeks_pass(world, 2)
    assert await _held_by(world, "n0", goes) is None
    for name in world.members:
        await world.crash(name)
        world.members[name].settings = lists[name]
    world.network.heal()
    for name in world.members:
        await world.start(name)
    await asyncio.sleep(200)
    return world, own, theirs


def test_a_store_that_never_had_a_peer_keeps_what_it_held_alone() -> None:
    async def story() -> None:
        world, own, theirs = await _alone_joins(had_peers=False)
        assert await world.converged(60)
        for name in world.up:
            assert await ids_on(world, name) == {own, theirs}, name
            assert (await world.call(name).quarantine({}))["count"] == 0

    run(story)


def test_a_store_that_had_a_peer_waits_for_an_operator_with_it() -> None:
    async def story() -> None:
        world, own, theirs = await _alone_joins(had_peers=True)
        assert await world.converged(60)
        assert await ids_on(world, "n2") == {theirs}
        assert [row["key"] for row in (await world.call("n2").quarantine({}))["quarantine"]] == [own]

    run(story)
