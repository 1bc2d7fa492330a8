"""With `archive_superseded`, what a write writes over goes to the archive, and can come back from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimem.node.caller import Caller
from aimem.node.node import Node
from aimem.node.settings import KEYWORD, NodeSettings

CALLER = Caller("ai:mara", "request")


@pytest.mark.parametrize("keep", [True, False])
async def test_what_is_written_over_is_kept_when_asked_for(tmp_path: Path, keep: bool) -> None:
    node = await Node.open(NodeSettings(tmp_path / "a.db", tier=KEYWORD, archive_superseded=keep))
    first = (await node.create({"title": "A", "content": "first"}, CALLER)).body
    await node.create({"title": "A", "content": "second"}, CALLER)
    await node.update(first["id"], {"content": "third"}, CALLER)
    await node.update(first["id"], {"priority": 9}, CALLER)  # says nothing else, so nothing is lost
    rows = (await node.archived({}))["archived"]
    assert [row["content"] for row in rows] == (["second", "first"] if keep else [])
    if keep:
        assert {row["archive_reason"] for row in rows} == {"superseded"}
        await node.restore(rows[-1]["id"], CALLER)
        found = await node.get(first["id"])
        assert (found["content"], found["priority"]) == ("first", 5)
        assert [row["content"] for row in (await node.archived({}))["archived"]] == ["second"]
    assert await node.check() == []
    await node.close()
