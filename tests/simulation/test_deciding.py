"""Pending actions in a simulated mesh: decided once, by whoever is left, and the same everywhere."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from aimem.core.consensus import Ballot, Proposal
from aimem.core.deciding import electors_of_pending
from aimem.core.kinds import ACCEPTOR, DECISION, PENDING
from aimem.core.record import Record, Ref
from aimem.core.timestamp import SECOND_NS
from aimem.core.version import Version
from aimem.errors import AimemError, Conflict, Denied, NotFound
from aimem.node.caller import Caller
from tests.simulation.stories import run, up
from tests.simulation.world import World, caller, full

ROW = {"title": "pay", "content": "to the harbour", "namespace": "gov"}


async def governed(world: World, count: int = 2, **more: Any) -> World:
    """All nodes up, a namespace in which so many registered agents must agree, and three of them."""
    await up(world)
    policy = {"write": "approve", "approver": {"consensus": count}, **more}
    await world.call("n0").set_standard({"namespace": "gov", "governance": policy}, caller("boss"))
    for name in ("ai:a", "ai:b", "ai:c"):
        await world.call("n0").register_agent({"agent_id": name, "agent_type": "ai:x"}, caller())
    assert await world.converged(30)
    return world


def fleet(count: int = 3, **settings: Any) -> World:
    return World(random.Random(1), full(count), **settings)


async def park(world: World, node: str = "n0") -> str:
    answer = await world.call(node).create(ROW, caller("ai:asker"))
    assert answer.status == 202
    return str(answer.body["pending_id"])


def decisions(world: World, pending: str) -> dict[str, Record]:
    """The decision about an action at each node that has one."""
    found = {}
    for name, member in world.members.items():
        if member.store is not None and (row := member.store._state.rows.get(Ref(DECISION, pending))) is not None:
            found[name] = row.record
    return found


async def titles(world: World, node: str) -> list[str]:
    rows = (await world.call(node).list({"namespace": "gov", "limit": "100"}))["memories"]
    return [each["id"] for each in rows if each["title"] == "pay"]


async def settled(world: World, pending: str, secs: float = 60) -> Record:
    """The one decision, when every node that is up has it."""
    for _ in range(int(secs * 4)):
        found = decisions(world, pending)
        if set(found) == set(world.up):
            break
        await asyncio.sleep(0.25)
    assert set(found) == set(world.up), found
    assert len({(str(each.version), each.raw) for each in found.values()}) == 1
    return next(iter(found.values()))


def test_votes_on_several_nodes_carry_an_action_out_once_with_one_id() -> None:
    """HOLE 11, HOLE 12, HOLE 25."""

    async def story() -> None:
        world = await governed(fleet(5))
        pending = await park(world)
        first = await world.call("n1").approve(pending, caller("ai:a"))
        assert first.status == 202
        second = await world.call("n3").approve(pending, caller("ai:b"))
        assert (second.status, second.body["executed"]) == (200, True)
        assert (await settled(world, pending)).body["outcome"] == "approved"
        assert await world.converged(60)
        assert {tuple(await titles(world, name)) for name in world.up} == {(second.body["memory_id"],)}

    run(story)


def test_the_loss_of_the_node_that_parked_it_ends_nothing() -> None:
    async def story() -> None:
        world = await governed(fleet(5))
        pending = await park(world)
        await world.call("n1").approve(pending, caller("ai:a"))
        await world.crash("n0")
        answer = await world.call("n2").approve(pending, caller("ai:b"))
        assert answer.status == 200
        await settled(world, pending)
        await world.start("n0")
        assert await world.converged(60)
        assert len(await titles(world, "n0")) == 1

    run(story)


def test_a_clock_that_runs_ahead_and_does_not_know_it_yet_binds_nobody() -> None:
    """What it proposes lies beyond what the others take from anybody: they decide without it, in their own time."""

    async def story() -> None:
        world = await governed(fleet(3), count=1)
        pending = await park(world)
        await asyncio.sleep(1)
        node, ahead = world.call("n2"), world.members["n2"]
        ahead.offset = 600 * SECOND_NS
        (held,) = await node._store.get([Ref(PENDING, pending)])
        assert held is not None
        value = {"outcome": "rejected", "decided_by": "ai:a", "decided_at": world.now(ahead), "records": []}
        value["version"] = str(Version(world.now(ahead), "0" * 16))
        proposal = Proposal(electors_of_pending(held), Ballot(7, "0" * 16))
        await node.deciding._have_accepted(pending, proposal, value)
        assert not proposal.chosen
        kept = [
            member.store._state.rows.get(Ref(ACCEPTOR, pending)) for member in world.members.values() if member.store
        ]
        assert not any(row.record.body["accepted"] for row in kept if row is not None)
        ahead.offset = 0
        await world.call("n0").approve(pending, caller("ai:a"))
        assert (await settled(world, pending)).body["outcome"] == "approved"

    run(story)


def test_without_a_majority_of_its_electors_it_waits_and_is_decided_when_they_are_back() -> None:
    async def story() -> None:
        world = await governed(fleet(3, writes=1), count=1)
        pending = await park(world)
        await asyncio.sleep(5)
        await world.crash("n1")
        await world.crash("n2")
        answer = await world.call("n0").approve(pending, caller("ai:a"))
        assert (answer.status, answer.body["status"]) == (202, "pending")
        assert "majority" in answer.body["reason"]
        shown = await world.call("n0").pending_action(pending, caller("ai:asker"))
        assert shown["waits_for"] == "a majority of its electors"
        assert decisions(world, pending) == {}
        await world.start("n1")
        assert (await settled(world, pending)).body["outcome"] == "approved"

    run(story)


@pytest.mark.parametrize("seed", range(20))
def test_an_approval_and_a_rejection_at_the_same_time_come_to_one_end(seed: int) -> None:
    async def story() -> None:
        world = await governed(World(random.Random(seed), full(5)), count=1)
        pending = await park(world, f"n{seed % 5}")

        async def say(node: str, verdict: str, who: str) -> str:
            try:
                await getattr(world.call(node), verdict)(pending, caller(who))
            except AimemError as error:
                return error.code
            return "done"

        said = [say("n1", "approve", "ai:a"), say("n2", "reject", "ai:b"), say("n3", "cancel", "ai:asker")]
        told = await asyncio.gather(*said)
        decision = await settled(world, pending)
        assert await world.converged(60)
        held = await titles(world, "n4")
        assert len(held) == (decision.body["outcome"] == "approved")
        assert told.count("done") >= 1

    run(story)


@pytest.mark.parametrize("seed", range(20))
def test_a_crash_in_the_middle_of_a_decision_is_made_good_by_others(seed: int) -> None:
    async def story() -> None:
        chance = random.Random(seed)
        world = await governed(World(chance, full(5)), count=1)
        pending = await park(world)
        voting = asyncio.ensure_future(world.call("n0").approve(pending, caller("ai:a")))
        await asyncio.sleep(chance.random() * 0.2)
        await world.crash("n0")
        voting.cancel()
        await asyncio.gather(voting, return_exceptions=True)
        with suppress(Denied):  # it may have been decided just in time
            await world.call("n1").approve(pending, caller("ai:b"))
        await settled(world, pending)
        await world.start("n0")
        await settled(world, pending)
        assert await world.converged(60)
        assert {len(await titles(world, name)) for name in world.up} == {1}

    run(story)


def test_an_action_ends_when_its_time_is_over() -> None:
    async def story() -> None:
        world = await governed(fleet(), timeout_secs=20)
        pending = await park(world)
        await asyncio.sleep(30)
        assert (await settled(world, pending)).body["outcome"] == "expired"

    run(story)


def test_an_action_ends_though_clocks_were_set_meanwhile() -> None:
    """An elector that looked when its clock, then ahead, said so, looks again when the time is really over."""

    async def story() -> None:
        world = await governed(fleet(), timeout_secs=20)
        for name in ("n1", "n2"):
            world.members[name].offset = 15 * SECOND_NS
        pending = await park(world)
        await asyncio.sleep(2)
        await world.crash("n0")
        for name in ("n1", "n2"):
            world.members[name].offset = 0
        assert (await settled(world, pending)).body["outcome"] == "expired"

    run(story)


def test_a_vote_that_is_heard_of_before_its_agent_counts_when_the_agent_is_known() -> None:
    async def story() -> None:
        world = World(random.Random(1), {"n0": ["n1", "n2"], "n1": ["n0"], "n2": ["n0"]}, writes=1)
        await governed(world, count=1)
        pending = await park(world, "n1")
        await asyncio.sleep(1)
        world.network.cut("n1", "n0")  # the only elector reads no feed, and hears what is pushed to it
        await world.call("n2").register_agent({"agent_id": "ai:new", "agent_type": "ai:x"}, caller())
        await asyncio.sleep(1)
        await world.call("n0").approve(pending, caller("ai:new"))
        await asyncio.sleep(3)
        world.network.join("n1", "n0")
        assert (await settled(world, pending)).body["outcome"] == "approved"

    run(story)


def test_an_elector_whose_store_was_set_back_answers_for_nobody() -> None:
    async def story() -> None:
        world = await governed(fleet(3), count=1)
        world.shelve("n1")
        pending = await park(world)
        await asyncio.sleep(2)
        await world.crash("n1")
        await world.replace_disk("n1", world.members["n1"].shelf, seen=True)
        await world.start("n1")
        await asyncio.sleep(5)
        await world.call("n2").approve(pending, caller("ai:a"))
        await settled(world, pending)
        store = world.members["n1"].store
        assert store is not None
        assert Ref(ACCEPTOR, pending) not in store._state.rows

    run(story)


def test_a_stranger_to_an_action_is_told_that_it_is_not_there() -> None:
    async def story() -> None:
        world = await governed(fleet())
        with pytest.raises(NotFound):
            await world.call("n0").reject("nobody", caller("ai:a"))

    run(story)


def test_one_request_parked_on_two_nodes_at_once_is_carried_out_once() -> None:
    async def story() -> None:
        world = await governed(fleet(3), count=1)
        who = Caller("ai:asker", "r", "key")
        first, second = await asyncio.gather(*(world.call(name).create(ROW, who) for name in ("n0", "n1")))
        ids = {first.body["pending_id"], second.body["pending_id"]}
        for pending in ids:
            with suppress(Conflict):  # of the second one: stale
                await world.call("n2").approve(pending, caller("ai:a"))
        assert await world.converged(60)
        assert {len(await titles(world, name)) for name in world.up} == {1}

    run(story)
