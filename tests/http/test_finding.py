"""Search and recall over the API, on a node that finds by words."""

from __future__ import annotations

import pytest

from .conftest import Checked


def put(api: Checked, title: str, content: str, **fields: object) -> str:
    stored: str = api.ok("POST", "/memories", {"title": title, "content": content, **fields})["id"]
    return stored


def titles(reply: dict[str, object], key: str = "memories") -> list[str]:
    found = reply[key]
    assert isinstance(found, list)
    return [memory["title"] for memory in found]


def test_a_search_wants_all_words_and_answers_under_both_names(api: Checked) -> None:
    put(api, "one", "the pump is red")
    put(api, "two", "the gate is red")
    reply = api.ok("GET", "/search", query={"q": "red pumps"})
    assert titles(reply, "results") == titles(reply) == ["one"]
    assert (reply["count"], reply["query"]) == (1, "red pumps")


def test_a_search_looks_at_title_content_and_tags_but_not_at_the_author(api: Checked) -> None:
    api.ok("POST", "/memories", {"title": "one", "content": "x", "tags": ["hydraulics"]}, X_Agent_Id="ai:mara")
    assert titles(api.ok("GET", "/search", query={"q": "hydraulics"})) == ["one"]
    assert titles(api.ok("GET", "/search", query={"q": "mara"})) == []
    assert titles(api.ok("GET", "/recall", query={"context": "what did mara say"})) == ["one"]


@pytest.mark.parametrize("query", [{}, {"q": ""}, {"q": "  "}])
def test_a_search_for_nothing_is_refused(api: Checked, query: dict[str, str]) -> None:
    api.refused(400, "GET", "/search", query=query)


@pytest.mark.parametrize(
    "text", ['"', "a AND", "NEAR(", "title:x", "x*", "^", "(", "{a}", "-", "' OR 1=1 --", "AND OR NOT"]
)
def test_query_syntax_in_a_question_is_only_text(api: Checked, text: str) -> None:
    put(api, "one", "plain words")
    api.ok("GET", "/search", query={"q": text})
    api.ok("POST", "/recall", {"context": text})


def test_a_recall_finds_by_any_word_and_counts_as_a_use(api: Checked) -> None:
    memory_id = put(api, "pump", "the pump in the depot")
    put(api, "gate", "the gate in the harbour")
    reply = api.ok("POST", "/recall", {"context": "is the pump broken?", "limit": 5})
    assert titles(reply) == ["pump"]
    assert reply["mode"] == "keyword"
    assert 0 <= reply["memories"][0]["score"] <= 1.2
    assert api.ok("GET", f"/memories/{memory_id}")["access_count"] == 1


def test_five_recalls_make_a_mid_memory_long(api: Checked) -> None:
    memory_id = put(api, "pump", "the pump in the depot")
    for _ in range(5):
        api.ok("GET", "/recall", query={"context": "pump"})
    api.inner._run(api.inner._node.touching.fold())
    found = api.ok("GET", f"/memories/{memory_id}")
    assert (found["tier"], found["access_count"]) == ("long", 5)
    assert "expires_at" not in found


def test_one_recall_never_shortens_a_life(api: Checked) -> None:
    """B-1."""
    memory_id = put(api, "pump", "the pump in the depot")
    before = api.ok("GET", f"/memories/{memory_id}")["expires_at"]
    api.ok("GET", "/recall", query={"context": "pump"})
    api.inner._run(api.inner._node.touching.fold())
    assert api.ok("GET", f"/memories/{memory_id}")["expires_at"] >= before


@pytest.mark.parametrize(
    "body",
    [{}, {"context": ""}, {"context": " "}, {"context": "x", "budget_tokens": 0}, {"context": "x", "as_agent": "a//b"}],
)
def test_a_recall_without_a_question_or_with_a_bad_value_is_refused(api: Checked, body: dict[str, object]) -> None:
    api.refused(400, "POST", "/recall", body)


def test_a_recall_takes_a_list_for_no_request(api: Checked) -> None:
    api.refused(422, "POST", "/recall", ["x"])


def test_a_budget_packs_what_fits_and_says_what_was_dropped(api: Checked) -> None:
    """B-21."""
    put(api, "large pump", "pump " * 400)
    put(api, "small pump", "pump")
    reply = api.ok("POST", "/recall", {"context": "pump", "budget_tokens": 50})
    assert titles(reply) == ["small pump"]
    assert reply["budget_tokens"] == 50
    assert reply["tokens_used"] <= 50
    assert reply["meta"]["memories_dropped"] == 1


def test_a_hierarchical_namespace_finds_its_own_and_its_ancestors(api: Checked) -> None:
    for namespace in ("org", "org/team", "org/team/x", "org/other"):
        put(api, namespace, "pump", namespace=namespace)
    found = titles(api.ok("POST", "/recall", {"context": "pump", "namespace": "org/team"}))
    assert set(found) == {"org/team", "org"}
    assert found[0] == "org/team"
    assert titles(api.ok("POST", "/recall", {"context": "pump", "namespace": "org"})) == ["org"]


def test_scopes_limit_what_a_reader_at_a_place_sees(api: Checked) -> None:
    """B-16."""
    for scope in ("private", "team", "collective"):
        put(api, scope, "pump", namespace="a/b/c", scope=scope)
    seen = {
        reader: set(titles(api.ok("POST", "/recall", {"context": "pump", "as_agent": reader})))
        for reader in ("a/b/c", "a/b/d", "z")
    }
    assert seen == {"a/b/c": {"private", "team", "collective"}, "a/b/d": {"team", "collective"}, "z": {"collective"}}


def test_namespaces_are_counted_most_first(api: Checked) -> None:
    for number in range(3):
        put(api, f"n{number}", "x", namespace="many" if number else "few")
    found = api.ok("GET", "/namespaces")["namespaces"]
    assert found == [{"namespace": "many", "count": 2}, {"namespace": "few", "count": 1}]
