"""An idempotency key makes any write safe to repeat: the same reply again, and nothing done twice."""

from __future__ import annotations

import pytest

from aimem.errors import Invalid, KeyReused, NotFound, VersionConflict
from aimem.limits import IDEMPOTENCY_KEY_BYTES_MAX
from aimem.node.node import Node
from tests.node.conftest import Clock, Open, caller

RAW = {"title": "one", "content": "some words"}


async def test_a_repeated_create_gets_the_same_reply_and_writes_nothing(node: Node) -> None:
    first = await node.create(RAW, caller(key="k"))
    await node.update(first.body["id"], {"content": "changed since"}, caller())
    again = await node.create(dict(RAW), caller(key="k"))
    assert (again.status, again.body, again.replayed) == (201, first.body, True)
    assert not first.replayed
    assert (await node.get(first.body["id"]))["content"] == "changed since"


async def test_the_reply_is_the_same_though_similar_titles_came_meanwhile(node: Node) -> None:
    first = await node.create(RAW, caller(key="k"))
    await node.create({**RAW, "title": "one more"}, caller())
    assert (await node.create(RAW, caller(key="k"))).body == first.body


async def test_the_key_with_another_request_is_refused(node: Node) -> None:
    made = await node.create(RAW, caller(key="k"))
    for attempt in (
        node.create({**RAW, "content": "other"}, caller(key="k")),
        node.update(made.body["id"], RAW, caller(key="k")),
        node.delete(made.body["id"], None, caller(key="k")),
        node.promote(made.body["id"], caller(key="k")),
    ):
        with pytest.raises(KeyReused):
            await attempt
    assert (await node.get(made.body["id"]))["tier"] == "mid"


async def test_a_key_belongs_to_its_caller(node: Node) -> None:
    await node.create(RAW, caller("ai:a", key="k"))
    other = await node.create({**RAW, "title": "two"}, caller("ai:b", key="k"))
    assert not other.replayed
    nobody = await node.create({**RAW, "title": "three"}, caller(None, key="k"))
    assert not nobody.replayed


async def test_update_delete_and_promote_repeat_too_also_by_prefix(node: Node) -> None:
    made = (await node.create(RAW, caller())).body
    prefix = made["id"][:8]
    changed = await node.update(prefix, {"priority": 3}, caller(key="u", expected=made["version"]))
    assert (await node.update(prefix, {"priority": 3}, caller(key="u", expected=made["version"]))).body == changed.body
    promoted = await node.promote(prefix, caller(key="p"))
    assert (await node.promote(prefix, caller(key="p")))[:3] == (*promoted[:2], True)
    deleted = await node.delete(prefix, None, caller(key="d"))
    assert (await node.delete(prefix, None, caller(key="d")))[:3] == (*deleted[:2], True)


async def test_a_refused_write_leaves_its_key_free(node: Node) -> None:
    made = (await node.create(RAW, caller())).body
    await node.update(made["id"], {"priority": 3}, caller())
    with pytest.raises(VersionConflict):
        await node.update(made["id"], {"priority": 4}, caller(key="u", expected=made["version"]))
    assert (await node.update(made["id"], {"priority": 4}, caller(key="u"))).body["priority"] == 4
    with pytest.raises(NotFound):
        await node.delete("nothing", None, caller(key="d"))
    assert (await node.delete(made["id"], None, caller(key="d"))).status == 200


async def test_each_row_of_a_bulk_is_repeatable(node: Node) -> None:
    rows = [{**RAW, "title": f"t{number}"} for number in range(3)]
    first = await node.bulk(rows[:2], caller(key="b"))
    assert not first.replayed
    await node.delete(first.body["ids"][0], None, caller())
    longer = await node.bulk(rows, caller(key="b"))
    assert longer.body["ids"][:2] == first.body["ids"]
    assert not longer.replayed
    again = await node.bulk(rows, caller(key="b"))
    assert again.replayed
    assert again.body == longer.body
    with pytest.raises(NotFound):
        await node.get(first.body["ids"][0])
    swapped = await node.bulk([rows[1], rows[0]], caller(key="b"))
    assert [each["code"] for each in swapped.body["errors"]] == ["idempotency_key_reused"] * 2


async def test_the_key_of_a_bulk_is_not_that_of_a_single_write(node: Node) -> None:
    await node.bulk([RAW], caller(key="k"))
    assert not (await node.create(RAW, caller(key="k"))).replayed


async def test_a_key_survives_opening_again_and_lives_a_day(open_node: Open, clock: Clock) -> None:
    first = await open_node()
    made = await first.create(RAW, caller(key="k"))
    await first.close()
    node = await open_node()
    clock.forward(days=0.9)
    assert (await node.create(RAW, caller(key="k"))).body == made.body
    clock.forward(days=0.2)
    await node.housekeeping.round()
    assert not (await node.create(RAW, caller(key="k"))).replayed


@pytest.mark.parametrize("key", ["", "k" * (IDEMPOTENCY_KEY_BYTES_MAX + 1)])
async def test_a_key_is_bounded(node: Node, key: str) -> None:
    with pytest.raises(Invalid, match="idempotency key"):
        await node.create(RAW, caller(key=key))
