"""Memories over the API: what is stored, told and refused, in the shapes that clients of the existing system know."""

from __future__ import annotations

import re

import pytest

from .conftest import Checked

PLAIN = {"title": "A", "content": "x"}


def test_a_plain_store_has_the_defaults_and_an_anonymous_author(api: Checked) -> None:
    reply = api.send("POST", "/memories", PLAIN)
    assert reply.status == 201
    stored = reply.json()
    assert (stored["tier"], stored["namespace"], stored["title"]) == ("mid", "global", "A")
    assert re.fullmatch(r"anonymous:req-[0-9a-f]{8}", stored["agent_id"])
    assert reply.headers["etag"] == f'"{stored["version"]}"'


def test_the_author_is_the_header_not_what_metadata_says(api: Checked) -> None:
    stored = api.ok("POST", "/memories", {**PLAIN, "metadata": {"agent_id": "bob"}}, X_Agent_Id="alice")
    assert stored["agent_id"] == "alice"
    assert api.ok("GET", f"/memories/{stored['id']}")["metadata"]["agent_id"] == "alice"


def test_storing_a_held_pair_merges_into_it_and_tells_what_stands(api: Checked) -> None:
    """B-3."""
    first = api.ok("POST", "/memories", {**PLAIN, "tier": "long"}, X_Agent_Id="alice")
    second = api.ok("POST", "/memories", {**PLAIN, "content": "y", "priority": 1, "tier": "short"}, X_Agent_Id="bob")
    assert second["id"] == first["id"]
    assert (second["tier"], second["agent_id"]) == ("long", "alice")
    assert first["id"] not in second.get("potential_contradictions", [])
    found = api.ok("GET", f"/memories/{first['id']}")
    assert (found["content"], found["priority"], found["tier"]) == ("y", 5, "long")
    assert "expires_at" not in found


def test_a_conflict_is_an_error_or_a_numbered_title_when_asked_for(api: Checked) -> None:
    first = api.ok("POST", "/memories", PLAIN)
    refusal = api.refused(409, "POST", "/memories", {**PLAIN, "on_conflict": "error"})
    assert refusal["existing_id"] == first["id"]
    numbered = api.ok("POST", "/memories", {**PLAIN, "on_conflict": "version"})
    assert numbered["title"] == "A (2)"


def test_similar_titles_in_the_namespace_are_named(api: Checked) -> None:
    first = api.ok("POST", "/memories", {"title": "pump pressure", "content": "41"})
    second = api.ok("POST", "/memories", {"title": "pump state", "content": "off"})
    assert second["potential_contradictions"] == [first["id"]]


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (422, {"tier": "LONG"}),
        (422, {"tags": None}),
        (422, {"title": 7}),
        (400, {"content": "a\rb"}),
        (400, {"content": "a\0b"}),
        (400, {"content": "\ud800"}),
        (400, {"priority": 11}),
        (400, {"confidence": 1.5}),
        (400, {"tags": ["t"] * 51}),
        (400, {"source": "x"}),
        (400, {"scope": "x"}),
        (400, {"namespace": "a//b"}),
        (400, {"namespace": "a/b/c/d/e/f/g/h/i"}),
        (400, {"title": "x" * 513}),
        (400, {"content": "x" * 65_537}),
        (400, {"expires_at": "2001-01-01T00:00:00Z"}),
        (400, {"agent_id": "not an id"}),
    ],
)
def test_a_broken_rule_is_refused_and_nothing_is_stored(api: Checked, status: int, change: dict[str, object]) -> None:
    api.refused(status, "POST", "/memories", {**PLAIN, **change})
    assert api.ok("GET", "/stats")["total"] == 0


def test_crlf_is_stored_as_lf(api: Checked) -> None:
    """B-25."""
    stored = api.ok("POST", "/memories", {**PLAIN, "content": "a\r\nb"})
    assert api.ok("GET", f"/memories/{stored['id']}")["content"] == "a\nb"


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (415, b'{"title":"A","content":"x"}', "text/plain"),
        (415, b'{"title":"A","content":"x"}', ""),
        (400, b"{not json", "application/json"),
        (400, b"", "application/json"),
        (400, b'{"title":"\xff"}', "application/json"),
        (400, b"[" * 100_000, "application/json"),
        (400, b'{"title":"A","content":"x","confidence":NaN}', "application/json"),
        (422, b'["a list"]', "application/json"),
        (422, b'{"title":"A"}', "application/json; charset=utf-8"),
    ],
)
def test_a_body_that_is_no_memory_is_refused_with_the_status_of_its_fault(
    api: Checked, status: int, body: bytes, content_type: str
) -> None:
    api.refused(status, "POST", "/memories", body, Content_Type=content_type)


def test_a_memory_is_found_by_id_and_by_its_unique_beginning(api: Checked) -> None:
    stored = api.ok("POST", "/memories", PLAIN)
    whole = api.ok("GET", f"/memories/{stored['id']}")
    assert whole["memory"]["title"] == whole["title"] == "A"
    assert whole["links"] == []
    assert api.ok("GET", f"/memories/{stored['id'][:8]}") == whole
    assert api.refused(404, "GET", "/memories/nope")["error"] == "not found"


def test_a_beginning_that_several_share_is_named_as_ambiguous(api: Checked) -> None:
    for number in range(40):
        api.ok("POST", "/memories", {"title": f"note {number}", "content": "x"})
    first = {memory["id"][0] for memory in api.ok("GET", "/memories", query={"limit": "40"})["memories"]}
    shared = next(
        digit
        for digit in first
        if sum(
            memory["id"].startswith(digit) for memory in api.ok("GET", "/memories", query={"limit": "40"})["memories"]
        )
        > 1
    )
    refusal = api.refused(400, "GET", f"/memories/{shared}")
    assert refusal["error"].startswith("ambiguous ID prefix")


def test_an_update_changes_what_it_names_and_never_lowers_the_tier(api: Checked) -> None:
    stored = api.ok("POST", "/memories", {**PLAIN, "tier": "long"})
    reply = api.send("PUT", f"/memories/{stored['id']}", {"content": "new", "tier": "short", "priority": 2})
    changed = reply.json()
    assert (changed["content"], changed["tier"], changed["priority"], changed["title"]) == ("new", "long", 2, "A")
    assert reply.headers["etag"] == f'"{changed["version"]}"'
    assert changed["version"] > stored["version"]


def test_an_update_onto_a_taken_pair_is_a_conflict(api: Checked) -> None:
    api.ok("POST", "/memories", {"title": "B", "content": "x"})
    stored = api.ok("POST", "/memories", PLAIN)
    api.refused(409, "PUT", f"/memories/{stored['id']}", {"title": "B"})


def test_a_tier_raised_to_long_takes_the_end_away(api: Checked) -> None:
    """B-2."""
    stored = api.ok("POST", "/memories", PLAIN)
    assert "expires_at" in api.ok("GET", f"/memories/{stored['id']}")
    assert "expires_at" not in api.ok("PUT", f"/memories/{stored['id']}", {"tier": "long"})


def test_a_stale_version_is_refused_and_the_current_one_is_told(api: Checked) -> None:
    stored = api.ok("POST", "/memories", PLAIN)
    path = f"/memories/{stored['id']}"
    changed = api.ok("PUT", path, {"content": "1"}, If_Match=f'"{stored["version"]}"')
    for method, body, headers in (
        ("PUT", {"content": "2"}, {"If_Match": f'"{stored["version"]}"'}),
        ("PUT", {"content": "2", "expected_version": stored["version"]}, {}),
        ("DELETE", {"expected_version": stored["version"]}, {}),
        ("DELETE", None, {"If_Match": f'"{stored["version"]}"'}),
    ):
        refusal = api.refused(409, method, path, body, **headers)
        assert refusal["code"] == "version_conflict"
        assert refusal["current"] == changed["version"]
    api.ok("DELETE", path, If_Match=f'"{changed["version"]}"')


def test_a_deleted_memory_is_gone_and_a_new_one_is_another_birth(api: Checked) -> None:
    stored = api.ok("POST", "/memories", {**PLAIN, "tier": "long"})
    assert api.ok("DELETE", f"/memories/{stored['id']}")["deleted"] is True
    api.refused(404, "GET", f"/memories/{stored['id']}")
    api.refused(404, "DELETE", f"/memories/{stored['id']}")
    again = api.ok("POST", "/memories", PLAIN)
    assert api.ok("GET", f"/memories/{again['id']}")["tier"] == "mid"


def test_a_promoted_memory_is_long_and_has_no_end(api: Checked) -> None:
    stored = api.ok("POST", "/memories", PLAIN)
    promoted = api.ok("POST", f"/memories/{stored['id']}/promote")
    assert (promoted["promoted"], promoted["id"], promoted["tier"]) == (True, stored["id"], "long")
    assert "expires_at" not in api.ok("GET", f"/memories/{stored['id']}")


def test_a_bulk_judges_each_row_and_tells_ids_in_order(api: Checked) -> None:
    """HOLE 19."""
    outcome = api.ok("POST", "/memories/bulk", [PLAIN, {"title": "", "content": "x"}, {"title": "B", "content": "y"}])
    assert outcome["created"] == 2
    assert [error["index"] for error in outcome["errors"]] == [1]
    assert outcome["errors"][0]["title"] == ""
    assert len(outcome["ids"]) == 2
    assert [result["status"] for result in outcome["results"]] == [201, 400, 201]
    assert api.ok("POST", "/memories/bulk", {"memories": [PLAIN]})["created"] == 1


def test_a_bulk_over_its_bound_is_refused_whole(api: Checked) -> None:
    api.refused(400, "POST", "/memories/bulk", [PLAIN] * 1_001)
    assert api.ok("GET", "/stats")["total"] == 0


def test_a_repeat_under_its_key_is_the_same_write(api: Checked) -> None:
    first = api.send("POST", "/memories", PLAIN, Idempotency_Key="k1", X_Agent_Id="alice")
    again = api.send("POST", "/memories", PLAIN, Idempotency_Key="k1", X_Agent_Id="alice")
    assert again.json() == first.json()
    assert again.status == first.status
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    other = api.refused(422, "POST", "/memories", {**PLAIN, "content": "z"}, Idempotency_Key="k1", X_Agent_Id="alice")
    assert other["code"] == "idempotency_key_reused"
    api.refused(400, "POST", "/memories", PLAIN, Idempotency_Key="k" * 256)


def test_lists_filter_page_and_order(api: Checked) -> None:
    for number in range(6):
        api.ok(
            "POST",
            "/memories",
            {
                "title": f"n{number}",
                "content": "x",
                "priority": 1 + number % 3,
                "namespace": f"ns/{number % 2}",
                "tags": [f"t{number}"],
            },
            X_Agent_Id=f"a{number % 2}",
        )
    titles = [memory["title"] for memory in api.ok("GET", "/memories")["memories"]]
    assert titles == ["n5", "n2", "n4", "n1", "n3", "n0"]
    assert [m["title"] for m in api.ok("GET", "/memories", query={"limit": "2", "offset": "1"})["memories"]] == titles[
        1:3
    ]
    for query, expected in (
        ({"namespace": "ns/0"}, {"n0", "n2", "n4"}),
        ({"tags": "t3"}, {"n3"}),
        ({"min_priority": "3"}, {"n2", "n5"}),
        ({"agent_id": "a1"}, {"n1", "n3", "n5"}),
        ({"tier": "long"}, set()),
        ({"since": "2099-01-01T00:00:00Z"}, set()),
        ({"until": "2099-01-01T00:00:00Z"}, set(titles)),
        ({"limit": "0"}, set()),
    ):
        assert {m["title"] for m in api.ok("GET", "/memories", query=query)["memories"]} == expected, query
    api.refused(400, "GET", "/memories", query={"limit": "many"})
    api.refused(400, "GET", "/memories", query={"agent_id": "not an id"})
