"""Contradictions, and how a session starts, over the API."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Checked


def store(api: Checked, title: str, **more: Any) -> str:
    return str(api.ok("POST", "/memories", {"title": title, "content": title, "namespace": "ops", **more})["id"])


def ask(api: Checked, **query: str) -> tuple[set[str], set[tuple[frozenset[str], bool]]]:
    found = api.ok("GET", "/contradictions", query=query)
    links = {
        (frozenset((each["source_id"], each["target_id"])), each["synthesized"])
        for each in found["links"]
        if each["relation"] == "contradicts"
    }
    assert len(links) == len(found["links"])
    return {each["id"] for each in found["memories"]}, links


def test_what_is_about_one_topic_and_says_something_else_is_paired(api: Checked) -> None:
    about = store(api, "note", content="open", metadata={"topic": "gate"})
    named = store(api, "gate", content="shut")
    same = store(api, "again", content="shut", metadata={"topic": "gate"})
    store(api, "gate house")
    found, links = ask(api, topic="gate")
    assert found == {about, named, same}
    assert links == {(frozenset((about, named)), True), (frozenset((about, same)), True)}
    api.ok("POST", "/links", {"source_id": same, "target_id": about, "relation": "contradicts"})
    _, links = ask(api, topic="gate", namespace="ops")
    assert links == {(frozenset((about, named)), True), (frozenset((about, same)), False)}
    assert ask(api, topic="gate", namespace="elsewhere") == (set(), set())


def test_without_a_topic_those_of_one_title_are_paired(api: Checked) -> None:
    first, second = store(api, "Gate ", content="open"), store(api, "gate", content="shut")
    store(api, "other")
    found, links = ask(api, namespace="ops")
    assert (len(found), links) == (3, {(frozenset((first, second)), True)})


def test_all_of_a_namespace_is_looked_through_whatever_the_limit(api: Checked) -> None:
    """B-41: what fits stands between more rows than the limit, in whatever order they are read."""
    fits = {store(api, "gate", priority=5)}
    for some in range(2):
        priorities = ({"title": f"{some} {n}", "priority": 1 + 8 * (n % 2)} for n in range(500))
        api.ok("POST", "/memories/bulk", [{**each, "content": "x", "namespace": "ops"} for each in priorities])
        fits |= set() if some else {store(api, "b", metadata={"topic": "gate"}, priority=5)}
    found, links = ask(api, topic="gate", namespace="ops", limit="2")
    assert found == fits
    assert links == {(frozenset(fits), True)}
    assert len(ask(api, topic="gate", limit="1")[0]) == 1


@pytest.mark.parametrize("query", [{}, {"topic": "x", "limit": "-1"}, {"namespace": "a//b"}])
def test_what_can_not_be_asked_is_refused(api: Checked, query: dict[str, str]) -> None:
    api.refused(400, "GET", "/contradictions", query=query)


def test_a_session_starts_with_memories_and_the_standards_of_the_chain(api: Checked) -> None:
    store(api, "a", namespace="ops/x", priority=9)
    store(api, "b", namespace="ops/x")
    started = api.ok("POST", "/session/start", {"namespace": "ops/x", "limit": 1}, X_Agent_Id="ai:mara")
    assert [(each["title"], each["score"]) for each in started["memories"]] == [("a", 0)]
    assert (started["count"], started["mode"], started["agent_id"]) == (1, "session_start", "ai:mara")
    assert not {"standard", "standards"} & started.keys()
    for title, namespace in (("upper", "ops"), ("lower", "ops/x")):
        rule = {"namespace": namespace, "id": store(api, title, namespace=namespace)}
        api.ok("POST", "/namespaces", rule)
        told = api.ok("POST", "/session/start", {"namespace": "ops/x"})
    assert [each["content"] for each in told["standards"]] == ["upper", "lower"]
    assert api.ok("POST", "/session/start", {"namespace": "ops"})["standard"]["title"] == "upper"
    assert api.ok("POST", "/session/start")["session_id"] != told["session_id"]
    assert api.ok("GET", "/memories", query={"namespace": "ops/x"})["memories"][0]["access_count"] == 0
    api.refused(422, "POST", "/session/start", {"namespace": 7})


def test_what_is_not_offered_says_so_as_json(api: Checked) -> None:
    assert api.refused(501, "POST", "/cluster", {"namespace": "ops"})["code"] == "not_built"
