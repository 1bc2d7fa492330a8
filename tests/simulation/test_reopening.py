"""Actions whose electors are gone for good: an operator ends the wait, and they come to one end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from aimem.core.consensus import ACCEPT, Ballot, elect
from aimem.core.deciding import electors_of_pending
from aimem.core.kinds import ACCEPTOR, PENDING
from aimem.core.record import Ref
from aimem.core.timestamp import SECOND_NS
from aimem.core.version import Version
from aimem.errors import AimemError, Busy, ClockSkewed, Conflict, Denied, NotFound
from tests.simulation.stories import run
from tests.simulation.test_deciding import decisions, fleet, governed, park, settled, titles
from tests.simulation.world import World, caller, full

OPS = caller("boss")
"""Who set the policy, and so owns the rules."""


async def lose(world: World, *names: str) -> list[str]:
    """The stores of these nodes are lost, and their machines replaced: the incarnations that are gone."""
    gone = [str(world.incarnation(name)) for name in names]
    for name in names:
        world.shelve(name)
        await world.crash(name)
        await world.replace_disk(name, None, seen=True)
    for name in names:
        await world.start(name)
    await asyncio.sleep(5)
    return gone


async def bring_back(world: World, *names: str) -> None:
    """The stores that were lost are found, and are as they were."""
    for name in names:
        await world.crash(name)
        await world.replace_disk(name, world.members[name].shelf, seen=False)
    for name in names:
        await world.start(name)


async def hung(world: World, *, votes: bool = True) -> tuple[str, list[str]]:
    """An action that has its vote and can't be decided: all of its electors but n0 are gone for good."""
    pending = await park(world)
    await asyncio.sleep(3)
    lost = await lose(world, *[name for name in world.members if name != "n0"])
    if votes:
        answer = await world.call("n0").approve(pending, caller("ai:a"))
        assert (answer.status, answer.body["status"]) == (202, "pending")
    return pending, lost


def lost_ones(lost: list[str]) -> dict[str, Any]:
    return {"lost": lost}


def test_an_action_whose_electors_are_gone_is_parked_anew_and_decided_once() -> None:
    async def story() -> None:
        world = await governed(fleet(3), count=1)
        pending, lost = await hung(world)
        shown = await world.call("n0").pending_action(pending, caller("ai:asker"))
        assert (shown["waits_for"], sorted(shown["silent"])) == ("a majority of its electors", sorted(lost))
        with pytest.raises(Busy) as refused:
            await world.call("n1").reopen(pending, None, OPS)
        assert sorted(refused.value.extra["silent"]) == sorted(lost)
        answer = await world.call("n1").reopen(pending, lost_ones(lost), OPS)
        assert (answer.status, answer.body["outcome"], answer.body["decided_by"]) == (200, "reopened", "boss")
        again = answer.body["pending_id"]
        assert len(answer.body["electors"]) == 3
        assert not set(answer.body["electors"]) & set(lost)
        assert "lost electors" in answer.body["not_ruled_out"][0]
        assert (await settled(world, pending)).body["outcome"] == "reopened"
        with pytest.raises(Conflict) as moved:
            await world.call("n2").approve(pending, caller("ai:b"))
        assert moved.value.extra["pending_id"] == again
        assert (await world.call("n2").approve(again, caller("ai:b"))).body["executed"]
        assert (await settled(world, again)).body["outcome"] == "approved"
        assert await world.converged(60)
        assert {len(await titles(world, name)) for name in world.up} == {1}
        first = await world.call("n1").pending_action(pending, OPS)
        second = await world.call("n1").pending_action(again, OPS)
        assert (first["status"], first["reopened_as"], second["reopened_from"]) == ("reopened", again, pending)

    run(story)


def test_electors_that_come_back_find_that_it_was_reopened() -> None:
    """They hold the votes and are a majority; what they would agree upon must not stand beside the other end."""

    async def story() -> None:
        world = await governed(fleet(5, writes=2), count=1)
        pending = await park(world)
        await asyncio.sleep(3)
        for one in world.members:  # no proposal gets a majority while the vote spreads
            for other in world.members:
                world.network.cut(one, other)
        for name in world.members:
            with suppress(AimemError):
                await world.call(name).approve(pending, caller("ai:a"))
        assert decisions(world, pending) == {}
        lost = await lose(world, "n2", "n3", "n4")
        world.network.heal()
        await asyncio.sleep(40)
        assert decisions(world, pending) == {}, "two of five electors are left"
        answer = await world.call("n0").reopen(pending, lost_ones(lost), OPS)
        again = answer.body["pending_id"]
        assert (await world.call("n1").approve(again, caller("ai:b"))).status == 200
        for name in ("n2", "n3", "n4"):
            for other in ("n0", "n1"):
                world.network.cut(name, other)
                world.network.cut(other, name)
        await bring_back(world, "n2", "n3", "n4")
        await asyncio.sleep(30)
        assert set(decisions(world, pending)) == {"n0", "n1"}, "they ask more nodes than they are"
        world.network.heal()
        assert (await settled(world, pending)).body["outcome"] == "reopened"
        assert await world.converged(60)
        assert {len(await titles(world, name)) for name in world.up} == {1}

    run(story)


async def accepted(world: World, pending: str, at: Callable[[int], int]) -> None:
    """The elector n0 has accepted that an action is approved, with a version of this time (ns; `at` gets its clock)."""
    store = world.members["n0"].store
    assert store is not None
    version = str(Version(at(store.clock), "b" * 16))
    value = {"outcome": "approved", "decided_by": "ai:a", "decided_at": 1, "records": [], "version": version}
    await store.write([elect(pending, ACCEPT, Ballot(9, "b" * 16), value)])


def test_what_an_elector_that_is_left_had_accepted_is_finished() -> None:
    async def story() -> None:
        world = await governed(fleet(3), count=1)
        pending = await park(world)
        await asyncio.sleep(3)
        await accepted(world, pending, lambda clock: 1)
        lost = await lose(world, "n1", "n2")
        answer = await world.call("n1").reopen(pending, lost_ones(lost), OPS)
        assert (answer.body["outcome"], answer.body["decided_by"]) == ("approved", "ai:a")
        assert "pending_id" not in answer.body
        assert (await settled(world, pending)).body["outcome"] == "approved"

    run(story)


def test_an_accepted_end_that_lies_far_ahead_waits_for_the_clocks_and_says_so() -> None:
    async def story() -> None:
        world = await governed(fleet(3), count=1)
        pending = await park(world)
        await asyncio.sleep(3)
        await accepted(world, pending, lambda clock: clock + 3600 * SECOND_NS)
        lost = await lose(world, "n1", "n2")
        with pytest.raises(ClockSkewed) as refused:
            await world.call("n1").reopen(pending, lost_ones(lost), OPS)
        assert "elector" in refused.value.message
        assert decisions(world, pending) == {}

    run(story)


def test_a_decision_that_some_node_knows_is_found() -> None:
    async def story() -> None:
        world = await governed(World(random.Random(1), full(4), writes=2), count=1)
        pending = await park(world)
        assert (await world.call("n0").approve(pending, caller("ai:a"))).status == 200
        await settled(world, pending)
        answer = await world.call("n3").reopen(pending, lost_ones(["whoever"]), OPS)
        assert (answer.status, answer.body["outcome"], answer.replayed) == (200, "approved", True)

    run(story)


@pytest.mark.parametrize("seed", range(30))
def test_operators_on_two_nodes_reopen_it_once(seed: int) -> None:
    async def story() -> None:
        chance = random.Random(seed)
        world = await governed(World(chance, full(5), writes=2), count=1)
        pending = await park(world)
        await asyncio.sleep(3)
        lost = await lose(world, "n2", "n3", "n4")

        async def reopen(name: str) -> None:
            await asyncio.sleep(chance.random() * 0.05)
            for _ in range(5):
                with suppress(Busy, AttributeError, AssertionError):
                    await world.call(name).reopen(pending, lost_ones(lost), OPS)
                    return
                await asyncio.sleep(chance.random())

        working = asyncio.gather(reopen("n0"), reopen("n1"), reopen("n3"), return_exceptions=True)
        if chance.random() < 0.5:  # one of them goes down on the way, and comes back
            await asyncio.sleep(chance.random() * 0.1)
            crashed = chance.choice(("n0", "n1", "n3"))
            await world.crash(crashed)
            await world.start(crashed)
        await working
        if not decisions(world, pending):
            await asyncio.sleep(5)
            await world.call("n4").reopen(pending, lost_ones(lost), OPS)
        assert (await settled(world, pending)).body["outcome"] == "reopened"
        assert await world.converged(60)
        store = world.members["n1"].store
        assert store is not None
        parked = [row.record for ref, row in store._state.rows.items() if ref.kind == PENDING]
        assert len(parked) == 2, "the first one, and what it was parked as anew"

    run(story)


def test_all_of_its_electors_may_be_gone() -> None:
    async def story() -> None:
        world = await governed(World(random.Random(1), {"n0": ["n1", "n2"], "n1": ["n0"], "n2": ["n0"]}), count=1)
        pending = await park(world, "n1")
        await asyncio.sleep(3)
        store = world.members["n2"].store
        assert store is not None
        electors = electors_of_pending(store._state.rows[Ref(PENDING, pending)].record)
        assert electors == (world.incarnation("n1"),)
        await lose(world, "n1")
        answer = await world.call("n2").reopen(pending, lost_ones(list(electors)), OPS)
        assert answer.body["outcome"] == "reopened"
        assert (await world.call("n0").approve(answer.body["pending_id"], caller("ai:a"))).status == 200
        assert await world.converged(60)

    run(story)


def test_who_may_not_decide_and_sets_no_rules_may_not_reopen() -> None:
    async def story() -> None:
        world = await governed(fleet(3))
        pending, lost = await hung(world, votes=False)
        for stranger in ("ai:asker", "ai:nobody"):
            with pytest.raises(Denied, match="neither decides"):
                await world.call("n0").reopen(pending, lost_ones(lost), caller(stranger))
        with pytest.raises(NotFound):
            await world.call("n0").reopen("nobody", None, caller("ai:a"))
        store = world.members["n0"].store
        assert store is not None
        assert Ref(ACCEPTOR, pending) not in store._state.rows, "nothing was touched"
        await world.call("n0").reopen(pending, lost_ones(lost), caller("boss"))

    run(story)
