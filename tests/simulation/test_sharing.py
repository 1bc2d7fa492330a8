"""Fleets in which several nodes speak for one store."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from aimem.core.record import Ref
from aimem.core.timestamp import SECOND_NS
from aimem.errors import QuorumNotMet
from aimem.mesh.mesh import Mesh
from aimem.mesh.messages import ASK, FEED, HELLO, RECORDS, WITNESS
from tests.simulation.stories import DAY, fleet, ids_on, lasting, memory, run, up
from tests.simulation.world import World, caller, full

ONE = {"n0": "s", "n1": "s", "n2": "s"}
"""Three nodes on one store; whoever follows has its own."""


def shared(count: int = 3, **settings: Any) -> World:
    return fleet(count, store_of=ONE, **settings)


def watch(world: World) -> list[tuple[str, str, str]]:
    """Who from now on sends what to whom."""
    told: list[tuple[str, str, str]] = []
    call = world.network.call

    async def noted(source: str, target: str, path: str, *rest: Any) -> bytes:
        told.append((source, target, path))
        return await call(source, target, path, *rest)

    world.network.call = noted  # type: ignore[method-assign, assignment]
    return told


def mesh_of(world: World, name: str) -> Mesh:
    mesh = world.members[name].mesh
    assert mesh is not None
    return mesh


def test_three_nodes_on_one_store_acknowledge_by_reading_it_and_no_body_travels() -> None:
    async def story() -> None:
        world = await up(shared(writes=3))
        told = watch(world)
        made = await world.call("n0").create(memory("t"), caller())
        assert made.body["quorum_acks"] == 3
        assert made.body["quorum_stores"] == 1
        assert "ordered" not in made.body
        await asyncio.sleep(120)
        assert made.body["id"] in await ids_on(world, "n2")
        assert {path for *_, path in told} == {HELLO, WITNESS}

    run(story)


def test_a_node_on_the_store_that_is_down_does_not_acknowledge() -> None:
    async def story() -> None:
        world = await up(shared(writes=3))
        await world.crash("n2")
        with pytest.raises(QuorumNotMet) as missed:
            await world.call("n0").create(memory("t"), caller(key="k"))
        assert (missed.value.extra["got"], missed.value.extra["needed"]) == (2, 3)
        await up(world, "n2")
        again = await world.call("n1").create(memory("t"), caller(key="k"))
        assert again.replayed
        assert again.body["quorum_acks"] == 3

    run(story)


def test_a_node_that_cannot_read_the_store_does_not_acknowledge(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = await up(shared(writes=3))
        store = world.members["n1"].store
        assert store is not None

        async def nothing(refs: Any) -> list[None]:
            return [None for _ in refs]

        monkeypatch.setattr(store, "get", nothing)
        with pytest.raises(QuorumNotMet) as missed:
            await world.call("n0").create(memory("t"), caller())
        assert missed.value.extra["got"] == 2

    run(story)


def test_where_stores_count_nodes_on_one_store_are_not_enough() -> None:
    async def story() -> None:
        world = await up(shared(4, writes=2, stores_count=True))
        made = await world.call("n0").create(memory("t"), caller())
        assert made.body.get("quorum_stores", made.body["quorum_acks"]) == 2
        await world.crash("n3")
        with pytest.raises(QuorumNotMet) as missed:
            await world.call("n0").create(memory("u"), caller())
        assert missed.value.extra == {"got": 1, "needed": 2, "reason": "stores"}

    run(story)


def test_where_stores_count_and_there_is_but_one_every_write_is_refused_at_once() -> None:
    async def story() -> None:
        world = await up(shared(writes=2, stores_count=True))
        began = asyncio.get_running_loop().time()
        with pytest.raises(QuorumNotMet) as missed:
            await world.call("n0").create(memory("t"), caller())
        assert missed.value.extra["reason"] == "stores"
        assert asyncio.get_running_loop().time() - began < 0.5
        assert "quorum_short" in world.call("n0").health()["degraded"]

    run(story)


def test_only_nodes_outside_the_store_are_asked_before_a_write() -> None:
    async def story() -> None:
        world = await up(shared(4, writes=2))
        told = watch(world)
        made = await world.call("n3").create(memory("t"), caller())
        assert "ordered" not in made.body
        assert {source for source, _, path in told if path == ASK} == {"n3"}
        told.clear()
        await world.call("n0").update(made.body["id"], {"content": "d"}, caller())
        assert not [each for each in told if each[2] == ASK]  # any two of four hold one of the three

    run(story)


def test_a_shared_store_and_nodes_with_their_own_come_to_one_digest() -> None:
    async def story() -> None:
        world = await up(shared(5, writes=3, catchup_secs=5))
        told = watch(world)
        for name in world.up:
            for at in range(3):
                await world.call(name).create(memory(f"{name} {at}"), caller())
        await world.crash("n4")
        late = await world.call("n1").create(memory("late"), caller())
        await world.call("n3").delete(late.body["id"], None, caller())
        await world.start("n4")
        assert await world.converged(30)
        assert await ids_on(world, "n4") == await ids_on(world, "n1")
        assert not [each for each in told if {each[0], each[1]} <= ONE.keys() and each[2] in (FEED, RECORDS)]

    run(story)


def test_two_stores_one_per_site_come_to_one_digest_and_survive_the_loss_of_a_site() -> None:
    async def story() -> None:
        sites = {f"n{at}": "east" if at < 2 else "west" for at in range(4)}
        world = await up(fleet(4, store_of=sites, writes=2, stores_count=True, catchup_secs=5))
        made = await world.call("n0").create(memory("t"), caller())
        assert made.body.get("quorum_stores", made.body["quorum_acks"]) == 2
        for name in ("n0", "n1"):
            await world.crash(name)
        assert made.body["id"] in await ids_on(world, "n3")
        for name in ("n0", "n1"):
            await world.start(name)
        await asyncio.sleep(30)
        again = await world.call("n1").update(made.body["id"], {"content": "d"}, caller())
        assert again.body.get("quorum_stores", again.body["quorum_acks"]) == 2
        assert await world.converged(30)

    run(story)


def test_what_comes_in_by_one_node_goes_on_by_another_node_of_the_store() -> None:
    """a - (b, c on one store) - d, without an interval: d hears of it only by a poke."""

    async def story() -> None:
        graph = {"a": ["b"], "b": ["a", "c"], "c": ["b", "d"], "d": ["c"]}
        world = World(random.Random(1), graph, store_of={"b": "s", "c": "s"}, catchup_secs=0, writes=1)
        await up(world)
        made = await world.call("a").create(memory("t"), caller())
        other = await world.call("b").create(memory("u"), caller())
        await asyncio.sleep(2)
        assert {made.body["id"], other.body["id"]} <= await ids_on(world, "d")

    run(story)


def test_a_shared_store_is_one_elector() -> None:
    async def story() -> None:
        world = await up(fleet(5, store_of={**ONE, "n3": "t", "n4": "t"}))
        own, other = (world.members[name].store for name in ("n0", "n3"))
        assert own is not None
        assert other is not None
        assert mesh_of(world, "n0").electors() == (own.incarnation,)  # of two, one decides
        world = await up(shared(5))
        assert len(mesh_of(world, "n1").electors()) == 3

    run(story)


def test_tombstones_wait_for_nobody_on_the_same_store_and_only_once_for_another() -> None:
    async def story() -> None:
        world = await up(shared(4, writes=2, catchup_secs=20, tombstone_days=1, node={"tombstone_days": 1}))
        made = await world.call("n0").create(lasting("t"), caller())
        await asyncio.sleep(60)
        await world.crash("n1")
        await world.call("n0").delete(made.body["id"], None, caller())
        await asyncio.sleep(2 * DAY)
        for name in ("n0", "n3"):
            store = world.members[name].store
            assert store is not None
            assert (await store.get([Ref("memory", made.body["id"])]))[0] is None, name

    run(story)


def test_the_start_of_another_node_is_no_end_of_the_feed() -> None:
    """A cursor that one node of a store gave is good at the others, whoever came or went meanwhile."""

    async def story() -> None:
        world = await up(shared(4, writes=2, catchup_secs=3))
        store = world.members["n0"].store
        assert store is not None
        before = store.incarnation
        for at in range(4):
            await world.call("n0").create(memory(f"t{at}"), caller())
            await asyncio.sleep(7)
            await world.crash("n1")
            await world.start("n1")
        await asyncio.sleep(30)
        assert store.incarnation == before
        assert await world.converged(10)

    run(story)


def test_nodes_tell_who_shares_their_store() -> None:
    async def story() -> None:
        world = await up(shared(4, writes=3))
        told = mesh_of(world, "n0").describe()
        own = world.members["n0"].store
        assert own is not None
        assert told["stores"]["nodes"][own.incarnation] == ["n0", "n1", "n2"]
        assert {peer["node"]: peer["shares_store"] for peer in told["peers"]} == {"n1": True, "n2": True, "n3": False}
        assert any("--quorum-scope" in words for words in told["quorum"]["warnings"])

    run(story)


def test_full_meshes_of_the_simulator_have_stores_of_their_own() -> None:
    world = World(random.Random(1), full(2))
    assert len({id(member.disk) for member in world.members.values()}) == 2


def test_a_node_whose_clock_is_off_gets_no_acknowledgement_by_way_of_the_store() -> None:
    async def story() -> None:
        world = await up(shared(writes=2))
        world.members["n0"].offset = 200 * SECOND_NS
        with pytest.raises(QuorumNotMet) as missed:  # nobody has told it yet
            await world.call("n0").create(memory("t"), caller())
        assert missed.value.extra["reason"] == "clock_skew"

    run(story)


def test_a_node_whose_list_names_itself_and_its_store_alone_is_not_behind() -> None:
    """One list for all nodes holds each of them too. There is no feed that it could read to its end."""

    async def story() -> None:
        world = shared()
        urls = tuple(world.network.url_of(name) for name in world.members)
        for member in world.members.values():
            member.settings = replace(member.settings, peers=urls)
        await up(world)
        await asyncio.sleep(60)
        assert not any(mesh_of(world, name).envelope().behind for name in world.members)

    run(story)
