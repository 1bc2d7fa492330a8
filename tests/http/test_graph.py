"""Following links over the API."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from .conftest import Checked


def store(api: Checked, title: str, **more: Any) -> str:
    return str(api.ok("POST", "/memories", {"title": title, "content": title, "namespace": "kg", **more})["id"])


def link(api: Checked, source: str, target: str, agent: str = "ai:ann", **more: Any) -> None:
    api.ok("POST", "/links", {"source_id": source, "target_id": target, **more}, X_Agent_Id=agent)


def query(api: Checked, source: str, **more: Any) -> list[dict[str, Any]]:
    found = api.ok("POST", "/kg/query", {"source_id": source, **more})
    assert found["count"] == len(found["memories"]) == len(found["paths"])
    return list(found["memories"])


@pytest.fixture
def chain(api: Checked) -> list[str]:
    """a -> b -> c -> a, and a -> c."""
    ids = [store(api, title) for title in "abc"]
    for source, target in ((0, 1), (1, 2), (2, 0)):
        link(api, ids[source], ids[target])
    return ids


def test_a_query_goes_outward_by_the_shortest_ways_and_ends_in_a_circle(api: Checked, chain: list[str]) -> None:
    a, b, c = chain
    assert [row["target_id"] for row in query(api, a)] == [b]
    rows = query(api, a, max_depth=5)
    assert [(row["target_id"], row["depth"], row["path"]) for row in rows] == [
        (b, 1, f"{a}->{b}"),
        (c, 2, f"{a}->{b}->{c}"),
    ]
    assert rows[1]["title"] == "c"
    assert rows[1]["target_namespace"] == "kg"
    link(api, a, c, relation="supersedes")
    link(api, a, c)
    assert [(row["target_id"], row["relation"]) for row in query(api, a[:20], max_depth=5)] == [
        (b, "related_to"),
        (c, "supersedes"),
        (c, "related_to"),
    ]
    assert len(query(api, a, max_depth=5, limit=2)) == 2
    assert query(api, "nobody") == []


def test_a_dense_graph_costs_its_links_and_not_its_paths(api: Checked) -> None:
    """B-11: five layers of eight memories, each linked to all of the next, have 37,448 paths and 264 links."""
    root = store(api, "root")
    layers = [[root], *([store(api, f"{layer}.{place}") for place in range(8)] for layer in range(5))]
    for near, far in pairwise(layers):
        for source in near:
            for target in far:
                link(api, source, target)
    rows = query(api, root, max_depth=5, limit=1000)
    assert len(rows) == 8 + 4 * 64
    assert {row["target_id"] for row in rows} == {each for layer in layers[1:] for each in layer}


def test_only_links_that_an_agent_made_are_followed(api: Checked, chain: list[str]) -> None:
    """B-10."""
    a, b, c = chain
    link(api, a, c, "ai:bob")
    assert [row["target_id"] for row in query(api, a, allowed_agents=["ai:bob"])] == [c]
    assert [row["target_id"] for row in query(api, a, allowed_agents=["ai:ann"], max_depth=2)] == [b, c]
    assert query(api, a, allowed_agents=["ai:eve"]) == query(api, a, allowed_agents=[]) == []


def test_time_decides_which_links_hold(api: Checked, chain: list[str]) -> None:
    a, b, c = chain
    link(api, a, c, valid_from="2020-01-01T00:00:00Z", valid_until="2021-01-01T00:00:00Z")
    assert [row["target_id"] for row in query(api, a)] == [b]
    assert [row["target_id"] for row in query(api, a, valid_at="2020-06-01T00:00:00Z")] == [c]
    assert query(api, a, valid_at="2019-06-01T00:00:00Z") == query(api, a, valid_at="2021-01-01T00:00:00Z") == []
    events = api.ok("GET", "/kg/timeline", query={"source_id": a})["events"]
    assert [(each["target_id"], each["observed_by"]) for each in events] == [(c, "ai:ann"), (b, "ai:ann")]
    assert events[0]["valid_until"] == "2021-01-01T00:00:00+00:00"
    until = {"source_id": a, "until": "2020-01-01T00:00:00Z"}
    assert api.ok("GET", "/kg/timeline", query=until)["count"] == 1
    assert api.ok("GET", "/kg/timeline", query={"source_id": a, "since": "2020-01-02T00:00:00Z"})["count"] == 1
    assert api.ok("GET", "/kg/timeline", query={"source_id": "nobody"})["events"] == []


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (422, {"max_depth": 0}),
        (422, {"max_depth": 6}),
        (422, {"allowed_agents": "ai:bob"}),
        (422, {"source_id": None}),
        (400, {"limit": 0}),
        (400, {"valid_at": "soon"}),
    ],
)
def test_a_query_that_can_not_be_is_refused(api: Checked, status: int, change: dict[str, Any]) -> None:
    api.refused(status, "POST", "/kg/query", {"source_id": "x"} | change)


def test_lineage_is_told_both_ways_also_of_what_was_archived(api: Checked) -> None:
    first, second, other = (store(api, title) for title in ("one", "two", "other"))
    body = {"ids": [first, second], "title": "both", "summary": "s", "namespace": "kg"}
    made = api.ok("POST", "/consolidate", body)["id"]
    link(api, other, made, relation="supersedes")

    def nodes(memory: str, **asked: str) -> dict[str, tuple[str, int, bool]]:
        found = api.ok("GET", f"/memories/{memory}/lineage", query=asked)
        assert found["count"] == len(found["nodes"])
        return {each["id"]: (each["relation"], each["depth"], bool(each["cid"])) for each in found["nodes"]}

    sources = {first: ("derived_from", 2, True), second: ("derived_from", 2, True)}
    assert nodes(other) == {made: ("supersedes", 1, True), **sources}
    assert nodes(other, max_depth="1") == {made: ("supersedes", 1, True)}
    assert nodes(made, direction="descendants") == {other: ("supersedes", 1, True)}
    api.ok("POST", f"/archive/{first}/restore")
    assert nodes(first, direction="descendants") == {made: ("derived_from", 1, True), other: ("supersedes", 2, True)}
    api.refused(404, "GET", "/memories/nobody/lineage")
    api.refused(400, "GET", f"/memories/{made}/lineage", query={"direction": "sideways"})
