"""What the mesh does in named situations, in simulated time. The laws at large are tried by seeds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aimem.core.kinds import TOUCH
from aimem.core.record import Record, Ref
from aimem.core.timestamp import SECOND_NS
from aimem.core.version import Version
from aimem.errors import AimemError, CatchingUp, ClockSkewed, Denied, QuorumNotMet, VersionConflict
from aimem.mesh.messages import DIGEST, FEED, HEADS, HELD, decode, encode
from aimem.node.caller import Caller
from tests.simulation.stories import DAY, fleet, ids_on, memory, run, up
from tests.simulation.world import EPOCH_NS, World, caller, full


def test_a_row_that_vanished_is_found_to_drift_and_mended() -> None:
    async def story() -> None:
        world = await up(fleet())
        made = await world.call("n0").create(memory("t"), caller())
        await asyncio.sleep(60)
        store = world.members["n1"].store
        assert store is not None
        lost = store._begin()
        lost._withdraw(lost.state.rows[Ref("memory", made.body["id"])].record)
        lost.drop(Ref("memory", made.body["id"]))
        store._commit(lost)
        assert len(set(world.digests().values())) == 2
        assert await world.converged(300)
        assert any(world.members[name].mesh.describe()["drifted"] for name in world.up)  # type: ignore[union-attr]

    run(story)


def test_hole_20_a_change_goes_down_a_line_without_waiting_for_an_interval() -> None:
    async def story() -> None:
        graph = {"a": ["b"], "b": ["a", "c"], "c": ["b", "d"], "d": ["c"]}
        world = await up(World(random.Random(1), graph, catchup_secs=0, writes=2))
        made = await world.call("a").create(memory("t"), caller())
        await asyncio.sleep(1)
        assert made.body["id"] in await ids_on(world, "d")

    run(story)


@pytest.mark.parametrize("seed", range(12))
def test_new_nodes_that_start_one_after_another_trust_each_other_without_waiting_for_an_interval(seed: int) -> None:
    """The one in the middle meets an end that is as new as itself, and only afterwards becomes older than it."""

    async def story() -> None:
        chance = random.Random(seed)
        world = World(chance, {"a": ["b"], "b": ["a", "c"], "c": ["b"]}, catchup_secs=0, writes=2)
        for name in chance.sample("abc", 3):
            await world.start(name)
            await asyncio.sleep(chance.random())
        await asyncio.sleep(20)
        for name in ("a", "c"):
            await world.call(name).create(memory("t", f"by {name}"), caller())
        await asyncio.sleep(5)
        assert len(set(world.digests().values())) == 1
        assert not any(member.mesh.envelope().behind for member in world.members.values() if member.mesh)

    run(story)


def test_a_node_that_learns_by_the_way_that_its_peer_is_behind_no_longer_reads_its_feed_at_once() -> None:
    async def story() -> None:
        world = await up(World(random.Random(1), {"a": ["b"], "b": ["a"]}, catchup_secs=0, writes=2))
        mesh = world.members["a"].mesh
        assert mesh is not None
        (peer,) = mesh.peers
        assert peer.identity is not None
        peer.identity = replace(peer.identity, behind=True)
        mesh.standing._read_at = 0
        assert not mesh.envelope().behind  # by the rule for fleets in which every node is
        await world.call("a").create(memory("t"), caller())
        assert not peer.identity.behind
        await asyncio.sleep(5)
        assert not mesh.envelope().behind

    run(story)


def test_what_a_cut_from_one_side_keeps_from_being_fetched_is_pushed() -> None:
    async def story() -> None:
        world = await up(World(random.Random(1), {"a": ["b"], "b": ["a"]}, writes=1))
        await world.crash("b")
        made = await world.call("a").create(memory("t"), caller())
        await asyncio.sleep(20)
        # b can't open a call to a, a can to b.
        call = world.network.call

        async def one_sided(source: str, *rest: Any) -> bytes:
            if source == "b":
                await asyncio.Event().wait()
            return await call(source, *rest)

        world.network.call = one_sided  # type: ignore[method-assign, assignment]
        await world.start("b")
        await asyncio.sleep(60)
        assert made.body["id"] in await ids_on(world, "b")

    run(story)


def test_an_empty_node_takes_no_write_before_it_has_read_a_feed() -> None:
    async def story() -> None:
        world = await up(fleet(), "n0", "n1")
        made = await world.call("n0").create(memory("t"), caller())
        for name in ("n0", "n1"):
            world.network.cut("n2", name)
        await world.start("n2")
        with pytest.raises(CatchingUp):
            await world.call("n2").create(memory("u"), caller())
        assert "catching_up" in world.call("n2").health()["degraded"]
        world.network.heal()
        await asyncio.sleep(40)
        assert made.body["id"] in await ids_on(world, "n2")
        assert (await world.call("n2").create(memory("u"), caller())).body["quorum_acks"] >= 2

    run(story)


def test_a_node_whose_clock_is_off_takes_no_write_and_its_rows_wait_until_they_are_due() -> None:
    """HOLE 10, 29: a stamp of the future neither wins nor keeps anybody from reading on."""

    async def story() -> None:
        world = await up(fleet(writes=1))
        for name in ("n1", "n2"):
            world.network.cut("n0", name)
            world.network.cut(name, "n0")
        world.members["n0"].offset = 200 * SECOND_NS
        early = await world.call("n0").create(memory("early"), caller())  # nobody has told it yet
        await asyncio.sleep(20)
        world.network.heal()
        await asyncio.sleep(40)
        with pytest.raises(ClockSkewed):
            await world.call("n0").create(memory("t"), caller())
        assert early.body["id"] not in await ids_on(world, "n1")
        kept = await world.call("n1").quarantine({})
        assert [row["reason"] for row in kept["quarantine"]] == ["clock_skew"]
        world.members["n0"].offset = 0
        await asyncio.sleep(250)
        assert early.body["id"] in await ids_on(world, "n1")
        assert (await world.call("n1").quarantine({}))["count"] == 0
        assert await world.converged(60)

    run(story)


def test_a_write_that_missed_its_quorum_is_resumed_by_its_key() -> None:
    async def story() -> None:
        world = await up(fleet(writes=2))
        for name in ("n1", "n2"):
            await world.crash(name)
        with pytest.raises(QuorumNotMet) as missed:
            await world.call("n0").create(memory("t"), caller(key="k"))
        assert missed.value.extra["got"] == 1
        assert missed.value.extra["needed"] == 2
        held = await world.call("n0").list({})
        await up(world, "n1", "n2")
        again = await world.call("n0").create(memory("t"), caller(key="k"))
        assert again.replayed
        assert again.body["quorum_acks"] >= 2
        assert again.body["version"] == held["memories"][0]["version"]
        await asyncio.sleep(5)
        elsewhere = await world.call("n2").create(memory("t"), caller(key="k"))
        assert elsewhere.replayed
        assert elsewhere.body["id"] == again.body["id"]

    run(story)


def test_a_repeat_goes_out_anew_though_nobody_was_there_when_the_memory_changed_by_itself() -> None:
    async def story() -> None:
        world = await up(fleet(writes=2))
        for name in ("n1", "n2"):
            await world.crash(name)
        with pytest.raises(QuorumNotMet) as missed:
            await world.call("n0").create({**memory("t"), "tier": "mid"}, caller(key="k"))
        (held,) = (await world.call("n0").list({}))["memories"]
        for _ in range(6):
            await world.call("n0").recall({"context": "t"}, caller())
        await asyncio.sleep(5)
        (used,) = (await world.call("n0").list({}))["memories"]
        assert (used["id"], used["tier"]) == (held["id"], "long")
        await up(world, "n1", "n2")
        again = await world.call("n0").create({**memory("t"), "tier": "mid"}, caller(key="k"))
        assert missed.value.extra["got"] == 1
        assert again.replayed
        assert again.body["quorum_acks"] >= 2

    run(story)


def test_a_conditional_write_that_was_overtaken_is_a_conflict() -> None:
    async def story() -> None:
        world = await up(fleet(5))
        made = await world.call("n0").create(memory("t"), caller())
        await asyncio.sleep(1)
        named = Caller(agent_id="a", request_id="r", idempotency_key=None, expected_version=made.body["version"])
        outcomes = await asyncio.gather(
            *(world.call(f"n{at}").update(made.body["id"], {"content": f"by {at}"}, named) for at in range(5)),
            return_exceptions=True,
        )
        refused = [each for each in outcomes if isinstance(each, BaseException)]
        assert refused
        assert all(isinstance(each, VersionConflict) for each in refused)
        assert await world.converged(60)
        stands = (await world.call("n0").get(made.body["id"]))["version"]
        assert stands in [each.body["version"] for each in outcomes if not isinstance(each, BaseException)]

    run(story)


def test_hole_17_sixteen_writers_of_one_key_are_never_refused_without_a_fault() -> None:
    async def story() -> None:
        world = await up(fleet(4, writes=2))

        async def write(at: int) -> AimemError | None:
            for step in range(5):
                try:
                    await world.call(f"n{at % 4}").create(memory("one", f"{at} {step}"), caller(f"ai:{at}"))
                except AimemError as error:
                    return error
            return None

        assert [each for each in await asyncio.gather(*map(write, range(16))) if each] == []
        assert await world.converged(60)
        assert len(await ids_on(world, "n3")) == 1

    run(story)


def test_what_overflows_the_queue_to_a_slow_peer_is_read_from_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimem.mesh.pushing.MESH_QUEUE_BYTES", 2_000)

    async def story() -> None:
        world = await up(fleet(catchup_secs=0, writes=2))
        world.network.clog("n0", "n2", 1.0)
        for at in range(60):
            await world.call("n0").create(memory(f"t{at}", "x" * 500), caller())
        world.network.heal()
        assert await world.converged(120)
        assert len(await ids_on(world, "n2")) == 60

    run(story)


def test_the_own_address_is_not_counted_and_two_addresses_of_one_node_are_one() -> None:
    async def story() -> None:
        graph = {"a": ["a", "b"], "b": ["a"]}
        world = await up(World(random.Random(1), graph))
        mesh = world.members["a"].mesh
        assert mesh is not None
        assert mesh.policy[:2] == (2, 2)
        assert any("this very node" in words for words in mesh.warnings())
        made = await world.call("a").create(memory("t"), caller())
        assert made.body["quorum_acks"] == 2

    run(story)


def test_a_quorum_that_one_rack_can_meet_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        racks = {"n0": "a", "n1": "a", "n2": "b", "n3": "b"}
        world = await up(World(random.Random(1), full(4), racks_of=racks, writes=2))
        await world.crash("n1")
        await asyncio.sleep(60)
        await world.start("n1")
        await asyncio.sleep(60)

    run(story)
    told = [record.getMessage() for record in caplog.records if "can be met inside" in record.getMessage()]
    assert told.count("W=2 can be met inside rack b: see --quorum-racks") == 2  # by each node of that rack


def test_racks_that_can_not_be_met_are_told() -> None:
    async def story() -> None:
        world = await up(World(random.Random(1), full(3), racks_of={"n0": "a", "n1": "a"}, racks=2))
        mesh = world.members["n0"].mesh
        assert mesh is not None
        assert "R=2 can't be met: the nodes stand in 1 named rack: see --rack" in mesh.warnings()
        assert "quorum_short" in mesh.conditions()

    async def one_rack_lost() -> None:
        world = World(random.Random(1), full(4), racks_of={"n0": "a", "n1": "a", "n2": "a", "n3": "b"}, racks=2)
        mesh = (await up(world)).members["n0"].mesh
        assert mesh is not None
        assert (mesh.warnings(), mesh.conditions()) == ([], [])
        await world.crash("n3")
        with pytest.raises(QuorumNotMet):  # what is not reached is found out by reaching for it
            await world.call("n0").create(memory("t"), caller())
        assert mesh.warnings() == []
        assert "quorum_short" in mesh.conditions()

    run(story)
    run(one_rack_lost)


def test_a_store_whose_clock_ran_far_ahead_comes_back_into_time() -> None:
    async def story() -> None:
        world = await up(fleet(writes=1))
        for name in ("n1", "n2"):
            world.network.cut("n0", name)
            world.network.cut(name, "n0")
        world.members["n0"].offset = 400 * int(DAY) * SECOND_NS
        early = await world.call("n0").create(memory("early"), caller())
        await asyncio.sleep(20)
        world.members["n0"].offset = 0
        world.network.heal()
        await asyncio.sleep(90)
        assert early.body["id"] in await ids_on(world, "n1")
        assert world.call("n0").health()["degraded"] == []
        assert (await world.call("n0").create(memory("t"), caller())).status == 201
        assert await world.converged(60)
        assert (await world.call("n1").quarantine({}))["count"] == 0

    run(story)


def test_a_narrowed_peer_gets_and_brings_its_namespaces_only() -> None:
    async def story() -> None:
        def carries_of(node: str) -> Callable[[str], bool] | None:
            return (lambda namespace: namespace.startswith("eu")) if node == "b" else None

        world = World(random.Random(1), {"a": ["b"], "b": ["a"]}, writes=1, carries_of=carries_of)
        await up(world)
        here = [
            await world.call("a").create(memory(t) | {"namespace": ns}, caller())
            for t, ns in (("1", "eu"), ("2", "us"))
        ]
        link = {"source_id": here[1].body["id"], "target_id": here[0].body["id"], "relation": "related_to"}
        await world.call("a").link(link, caller())
        there = [
            await world.call("b").create(memory(t) | {"namespace": ns}, caller())
            for t, ns in (("3", "eu"), ("4", "us"))
        ]
        await asyncio.sleep(90)
        assert await ids_on(world, "a") == {each.body["id"] for each in (*here, there[0])}
        kept = await world.call("a").quarantine({})
        assert {row["reason"] for row in kept["quarantine"]} == {"not_carried"}
        assert {row["title"] for row in kept["quarantine"]} == {"4"}
        store = world.members["b"].store
        assert store is not None
        assert await store.links([here[0].body["id"]]) == []
        assert await ids_on(world, "b") == {here[0].body["id"], *(each.body["id"] for each in there)}
        mesh = world.members["a"].mesh
        assert mesh is not None
        assert mesh.describe()["drifted"] == 0

    run(story)


def test_what_the_store_can_not_use_is_kept_aside_and_holds_up_nothing() -> None:
    """HOLE 6: a record of a form that only the store stumbles over; its neighbours go in, and it is not lost."""

    async def story() -> None:
        world = await up(fleet(2, writes=1))
        made = await world.call("n0").create(memory("t"), caller())
        version = Version(EPOCH_NS, "a" * 16)
        touch = {"count": 1, "last": 1, "rank": 0, "expires": 0, "base": str(version)}
        bad = Record.make(TOUCH, f"{made.body['id']}/no birth", version, version, touch)
        good = Record.make("agent", "ai:x", version, version, {"agent_id": "ai:x"})
        mesh = world.members["n0"].mesh
        source = world.members["n1"].mesh
        assert mesh is not None
        assert source is not None
        taken = await mesh.receiving.take_in([bad, "malformed: nonsense", good], source.envelope())
        assert [each.outcome for each in taken] == ["refused", "refused", "applied"]
        kept = (await world.call("n0").quarantine({}))["quarantine"]
        assert [row["key"] for row in kept] == [bad.key]
        assert mesh.describe()["quarantined"] == 1
        await world.call("n0").drop_quarantined({"all": True}, caller())
        assert mesh.describe()["quarantined"] == 0

    run(story)


def test_quarantine_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 8: a peer that sends nothing but what can't be held does not fill the disk."""
    monkeypatch.setattr("aimem.mesh.aside.QUARANTINE_RECORDS_MAX", 3)

    async def story() -> None:
        world = await up(fleet(2, writes=1))
        version = Version(EPOCH_NS, "a" * 16)
        bad = [Record.make("memory", f"bad{at}", version, version, {"tier": "gold"}) for at in range(10)]
        mesh, source = world.members["n0"].mesh, world.members["n1"].mesh
        assert mesh is not None
        assert source is not None
        taken = await mesh.receiving.take_in(bad, source.envelope())
        assert {each.outcome for each in taken} == {"refused"}
        assert (await world.call("n0").quarantine({}))["count"] == 3

    run(story)


def test_how_far_others_have_read_is_remembered_of_so_many_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 8, HOLE 21: each incarnation that ever spoke to this node would else be kept for ever."""
    monkeypatch.setattr("aimem.mesh.readers.MESH_READERS_KEPT", 4)

    async def story() -> None:
        world = await up(fleet(2, writes=1))
        member = world.members["n0"]
        assert member.mesh is not None
        assert member.store is not None
        envelope = world.members["n1"].mesh.envelope()  # type: ignore[union-attr]
        for number in range(20):
            body = encode(replace(envelope, incarnation=f"{number:016x}"), {"cursor": None})
            await member.mesh.answer(FEED, body)
            await asyncio.sleep(3)
        assert len(await member.store.positions("read/")) <= 5

    run(story)


def test_a_narrowed_peer_learns_nothing_of_the_rest() -> None:
    async def story() -> None:
        def carries_of(node: str) -> Callable[[str], bool] | None:
            return (lambda namespace: namespace == "eu") if node == "b" else None

        world = await up(World(random.Random(1), {"a": ["b"], "b": ["a"]}, writes=1, carries_of=carries_of))
        mesh, narrowed = world.members["a"].mesh, world.members["b"].mesh
        assert mesh is not None
        assert narrowed is not None
        for path in (DIGEST, HEADS):
            with pytest.raises(Denied):
                await mesh.answer(path, encode(narrowed.envelope(), {"buckets": [1]}))
        held = decode(await mesh.answer(HELD, encode(narrowed.envelope(), {"refs": [["memory", "nobody's"]]})))
        assert held["held"] == [True]

    run(story)


async def written_far_ahead() -> tuple[World, str]:
    """Three nodes, of which two had clocks that ran ahead together, so that they acknowledged a write far ahead. One of
    them is left, its clock set right again, and a third that refuses the write. The world, and the write's id."""
    world = await up(fleet(max_skew=2 * SECOND_NS))
    for name in ("n0", "n1"):
        world.members[name].offset = 40 * SECOND_NS
    await asyncio.sleep(3)
    made = await world.call("n0").create(memory("t", "far ahead"), caller())
    assert made.body["quorum_acks"] == 2
    await world.crash("n1")
    world.members["n0"].offset = 0
    await asyncio.sleep(1)
    return world, made.body["id"]


def test_what_is_told_of_and_can_not_be_taken_in_makes_a_write_unordered() -> None:
    async def story() -> None:
        world, _ = await written_far_ahead()
        with pytest.raises(QuorumNotMet):
            await world.call("n2").create(memory("t", "below it"), caller())

    run(story)


def test_who_tells_of_what_can_not_be_taken_in_counts_as_not_asked() -> None:
    """Else an action would be reopened as one of which nobody knows a decision."""

    async def story() -> None:
        world, memory_id = await written_far_ahead()
        mesh = world.call("n2").fleet
        assert mesh is not None
        unasked = await mesh.ask_all([Ref("memory", memory_id)])
        assert len(unasked) == 2
        assert len(await mesh.ask_all([Ref("memory", "nothing")])) == 1

    run(story)
