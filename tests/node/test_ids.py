"""What a request names by the beginning of an id, and what it must not hit by it."""

from __future__ import annotations

import pytest

from aimem.errors import Ambiguous, NotFound
from aimem.node.node import Node
from tests.node.conftest import caller

UUIDS = "1f6fb0a4-0000-8000-8000-00000000000a", "1f6fb0a4-0000-8000-8000-00000000000b"


async def holding(node: Node, *ids: str) -> None:
    rows = [{"id": each, "title": each, "content": "c", "namespace": "n"} for each in ids]
    assert (await node.import_object({"memories": rows}, caller())).body["imported"] == len(ids)


@pytest.mark.parametrize("named", ["in-3-13", "task-1", "1", "a"])
async def test_an_id_of_somebodys_own_is_no_prefix_where_something_changes(node: Node, named: str) -> None:
    """The id `in-3-13` was gone, and a delete of it hit `in-3-133`."""
    await holding(node, f"{named}3")
    for attempt in (
        node.delete(named, None, caller()),
        node.update(named, {"content": "d"}, caller()),
        node.promote(named, caller()),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await node.get(named))["memory"]["content"] == "c"  # reading does no harm


async def test_the_beginning_of_a_uuid_is_one_for_every_request(node: Node) -> None:
    await holding(node, UUIDS[0])
    assert (await node.promote("1f6fb0a4", caller())).body["id"] == UUIDS[0]
    assert (await node.update("1f6fb0a4-00", {"content": "d"}, caller())).body["content"] == "d"
    await holding(node, UUIDS[1])
    with pytest.raises(Ambiguous):
        await node.delete("1f6fb0a4-00", None, caller())
    assert (await node.delete(UUIDS[1][:-1] + "b", None, caller())).body["deleted"]
