"""List, search, namespaces, figures and the feed."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.errors import Invalid, Malformed, WrongShape
from aimem.node.node import Node
from tests.node.conftest import Clock, caller


async def fill(node: Node, clock: Clock) -> None:
    rows: dict[str, dict[str, Any]] = {
        "plain": {},
        "urgent": {"priority": 9, "tags": ["red"]},
        "kept": {"tier": "long", "namespace": "org/unit", "tags": ["red", "blue"]},
        "shared": {"scope": "collective", "namespace": "org"},
    }
    for title, more in rows.items():
        await node.create({"title": title, "content": f"words about {title}", **more}, caller(f"ai:{title}"))
        clock.forward(seconds=60)


def titles(reply: dict[str, Any]) -> list[str]:
    return [memory["title"] for memory in reply["memories"]]


async def test_a_list_is_by_priority_then_newest_and_paged(node: Node, clock: Clock) -> None:
    await fill(node, clock)
    assert titles(await node.list({})) == ["urgent", "shared", "kept", "plain"]
    page = await node.list({"limit": "2", "offset": "1"})
    assert (titles(page), page["count"]) == (["shared", "kept"], 2)
    assert titles(await node.list({"limit": "0"})) == []
    assert len(titles(await node.list({"limit": "5000"}))) == 4


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"namespace": "org"}, {"shared"}),
        ({"tier": "long"}, {"kept"}),
        ({"tags": "red"}, {"urgent", "kept"}),
        ({"min_priority": "6"}, {"urgent"}),
        ({"min_priority": "-5"}, {"plain", "urgent", "kept", "shared"}),
        ({"min_priority": "9999999999999999999"}, set()),
        ({"agent_id": "ai:plain"}, {"plain"}),
        ({"as_agent": "org/unit"}, {"kept", "shared"}),
        ({"namespace": "nowhere"}, set()),
    ],
)
async def test_every_filter_holds_in_list_search_and_recall(
    node: Node, clock: Clock, params: dict[str, str], expected: set[str]
) -> None:
    await fill(node, clock)
    assert set(titles(await node.list(params))) == expected
    assert set(titles(await node.search({"q": "words about", **params}))) == expected
    assert set(titles(await node.recall({"context": "words", **params}, caller()))) == expected


async def test_since_and_until_are_instants_in_any_offset(node: Node, clock: Clock) -> None:
    """B-24."""
    await fill(node, clock)
    made = (await node.get((await node.list({"agent_id": "ai:urgent"}))["memories"][0]["id"]))["created_at"]
    assert titles(await node.list({"since": made, "until": made})) == ["urgent"]
    assert titles(await node.list({"since": made.replace("+00:00", "Z")})) == ["urgent", "shared", "kept"]
    assert titles(await node.list({"until": made})) == ["urgent", "plain"]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"limit": "ten"}, Malformed),
        ({"limit": "-1"}, Invalid),
        ({"limit": 2.5}, WrongShape),
        ({"limit": True}, WrongShape),
        ({"min_priority": "high"}, Malformed),
        ({"tier": "LONG"}, Invalid),
        ({"since": "yesterday"}, Invalid),
        ({"agent_id": "a b"}, Invalid),
        ({"as_agent": "a//b"}, Invalid),
        ({"tags": ["red"]}, WrongShape),
    ],
)
async def test_a_parameter_that_can_not_be_read_is_named(
    node: Node, params: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = params
    with pytest.raises(error, match=name):
        await node.list(params)


async def test_a_search_wants_all_words_and_looks_not_at_the_author(node: Node, clock: Clock) -> None:
    await fill(node, clock)
    reply = await node.search({"q": "words urgent"})
    assert titles(reply) == ["urgent"]
    assert (reply["results"], reply["count"], reply["query"]) == (reply["memories"], 1, "words urgent")
    await node.create({"title": "by another", "content": "x"}, caller("ai:librarian"))
    assert titles(await node.search({"q": "librarian"})) == []
    assert titles(await node.recall({"context": "librarian"}, caller())) == ["by another"]


@pytest.mark.parametrize("q", ["", "  "])
async def test_a_search_for_nothing_is_refused(node: Node, q: str) -> None:
    with pytest.raises(Invalid, match="q is"):
        await node.search({"q": q})
    with pytest.raises(Invalid, match="q is"):
        await node.search({})


async def test_reads_but_recall_do_not_touch(node: Node, clock: Clock) -> None:
    await fill(node, clock)
    await node.list({})
    found = await node.search({"q": "urgent"})
    assert (await node.get(found["results"][0]["id"]))["access_count"] == 0


async def test_namespaces_and_figures(node: Node, clock: Clock) -> None:
    await fill(node, clock)
    await node.create({"title": "brief", "content": "x", "ttl_secs": 600}, caller())
    assert (await node.namespaces({}))["namespaces"] == [
        {"namespace": "global", "count": 3},
        {"namespace": "org", "count": 1},
        {"namespace": "org/unit", "count": 1},
    ]
    stats = await node.stats()
    assert (stats["total"], stats["expiring_soon"], stats["links_count"]) == (5, 1, 0)
    assert {each["tier"]: each["count"] for each in stats["by_tier"]} == {"mid": 4, "long": 1}
    assert stats["by_namespace"] == (await node.namespaces({}))["namespaces"]
    assert stats["db_size_bytes"] > 0


async def test_the_feed_gives_every_key_once_in_pages(node: Node, clock: Clock) -> None:
    await fill(node, clock)
    first = await node.list({"tier": "long"})
    await node.delete(first["memories"][0]["id"], None, caller())
    seen, after = [], ""
    while True:
        page = await node.changes({"limit": "2", "after": after, "kinds": "memory"})
        seen += page["changes"]
        after = page["cursor"]
        if not page["more"]:
            break
    assert [each["seq"] for each in seen] == sorted(each["seq"] for each in seen)
    assert [each["deleted"] for each in seen] == [False, False, False, True]
    assert len({each["key"] for each in seen}) == 4
    assert (await node.changes({"after": after, "kinds": "memory"}))["changes"] == []
    with pytest.raises(Invalid, match="cursor"):
        await node.changes({"after": "here"})
    with pytest.raises(Invalid, match="limit"):
        await node.changes({"limit": "0"})


async def test_the_digest_tells_whether_anything_changed(node: Node, clock: Clock) -> None:
    empty = node.digest()
    await fill(node, clock)
    full = node.digest()
    assert empty["digest"] != full["digest"]
    assert len(full["buckets"]) == 256
    await node.recall({"context": "words"}, caller())
    await node.touching.fold()
    assert node.digest()["digest"] == full["digest"]
    assert node.digest()["head"] > full["head"]
