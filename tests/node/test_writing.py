"""Create, update, delete, promote and bulk: what is answered is what is stored."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.core import upkeep
from aimem.core.kinds import MEMORY
from aimem.core.memory import clean_create
from aimem.core.record import Record
from aimem.core.version import Version
from aimem.errors import Ambiguous, Conflict, Invalid, NotFound, VersionConflict, WrongShape
from aimem.limits import CONTRADICTIONS_ROWS_MAX, ITEMS_MAX
from aimem.node.node import Node
from tests.node.conftest import Clock, Open, caller


def fields(title: str = "one", content: str = "some words", **more: Any) -> dict[str, Any]:
    return {"title": title, "content": content, **more}


async def create(node: Node, title: str = "one", content: str = "some words", **more: Any) -> dict[str, Any]:
    return (await node.create(fields(title, content, **more), caller())).body


async def test_a_created_memory_is_there_with_its_author_and_version(node: Node) -> None:
    answer = await node.create(fields(tags=["a"]), caller("ai:planner"))
    assert answer.status == 201
    found = await node.get(answer.body["id"])
    assert found["metadata"]["agent_id"] == answer.body["agent_id"] == "ai:planner"
    assert found["version"] == answer.body["version"]
    assert (found["memory"]["content"], found["content"], found["links"]) == ("some words", "some words", [])


async def test_a_caller_without_a_name_gets_one_for_the_request(node: Node) -> None:
    first = (await node.create(fields("a"), caller(None))).body["agent_id"]
    second = (await node.create(fields("b"), caller(None))).body["agent_id"]
    assert first.startswith("anonymous:req-")
    assert len(first) == len("anonymous:req-") + 8
    assert first != second


async def test_an_agent_id_that_is_none_is_refused(node: Node) -> None:
    with pytest.raises(Invalid, match="agent id"):
        await node.create(fields(), caller("no spaces, please"))


async def test_storing_onto_a_held_pair_answers_what_is_stored(node: Node) -> None:
    first = (await node.create(fields(tier="long"), caller("ai:first"))).body
    second = (await node.create(fields(content="newer", tier="short"), caller("ai:second"))).body
    assert second["id"] == first["id"]
    assert (second["tier"], second["agent_id"]) == ("long", "ai:first")
    assert "potential_contradictions" not in second
    assert (await node.get(first["id"]))["content"] == "newer"


async def test_on_conflict_is_obeyed_and_checked(node: Node) -> None:
    first = await create(node)
    with pytest.raises(Conflict) as refused:
        await create(node, on_conflict="error")
    assert refused.value.body()["existing_id"] == first["id"]
    assert (await create(node, on_conflict="version"))["title"] == "one (2)"
    with pytest.raises(Invalid, match="on_conflict"):
        await create(node, on_conflict="whatever")


async def test_similar_titles_of_the_namespace_are_named_at_most_five_and_never_itself(node: Node) -> None:
    ids = {(await create(node, f"disk {number}"))["id"] for number in range(7)}
    await create(node, "disk elsewhere", namespace="other")
    reply = await create(node, "disk 3")
    similar = reply["potential_contradictions"]
    assert len(similar) == 5
    assert set(similar) < ids - {reply["id"]}


async def test_a_node_that_holds_many_looks_for_similar_titles_only_when_asked(node: Node) -> None:
    rows = [fields(f"disk {number}") for number in range(CONTRADICTIONS_ROWS_MAX)]
    await node.bulk(rows[: ITEMS_MAX // 2], caller())
    await node.bulk(rows[ITEMS_MAX // 2 :], caller())
    await create(node, "one more")
    assert "potential_contradictions" not in await create(node, "disk new")
    assert len((await create(node, "disk newer", check_contradictions=True))["potential_contradictions"]) == 5
    with pytest.raises(WrongShape):
        await create(node, "disk newest", check_contradictions="yes")


async def test_an_update_answers_the_memory_as_it_is_now(node: Node, clock: Clock) -> None:
    made = await create(node)
    clock.forward(seconds=1)
    answer = await node.update(made["id"], {"content": "changed", "priority": 1, "confidence": 0.5}, caller())
    assert answer.status == 200
    assert (answer.body["content"], answer.body["priority"], answer.body["confidence"]) == ("changed", 1, 0.5)
    assert answer.body["version"] > made["version"]
    assert await node.get(made["id"]) == {**answer.body, "memory": answer.body, "links": []}


async def test_a_stale_writer_is_told_what_stands(node: Node) -> None:
    made = await create(node)
    now = (await node.update(made["id"], {"priority": 7}, caller(expected=made["version"]))).body
    for attempt in (
        node.update(made["id"], {"priority": 8, "expected_version": made["version"]}, caller()),
        node.delete(made["id"], {"expected_version": made["version"]}, caller()),
        node.promote(made["id"], caller(expected=made["version"])),
    ):
        with pytest.raises(VersionConflict) as refused:
            await attempt
        assert refused.value.body()["current"] == now["version"]
    assert (await node.delete(made["id"], None, caller(expected=now["version"]))).status == 200


async def test_two_different_expected_versions_in_one_request_are_refused(node: Node) -> None:
    made = await create(node)
    with pytest.raises(Invalid, match="expected_version"):
        await node.update(made["id"], {"expected_version": made["version"]}, caller(expected=made["version"][::-1]))


async def test_a_rename_onto_a_taken_pair_is_refused(node: Node) -> None:
    await create(node, "taken")
    made = await create(node, "free")
    with pytest.raises(Conflict):
        await node.update(made["id"], {"title": "taken"}, caller())


async def test_a_memory_is_called_by_its_id_or_a_prefix_that_only_it_has(node: Node) -> None:
    made = await create(node)
    assert (await node.get(made["id"][:8]))["id"] == made["id"]
    assert (await node.update(made["id"][:8], {"priority": 9}, caller())).body["priority"] == 9
    assert (await node.promote(made["id"][:8], caller())).body == {
        "promoted": True,
        "id": made["id"],
        "tier": "long",
        "version": (await node.get(made["id"]))["version"],
    }
    deleted = await node.delete(made["id"][:8], None, caller())
    assert (deleted.body["deleted"], deleted.body["id"]) == (True, made["id"])
    with pytest.raises(NotFound):
        await node.get(made["id"][:8])


async def test_a_prefix_of_several_names_them(node: Node) -> None:
    ids = sorted([(await create(node, f"t{number}"))["id"] for number in range(40)])
    digit = next(each[0] for each in ids if sum(other[0] == each[0] for other in ids) > 1)
    with pytest.raises(Ambiguous, match=r"^ambiguous ID prefix") as refused:
        await node.get(digit)
    assert refused.value.body()["ids"] == [each for each in ids if each[0] == digit]


async def test_the_id_of_a_deleted_memory_is_no_prefix_of_another(node: Node, clock: Clock) -> None:
    for number, memory_id in enumerate(("task-1", "task-10")):  # ids as another program made them
        body = clean_create(fields(memory_id), clock.now, anonymous="anonymous:test")
        version = Version(clock.now + number, "f" * 16)
        await node._store.write([upkeep.receive(Record.make(MEMORY, memory_id, version, version, body))])
    assert (await node.get("task-1"))["id"] == "task-1"
    await node.delete("task-1", None, caller())
    for attempt in (
        node.delete("task-1", None, caller()),
        node.update("task-1", {"priority": 1}, caller()),
        node.promote("task-1", caller()),
        node.get("task-1"),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await node.get("task-10"))["tier"] == "mid"


@pytest.mark.parametrize("memory_id", ["", "x" * 129])
async def test_what_can_be_no_id_is_refused(node: Node, memory_id: str) -> None:
    with pytest.raises(Invalid):
        await node.get(memory_id)
    with pytest.raises(Invalid):
        await node.delete(memory_id, None, caller())


async def test_a_bulk_puts_each_row_through_the_checks_of_one_alone(node: Node) -> None:
    rows: list[Any] = [fields("a"), fields("b", priority=11), "no object", fields("a", "again"), fields("c")]
    answer = await node.bulk(rows, caller("ai:loader"))
    body = answer.body
    assert (answer.status, body["created"]) == (200, 3)
    assert body["ids"] == [body["results"][index]["id"] for index in (0, 3, 4)]
    assert body["ids"][0] == body["ids"][1]
    assert [(each["index"], each["title"], each["code"]) for each in body["errors"]] == [
        (1, "b", "invalid"),
        (2, None, "wrong_shape"),
    ]
    assert all(each["error"] for each in body["errors"])
    assert [each["status"] for each in body["results"]] == [201, 400, 422, 201, 201]
    assert [each["index"] for each in body["results"]] == [0, 1, 2, 3, 4]
    found = await node.get(body["ids"][0])
    assert (found["content"], found["metadata"]["agent_id"]) == ("again", "ai:loader")


async def test_a_bulk_is_a_list_or_an_object_with_one_and_is_bounded(node: Node) -> None:
    assert (await node.bulk({"memories": [fields()]}, caller())).body["created"] == 1
    assert (await node.bulk([], caller())).body == {"created": 0, "ids": [], "errors": [], "results": []}
    with pytest.raises(Invalid, match="at most 1000"):
        await node.bulk([fields()] * (ITEMS_MAX + 1), caller())
    wrong: Any
    for wrong in ({}, "text", None):
        with pytest.raises(WrongShape):
            await node.bulk(wrong, caller())


async def test_what_was_answered_is_there_after_opening_again(open_node: Open) -> None:
    first = await open_node()
    made = await create(first)
    await first.close()
    assert (await (await open_node()).get(made["id"]))["version"] == made["version"]


async def test_the_existing_counters_tell_what_was_stored_and_refused(node: Node) -> None:
    await create(node, tier="long")
    with pytest.raises(Invalid):
        await create(node, priority=0)
    await node.bulk([fields("x"), None], caller())
    (stores,) = [metric for metric in node.metrics() if metric.name == "ai_memory_store_total"]
    assert {sample.labels: sample.value for sample in stores.samples()} == {
        (("tier", "long"), ("result", "ok")): 1,
        (("tier", "mid"), ("result", "error")): 1,
        (("tier", "mid"), ("result", "ok")): 1,
        (("tier", "none"), ("result", "error")): 1,
    }
