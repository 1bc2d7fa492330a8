"""Nodes of the existing system as peers, in simulated time: what goes wrong among themselves does not go wrong with us.

The numbers are those of the list of faults that was made of that system.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aimem.core.kinds import AGENT, DECISION, MEMORY, PENDING, POLICY, STANDARD, VOTE
from aimem.core.legacy.values import ORIGIN
from aimem.core.record import Record, Ref
from aimem.core.timestamp import parse_timestamp
from aimem.errors import QuorumNotMet
from aimem.mesh import legacy_answers
from tests.simulation.loop import simulate
from tests.simulation.old_node import OldNode
from tests.simulation.world import World, caller

DAY = 86_400.0
Story = Callable[["Mixed"], Awaitable[None]]


class Mixed:
    """Two nodes of ours, a and b, and two of theirs, x and y: everybody is everybody's peer."""

    def __init__(self, **settings: Any) -> None:
        names = ("a", "b", "x", "y")
        graph = {name: [other for other in names if other != name] for name in ("a", "b")}
        self.world = World(random.Random(1), graph, **{"writes": 2, **settings})
        self.x = OldNode(self.world, "x", ["a", "b", "y"])
        self.y = OldNode(self.world, "y", ["a", "b", "x"])

    async def start(self) -> None:
        """Start all and let them meet."""
        self.x.start()
        self.y.start()
        for name in self.world.members:
            await self.world.start(name)
        await asyncio.sleep(5)

    async def create(self, title: str, node: str = "a", **more: Any) -> str:
        """Store a memory through one of ours; its id."""
        body = {"title": title, "content": "c", "namespace": "n", **more}
        made = await self.world.call(node).create(body, caller())
        return str(made.body["id"])

    async def titles(self, node: str) -> set[str]:
        """The titles of what a node of ours shows."""
        found = await self.world.call(node).list({"limit": "1000"})
        return {each["title"] for each in found["memories"]}

    async def record(self, node: str, kind: str, key: str) -> Record | None:
        """A record of one of ours."""
        store = self.world.members[node].store
        assert store is not None
        return (await store.get([Ref(kind, key)]))[0]

    def peer(self, node: str, name: str) -> dict[str, Any]:
        """What one of ours says of a peer."""
        mesh = self.world.members[node].mesh
        assert mesh is not None
        return next(each for each in mesh.describe()["peers"] if each["url"] == f"sim://{name}")

    def told(self, old: OldNode) -> set[str]:
        """The titles that a node of theirs holds."""
        return {str(row["title"]) for row in old.rows.values()}


def run(story: Story, **settings: Any) -> None:
    async def main() -> None:
        mixed = Mixed(**settings)
        await mixed.start()
        await story(mixed)
        assert await mixed.world.converged(120)

    simulate(main())


def test_a_peer_is_known_as_old_by_its_health_and_told_as_such() -> None:
    async def story(mixed: Mixed) -> None:
        old, ours = mixed.peer("a", "x"), mixed.peer("a", "b")
        assert (old["state"], old["legacy"], old["version"]) == ("up", True, "0.6.3")
        assert (ours["state"], ours["legacy"]) == ("up", False)

    run(story)


def test_every_change_of_ours_is_on_theirs() -> None:
    async def story(mixed: Mixed) -> None:
        node = mixed.world.call("a")
        one, two = await mixed.create("one"), await mixed.create("two")
        await node.update(one, {"content": "new", "tags": ["t"]}, caller())
        await node.link({"source_id": one, "target_id": two}, caller())
        await asyncio.sleep(2)
        for old in (mixed.x, mixed.y):
            assert old.rows[one]["content"] == "new"
            assert (one, two, "related_to") in old.links
        await node.archive({"ids": [two]}, caller())
        await node.delete(one, None, caller())
        await asyncio.sleep(2)
        for old in (mixed.x, mixed.y):
            assert two in old.archive
            assert not old.rows
        await node.restore(two, caller())
        await asyncio.sleep(2)
        assert mixed.told(mixed.x) == mixed.told(mixed.y) == {"two"}

    run(story)


def test_every_change_of_theirs_is_on_ours() -> None:
    async def story(mixed: Mixed) -> None:
        one, two = await mixed.x.create("one"), await mixed.x.create("two")
        await mixed.x.update(one, content="new")
        await mixed.x.link(one, two)
        await asyncio.sleep(1)
        for name in ("a", "b"):
            found = await mixed.world.call(name).get(one)
            assert found["memory"]["content"] == "new"
            assert [each["target_id"] for each in found["links"]] == [two]
        await mixed.x.put_away(two)
        await mixed.y.delete(one)
        await asyncio.sleep(1)
        for name in ("a", "b"):
            assert await mixed.titles(name) == set()
            assert (await mixed.world.call(name).archived({}))["count"] == 1
        await mixed.x.take_back(two)
        await asyncio.sleep(1)
        assert await mixed.titles("a") == await mixed.titles("b") == {"two"}

    run(story)


def test_a_row_has_their_stamp_and_an_origin_below_every_node() -> None:
    async def story(mixed: Mixed) -> None:
        key = await mixed.x.create("one")
        await asyncio.sleep(1)
        held = await mixed.record("a", MEMORY, key)
        assert held is not None
        assert held.version == (parse_timestamp(mixed.x.rows[key]["updated_at"]), ORIGIN, 0)

    run(story)


def test_an_agent_that_is_registered_here_is_one_of_theirs() -> None:
    async def story(mixed: Mixed) -> None:
        told = {"agent_id": "ai:z", "agent_type": "ai:generic", "capabilities": ["é"]}
        await mixed.world.call("a").register_agent(told, caller())
        await asyncio.sleep(2)
        for old in (mixed.x, mixed.y):
            (row,) = old.rows.values()
            assert (row["namespace"], row["title"], row["tier"]) == ("_agents", "agent:ai:z", "long")
            assert row["metadata"].items() >= told.items()
            assert json.loads(row["content"]).items() >= told.items()
        before = await mixed.record("b", AGENT, "ai:z")
        await asyncio.sleep(300)  # it comes back as a memory, many times
        assert await mixed.record("b", AGENT, "ai:z") == before
        key = next(iter(mixed.y.rows))
        later = {**told, "capabilities": ["there"]}
        await mixed.y.update(key, content=json.dumps(later), metadata={**mixed.y.rows[key]["metadata"], **later})
        await asyncio.sleep(2)
        assert (await mixed.record("a", AGENT, "ai:z")).body["capabilities"] == ["there"]  # type: ignore[union-attr]
        assert mixed.x.rows[key]["metadata"]["capabilities"] == ["there"]
        await mixed.world.call("b").register_agent(told, caller())
        await asyncio.sleep(2)
        assert {str(old.rows[key]["metadata"]["capabilities"]) for old in (mixed.x, mixed.y)} == {"['é']"}

    run(story)


def test_what_comes_back_with_a_stamp_that_is_held_changes_nothing() -> None:
    async def story(mixed: Mixed) -> None:
        key = await mixed.create("one")
        await asyncio.sleep(2)
        before = await mixed.record("a", MEMORY, key)
        await asyncio.sleep(300)  # they read us and we read them, many times
        assert await mixed.record("a", MEMORY, key) == before
        assert before is not None
        assert before.version.origin != ORIGIN

    run(story)


def test_an_agent_that_they_register_is_an_agent_here() -> None:
    async def story(mixed: Mixed) -> None:
        told = {"agent_id": "ai:z", "agent_type": "ai:generic", "capabilities": ["x"]}
        await mixed.x.create("agent:ai:z", "{}", namespace="_agents", metadata=told)
        await asyncio.sleep(2)
        for name in ("a", "b"):
            agent = await mixed.record(name, AGENT, "ai:z")
            assert agent is not None
            assert agent.body["capabilities"] == ["x"]

    run(story)


# Acknowledgements.


def test_hole_1_their_acknowledgement_counts_only_where_that_was_said() -> None:
    async def story(mixed: Mixed) -> None:
        await mixed.world.crash("b")
        with pytest.raises(QuorumNotMet):
            await mixed.create("one")

    async def counting(mixed: Mixed) -> None:
        await mixed.world.crash("b")
        await mixed.create("one")
        assert mixed.told(mixed.x) | mixed.told(mixed.y) == {"one"}

    run(story)
    run(counting, count_legacy_acks=True)


def test_hole_1_what_they_skip_is_no_acknowledgement() -> None:
    async def story(mixed: Mixed) -> None:
        await mixed.world.crash("b")
        for old in (mixed.x, mixed.y):
            old.merge = lambda row: False  # type: ignore[method-assign]
        with pytest.raises(QuorumNotMet) as missed:
            await mixed.create("one")
        assert missed.value.extra["reason"] == "refused"
        assert mixed.peer("a", "x")["skipped"] == 1

    run(story, count_legacy_acks=True)


def test_hole_1_an_idempotency_record_that_they_have_no_words_for_does_not_spoil_an_acknowledgement() -> None:
    async def story(mixed: Mixed) -> None:
        await mixed.world.crash("b")
        body = {"title": "t", "content": "c", "namespace": "n"}
        made = await mixed.world.call("a").create(body, caller(key="k"))
        again = await mixed.world.call("a").create(body, caller(key="k"))
        assert again.body["id"] == made.body["id"]

    run(story, count_legacy_acks=True)


# What their merge loses.


def test_hole_2_a_renamed_memory_replicates_both_ways_with_its_links() -> None:
    async def story(mixed: Mixed) -> None:
        one, two = await mixed.create("one"), await mixed.create("two")
        await mixed.world.call("a").link({"source_id": one, "target_id": two}, caller())
        await asyncio.sleep(2)
        await mixed.world.call("a").update(one, {"title": "first"}, caller())
        await asyncio.sleep(2)
        assert mixed.told(mixed.x) == mixed.told(mixed.y) == {"first", "two"}
        assert (one, two, "related_to") in mixed.x.links
        await mixed.x.update(two, title="second")
        await asyncio.sleep(1)
        assert await mixed.titles("a") == await mixed.titles("b") == {"first", "second"}

    run(story)


def test_hole_3_a_delete_that_they_missed_is_done_when_they_are_back() -> None:
    async def story(mixed: Mixed) -> None:
        key = await mixed.create("one")
        await asyncio.sleep(2)
        mixed.x.stop()
        await mixed.world.call("a").delete(key, None, caller())
        await asyncio.sleep(60)
        mixed.x.start()
        await asyncio.sleep(120)
        assert mixed.told(mixed.x) == set()
        assert await mixed.titles("a") == set()

    run(story)


def test_hole_3_an_old_database_that_comes_back_resurrects_nothing() -> None:
    async def story(mixed: Mixed) -> None:
        ours, theirs = await mixed.create("ours"), await mixed.x.create("theirs")
        await asyncio.sleep(2)
        backup = {key: dict(row) for key, row in mixed.x.rows.items()}
        await mixed.world.call("a").delete(ours, None, caller())
        await mixed.x.delete(theirs)
        await asyncio.sleep(60)
        mixed.x.stop()
        await asyncio.sleep(60)
        mixed.x.rows = backup
        mixed.x.start()
        await asyncio.sleep(300)
        for name in ("a", "b"):
            assert await mixed.titles(name) == set()
        assert mixed.told(mixed.x) == set()

    run(story)


def test_hole_3_rows_as_old_as_what_was_swept_wait_for_an_operator() -> None:
    async def story(mixed: Mixed) -> None:
        key = await mixed.create("one")
        await asyncio.sleep(2)
        backup = {each: dict(row) for each, row in mixed.x.rows.items()}
        await mixed.world.call("a").delete(key, None, caller())
        await asyncio.sleep(60)
        mixed.x.stop()
        mixed.world.later += int(40 * DAY) * 10**9
        await asyncio.sleep(600)
        assert await mixed.record("a", MEMORY, key) is None  # the tombstone was swept
        mixed.x.rows, mixed.x.offset = backup, 40 * DAY
        mixed.x.start()
        await asyncio.sleep(300)
        assert await mixed.titles("a") == await mixed.titles("b") == set()
        kept = await mixed.world.call("a").quarantine({})
        assert [each["reason"] for each in kept["quarantine"]] == ["reseed"]

    run(story)


def test_hole_3_a_delete_that_comes_before_its_row_or_right_behind_it_counts() -> None:
    async def story(mixed: Mixed) -> None:
        mixed.x.peers = []
        keys = [await mixed.x.create(title) for title in ("one", "two")]
        first, second = ({**mixed.x.rows.pop(key)} for key in keys)
        mesh = mixed.world.members["a"].mesh
        assert mesh is not None

        async def push(**lists: Any) -> None:
            await mesh.legacy_push({"sender_agent_id": "host:x", "memories": [], **lists}, "x")

        await push(deletions=[first["id"]])
        await push(memories=[first])
        await asyncio.gather(push(memories=[second]), push(deletions=[second["id"]]))
        await asyncio.sleep(60)
        assert await mixed.titles("a") == await mixed.titles("b") == set()

    run(story)


def test_a_bare_delete_ends_what_the_peer_holds_and_nothing_newer() -> None:
    async def story(mixed: Mixed) -> None:
        key = await mixed.create("one")
        await asyncio.sleep(2)
        for name in ("a", "b", "y"):  # x hears nothing of the update
            mixed.world.network.cut(name, "x")
        await mixed.world.call("a").update(key, {"content": "newer"}, caller())
        await mixed.x.delete(key)
        await asyncio.sleep(2)
        assert await mixed.titles("a") == {"one"}
        mixed.world.network.heal()
        await asyncio.sleep(60)
        assert await mixed.titles("a") == await mixed.titles("b") == {"one"}
        assert mixed.x.rows[key]["content"] == "newer"
        await mixed.x.delete(key)
        await asyncio.sleep(2)
        assert await mixed.titles("a") == await mixed.titles("b") == set()

    run(story)


def test_hole_4_one_pair_under_two_ids_ends_as_one_and_goes_as_one() -> None:
    async def story(mixed: Mixed) -> None:
        mixed.x.peers = []
        theirs = await mixed.x.create("one", "of theirs")
        ours = await mixed.create("one", content="of ours")
        mixed.x.peers = ["a", "b", "y"]
        await asyncio.sleep(120)
        assert await mixed.titles("a") == {"one"}
        assert mixed.x.rows[theirs]["content"] == "of ours"
        assert ours not in mixed.x.rows
        await mixed.x.delete(theirs)
        await asyncio.sleep(120)
        assert await mixed.titles("a") == await mixed.titles("b") == set()
        assert mixed.told(mixed.x) == set()

    run(story)


# Reading by stamps.


def test_hole_6_more_rows_of_one_stamp_than_a_page_holds_all_come() -> None:
    async def story(mixed: Mixed) -> None:
        await mixed.world.crash("a")
        await mixed.world.crash("b")
        mixed.x.peers = []
        stamp = mixed.x.now()
        for number in range(600):
            key = f"{number:032x}"
            await mixed.x.create(f"row {number}", key=key)
            mixed.x.rows[key] |= {"updated_at": stamp, "created_at": stamp}
        await mixed.world.start("a")
        await mixed.world.start("b")
        await asyncio.sleep(60)
        store = mixed.world.members["a"].store
        assert store is not None
        assert store.visible == 600

    run(story)


def test_hole_6_a_row_that_comes_to_them_with_an_old_stamp_is_found() -> None:
    async def story(mixed: Mixed) -> None:
        await mixed.x.create("new")
        await asyncio.sleep(120)
        late = {**next(iter(mixed.x.rows.values())), "id": "late", "title": "late"}
        mixed.x.rows["late"] = {**late, "updated_at": "2020-01-01T00:00:00+00:00"}
        await asyncio.sleep(2 * 3_600)
        assert "late" in await mixed.titles("a")

    run(story)


def test_hole_6_a_reader_by_stamps_misses_no_row_that_came_here_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(mixed: Mixed) -> None:
        world = mixed.world
        mesh = world.members["a"].mesh
        assert mesh is not None
        reader = OldNode(world, "z", ["a"])  # reads, and is nobody's peer
        reader.start()
        monkeypatch.setattr(legacy_answers, "LEGACY_SERVED_ROWS", 50)  # so that pages are cut
        rows = [{"title": f"row {number}", "content": "c", "namespace": "n"} for number in range(120)]
        await world.call("a").bulk(rows, caller())
        await asyncio.sleep(300)
        assert len(reader.rows) == 120
        late = {**next(iter(reader.rows.values())), "id": "late", "title": "late"}
        stamp = "2020-01-01T00:00:00+00:00"
        row = {**late, "created_at": stamp, "updated_at": stamp}
        await mesh.legacy_push({"sender_agent_id": "host:q", "memories": [row]}, "q")
        await asyncio.sleep(120)
        assert "late" in reader.rows
        reader.stop()

    run(story)


def test_hole_7_a_reader_whose_cursor_is_of_another_node_is_shown_everything() -> None:
    async def story(mixed: Mixed) -> None:
        await mixed.create("one")
        reader = OldNode(mixed.world, "z", ["a"])
        reader.cursors["a"] = reader.now()
        reader.start()
        await asyncio.sleep(200)
        assert mixed.told(reader) == {"one"}
        reader.stop()

    run(story)


def test_hole_10_a_row_from_the_future_waits_until_its_time() -> None:
    async def story(mixed: Mixed) -> None:
        mixed.x.offset = 3_600
        key = await mixed.x.create("one")
        await asyncio.sleep(60)
        assert await mixed.titles("a") == set()
        assert mixed.world.members["a"].mesh.describe()["quarantined"]  # type: ignore[union-attr]
        await asyncio.sleep(3_700)
        assert (await mixed.record("a", MEMORY, key)) is not None

    run(story)


# Governance.

_PARKED: dict[str, Any] = {
    "id": "p1",
    "action_type": "store",
    "memory_id": None,
    "namespace": "n",
    "payload": {"title": "t"},
    "requested_by": "ai:x",
    "requested_at": "2025-06-15T15:06:40+00:00",
    "status": "pending",
    "approvals": [],
}


def test_hole_12_a_late_copy_of_a_parked_action_does_not_reopen_it() -> None:
    async def story(mixed: Mixed) -> None:
        await mixed.x.spread(pendings=[_PARKED])
        await mixed.x.spread(pending_decisions=[{"id": "p1", "approved": True, "decider": "human:kim"}])
        await asyncio.sleep(2)
        decided = await mixed.record("a", DECISION, "p1")
        assert decided is not None
        assert (decided.body["outcome"], decided.body["wrote"]) == ("approved", [])
        await mixed.x.spread(pendings=[_PARKED])
        await mixed.x.spread(pending_decisions=[{"id": "p1", "approved": False, "decider": "human:eve"}])
        await asyncio.sleep(2)
        assert await mixed.record("a", DECISION, "p1") == decided

    run(story)


def test_hole_28_a_decision_of_theirs_is_never_carried_out_and_no_vote_of_a_stranger_counts() -> None:
    async def story(mixed: Mixed) -> None:
        store = mixed.world.members["a"].store
        assert store is not None
        parked = {"action": "store", "namespace": "n", "payload": {"title": "t"}, "requested_by": "ai:x"}
        version = (await mixed.record("a", MEMORY, await mixed.create("one"))).version  # type: ignore[union-attr]
        body = {**parked, "requested_at": version.time, "approver": "human"}
        mesh = mixed.world.members["a"].mesh
        assert mesh is not None
        await mesh.receiving.take_in([Record.make(PENDING, "p2", version, version, body)], mesh.envelope())
        await asyncio.sleep(2)
        assert mixed.x.pending["p2"]["status"] == "pending"
        await mixed.x.spread(pending_decisions=[{"id": "p2", "approved": True, "decider": "human:eve"}])
        await asyncio.sleep(2)
        assert await mixed.record("a", DECISION, "p2") is None
        assert [batch async for batch in store.scan(VOTE)] == []
        assert await mixed.titles("a") == {"one"}
        kept = await mixed.world.call("a").quarantine({})
        assert [(each["kind"], each["reason"]) for each in kept["quarantine"]] == [(VOTE, "unvouched")]
        assert mixed.x.executed == []

    run(story)


def test_hole_13_a_standard_and_its_policy_come_also_when_the_text_is_late() -> None:
    async def story(mixed: Mixed) -> None:
        rules = {"write": "any", "approver": "human"}
        meta = {"namespace": "n", "standard_id": "s1", "updated_at": mixed.x.now()}
        await mixed.x.spread(namespace_meta=[meta])
        assert await mixed.record("a", POLICY, "n") is None
        await mixed.x.create("rules", key="s1", metadata={"agent_id": "system", "governance": rules})
        await asyncio.sleep(5)
        for name in ("a", "b"):
            policy, standard = await mixed.record(name, POLICY, "n"), await mixed.record(name, STANDARD, "n")
            assert policy is not None
            assert policy.body["policy"] == rules
            assert standard is not None
            assert standard.body["memory_id"] == "s1"
        await mixed.x.spread(namespace_meta_clears=["n"])
        await asyncio.sleep(5)
        for name in ("a", "b"):
            gone = await mixed.record(name, STANDARD, "n")
            assert gone is not None
            assert gone.deleted

    run(story)


def test_hole_8_and_21_we_leave_no_trace_in_their_tables_of_readers() -> None:
    async def story(mixed: Mixed) -> None:
        asked: list[str] = []
        answer = mixed.x._answer

        async def noted(source: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
            if source in mixed.world.members:
                asked.append(path)
            return await answer(source, method, path, body)

        mixed.world.network.attach("x", None, noted)
        await asyncio.sleep(120)
        assert any("/sync/since" in path for path in asked)
        assert not any("peer=" in path for path in asked)

    run(story)


def test_hole_18_and_20_their_writes_reach_each_other_through_us_and_after_a_restart() -> None:
    async def story(mixed: Mixed) -> None:
        mixed.x.peers, mixed.y.peers = ["a"], ["b"]
        mixed.y.stop()
        await mixed.x.create("one")
        await asyncio.sleep(60)
        await mixed.world.crash("b")
        await mixed.world.start("b")
        await asyncio.sleep(60)
        mixed.y.start()
        await asyncio.sleep(60)
        assert mixed.told(mixed.y) == {"one"}

    run(story)


def test_a_node_of_ours_at_the_address_of_an_old_one_is_known_and_catches_up() -> None:
    async def story(mixed: Mixed) -> None:
        await mixed.create("one")
        mixed.x.stop()
        await mixed.create("two")
        others = {"c": ["a", "b"]}
        more = World(random.Random(2), others, writes=2)
        mixed.world.members["x"] = more.members["c"]
        mixed.world.members["x"].name = "x"
        await mixed.world.start("x")
        await asyncio.sleep(90)
        assert mixed.peer("a", "x")["legacy"] is False
        assert mixed.peer("a", "x")["state"] == "up"
        assert await mixed.titles("x") == {"one", "two"}

    run(story)
