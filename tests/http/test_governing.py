"""The gate over the API: every write of a caller meets the policies of the namespaces that it touches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aimem.http.call import parse_query
from aimem.http.routes import ROUTES

from .conftest import Checked

OPEN, CLOSED = "open", "closed"
SHUT = {"write": "registered", "promote": "registered", "delete": "registered"}


def store(api: Checked, title: str, namespace: str = CLOSED, agent: str = "ai:ann", **more: Any) -> str:
    made = api.ok(
        "POST", "/memories", {"title": title, "content": title, "namespace": namespace, **more}, X_Agent_Id=agent
    )
    return str(made["id"])


def govern(api: Checked, namespace: str, governance: dict[str, Any], **headers: str) -> dict[str, Any]:
    return api.ok("POST", "/namespaces", {"namespace": namespace, "governance": governance}, **headers)


@pytest.fixture
def shut(api: Checked) -> dict[str, str]:
    """Memories in a namespace that was closed after they were stored there, and one outside."""
    held = {title: store(api, title) for title in ("a", "b", "c")}
    held["out"] = store(api, "out", OPEN)
    held["archived"] = store(api, "archived")
    api.ok("POST", "/archive", {"ids": [held["archived"]]})
    api.ok("POST", "/links", {"source_id": held["a"], "target_id": held["b"]})
    hook = {"url": "https://example.net/x", "namespace": CLOSED}
    held["subscription"] = api.ok("POST", "/subscriptions", hook, X_Agent_Id="ai:ann")["id"]
    govern(api, CLOSED, SHUT)
    govern(api, "_agents", SHUT)
    govern(api, "_messages/ai:shut", SHUT)
    return held


def _link(held: dict[str, str]) -> dict[str, str]:
    return {"source_id": held["a"], "target_id": held["b"], "relation": "related_to"}


Attempt = Callable[[dict[str, str]], tuple[str, str, Any]]
_NEW = {"title": "n", "content": "x", "namespace": CLOSED}
ATTEMPTS: dict[str, Attempt] = {
    "POST /api/v1/memories": lambda held: ("POST", "/memories", _NEW),
    "POST /api/v1/memories/bulk": lambda held: ("POST", "/memories/bulk", [_NEW]),
    "PUT /api/v1/memories/{id}": lambda held: ("PUT", f"/memories/{held['a']}", {"content": "y"}),
    "DELETE /api/v1/memories/{id}": lambda held: ("DELETE", f"/memories/{held['a']}", None),
    "POST /api/v1/memories/{id}/promote": lambda held: ("POST", f"/memories/{held['a']}/promote", None),
    "POST /api/v1/links": lambda held: ("POST", "/links", _link(held) | {"relation": "supersedes"}),
    "DELETE /api/v1/links": lambda held: ("DELETE", "/links", _link(held)),
    "POST /api/v1/kg/invalidate": lambda held: ("POST", "/kg/invalidate", _link(held)),
    "POST /api/v1/archive": lambda held: ("POST", "/archive", {"ids": [held["a"]]}),
    "DELETE /api/v1/archive": lambda held: ("DELETE", "/archive", None),
    "POST /api/v1/archive/{id}/restore": lambda held: ("POST", f"/archive/{held['archived']}/restore", None),
    "POST /api/v1/forget": lambda held: ("POST", "/forget", {"namespace": CLOSED}),
    "POST /api/v1/consolidate": lambda held: (
        "POST",
        "/consolidate",
        {"ids": [held["a"], held["b"]], "title": "both", "summary": "s", "namespace": OPEN},
    ),
    "POST /api/v1/entities": lambda held: ("POST", "/entities", {"canonical_name": "n", "namespace": CLOSED}),
    "POST /api/v1/agents": lambda held: ("POST", "/agents", {"agent_id": "ai:new", "agent_type": "ai:x"}),
    "POST /api/v1/subscriptions": lambda held: (
        "POST",
        "/subscriptions",
        {"url": "https://example.net/x", "namespace": CLOSED},
    ),
    "DELETE /api/v1/subscriptions/{id}": lambda held: ("DELETE", f"/subscriptions/{held['subscription']}", None),
    "DELETE /api/v1/subscriptions": lambda held: (
        "DELETE",
        f"/subscriptions?agent_id=ai:ann&namespace={CLOSED}",
        None,
    ),
    "POST /api/v1/notify": lambda held: (
        "POST",
        "/notify",
        {"target_agent_id": "ai:shut", "title": "t", "payload": "p"},
    ),
    "POST /api/v1/import": lambda held: ("POST", "/import", {"memories": [{**_NEW, "tier": "mid"}]}),
}
UNGOVERNED = {
    "POST /api/v1/gc": "ends what has expired: nobody asked for it",
    "POST /api/v1/quarantine/drop": "what is kept aside is no part of the state",
    "POST /api/v1/quarantine/rescue": "see test_what_is_rescued_is_judged",
    "POST /api/v1/pending/{id}/approve": "who may vote is said by the action: see test_pending",
    "POST /api/v1/pending/{id}/reject": "likewise",
    "POST /api/v1/pending/{id}/cancel": "likewise",
    "POST /api/v1/pending/{id}/reopen": "who may vote may, and who sets the rules there: see test_reopening",
    "POST /api/v1/dead_letters/replay": "tells again what the subscription was to be told",
    "POST /api/v1/memories/{id}/grant": "of the author alone: see test_a_grant_is_a_write_where_the_memory_is",
    "POST /api/v1/memories/{id}/revoke": "likewise",
    "POST /api/v1/inbox/{id}/read": "changes nothing for anybody but the agent whose message it is",
    "POST /api/v1/namespaces": "see the tests of who may set a policy",
    "DELETE /api/v1/namespaces": "likewise",
    "POST /api/v1/namespaces/{ns}/standard": "likewise",
    "DELETE /api/v1/namespaces/{ns}/standard": "likewise",
}


def test_no_route_that_changes_something_is_left_out() -> None:
    changing = {f"{route.method} {route.path}" for route in ROUTES if route.changes}
    assert changing == {*ATTEMPTS, *UNGOVERNED}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_closed_namespace_takes_no_write_by_any_way(api: Checked, shut: dict[str, str], name: str) -> None:
    """B-14, HOLE 28: the existing system asks for three of these."""
    before = api.ok("GET", "/digest")["digest"]
    method, path, body = ATTEMPTS[name](shut)
    place, _, query = path.partition("?")
    reply = api.send(method, place, body, parse_query(query), X_Agent_Id="ai:stranger")
    told = reply.json()
    if name.endswith(("bulk", "import")):  # each row is judged by itself
        assert reply.status == 200
        assert "denied by governance" in str(told["errors"])
    else:
        assert reply.status == 403, told
        assert "denied by governance" in told["error"]
    assert api.ok("GET", "/digest")["digest"] == before


@pytest.mark.parametrize("word", ["grant", "revoke"])
def test_a_grant_is_a_write_where_the_memory_is(api: Checked, word: str) -> None:
    held = store(api, "a")
    raw, path = {"agent_id": "ai:x"}, f"/memories/{held}/{word}"
    api.ok("POST", f"/memories/{held}/grant", raw, X_Agent_Id="ai:ann")
    govern(api, CLOSED, SHUT)
    other = {"agent_id": "ai:y"} if word == "grant" else raw
    said = api.refused(403, "POST", path, other, X_Agent_Id="ai:ann")
    assert "denied by governance" in said["error"]
    assert "only the author" in api.refused(403, "POST", path, raw, X_Agent_Id="ai:stranger")["error"]


def test_a_memory_does_not_leave_by_being_moved(api: Checked, shut: dict[str, str]) -> None:
    api.refused(403, "PUT", f"/memories/{shut['a']}", {"namespace": OPEN}, X_Agent_Id="ai:stranger")
    api.refused(403, "PUT", f"/memories/{shut['out']}", {"namespace": CLOSED}, X_Agent_Id="ai:stranger")


def test_a_change_of_tier_is_a_promotion_whatever_it_is_called(api: Checked) -> None:
    held = store(api, "a")
    govern(api, CLOSED, {"write": "any", "promote": "registered"})
    api.ok("PUT", f"/memories/{held}", {"content": "y"}, X_Agent_Id="ai:x")
    for change in ({"tier": "long"}, {"tier": "long", "content": "z"}):
        api.refused(403, "PUT", f"/memories/{held}", change, X_Agent_Id="ai:x")
    api.refused(403, "POST", "/memories", {**_NEW, "title": "a", "tier": "long"}, X_Agent_Id="ai:x")
    api.ok("POST", "/memories", {**_NEW, "title": "b", "tier": "long"}, X_Agent_Id="ai:x")


def test_deleting_is_for_the_author_and_writing_for_the_owner_of_the_standard(api: Checked) -> None:
    text = store(api, "the rules", agent="ai:boss")
    govern_by = {"namespace": CLOSED, "id": text, "governance": {"write": "owner", "delete": "owner"}}
    held = store(api, "a", agent="ai:ann")
    api.ok("POST", "/namespaces", govern_by)
    api.refused(403, "POST", "/memories", _NEW, X_Agent_Id="ai:ann")
    api.ok("POST", "/memories", _NEW, X_Agent_Id="ai:boss")
    api.refused(403, "DELETE", f"/memories/{held}", X_Agent_Id="ai:boss")
    api.ok("DELETE", f"/memories/{held}", X_Agent_Id="ai:ann")


def test_a_policy_reaches_down_until_a_nearer_one_stands(api: Checked) -> None:
    deep = "org/a/b/c/d/e/f/g"
    govern(api, "org", {"write": "registered"})
    api.refused(403, "POST", "/memories", {**_NEW, "namespace": deep})
    govern(api, "org/a", {"write": "any"})
    api.ok("POST", "/memories", {**_NEW, "namespace": deep})
    govern(api, "*", {"write": "registered"})
    api.refused(403, "POST", "/memories", {**_NEW, "namespace": "elsewhere"})
    api.ok("DELETE", "/namespaces", query={"namespace": "*"})
    api.ok("POST", "/memories", {**_NEW, "namespace": "elsewhere"})


def test_an_approval_is_asked_for_with_202_and_nothing_is_written(api: Checked) -> None:
    held = store(api, "a")
    govern(api, CLOSED, {"write": "approve", "delete": "approve", "promote": "approve"})
    before = api.ok("GET", "/stats")["total"]
    for method, path, body, action in (
        ("POST", "/memories", _NEW, "store"),
        ("PUT", f"/memories/{held}", {"content": "y"}, "update"),
        ("DELETE", f"/memories/{held}", None, "delete"),
        ("POST", f"/memories/{held}/promote", None, "promote"),
        ("POST", "/archive", {"ids": [held]}, None),
        ("POST", "/forget", {"namespace": CLOSED}, None),
    ):
        reply = api.send(method, path, body, X_Agent_Id="ai:ann")
        assert reply.status == 202, reply.body
        assert reply.json()["status"] == "pending"
        if action is not None:
            assert reply.json()["action"] == action
            assert reply.json()["namespace"] == CLOSED
    assert api.ok("GET", "/stats")["total"] == before
    assert api.ok("GET", f"/memories/{held}")["content"] == "a"
    (row,) = api.ok("POST", "/memories/bulk", [_NEW])["results"]
    assert row["status"] == 202


def test_a_request_that_waits_is_one_however_often_it_comes(api: Checked) -> None:
    govern(api, CLOSED, {"write": "approve"})
    replies = [api.send("POST", "/memories", _NEW, Idempotency_Key="k", X_Agent_Id="ai:ann") for _ in range(2)]
    assert [reply.status for reply in replies] == [202, 202]
    assert replies[0].json()["pending_id"] == replies[1].json()["pending_id"]
    assert replies[1].headers["idempotent-replayed"] == "true"


def test_leave_of_two_different_approvers_is_not_asked_for_at_once(api: Checked) -> None:
    held = store(api, "a")
    govern(api, CLOSED, {"write": "any", "delete": "approve", "approver": {"agent": "ai:one"}})
    govern(api, OPEN, {"write": "approve", "approver": {"agent": "ai:two"}})
    told = api.refused(403, "PUT", f"/memories/{held}", {"namespace": OPEN})
    assert "several approvers" in told["error"]


# Who may set a policy.


def test_a_policy_is_changed_by_the_owner_of_the_standard_alone(api: Checked) -> None:
    govern(api, CLOSED, {"write": "owner"}, X_Agent_Id="ai:boss")
    body = {"namespace": CLOSED, "governance": {"write": "any"}}
    api.refused(403, "POST", "/namespaces", body, X_Agent_Id="ai:ann")
    api.refused(403, "DELETE", "/namespaces", query={"namespace": CLOSED}, X_Agent_Id="ai:ann")
    api.refused(403, "POST", "/namespaces", body)
    assert api.ok("GET", "/namespaces", query={"namespace": CLOSED})["governance"]["write"] == "owner"
    api.ok("POST", f"/namespaces/{CLOSED}/standard", body, X_Agent_Id="ai:boss")


def test_what_nobody_owns_anybody_may_change_while_names_are_claims(api: Checked) -> None:
    govern(api, CLOSED, {"write": "any"})
    govern(api, CLOSED, {"write": "registered"}, X_Agent_Id="ai:ann")
    assert api.ok("GET", "/namespaces", query={"namespace": CLOSED})["owner"] == "ai:ann"


def test_the_approver_above_may_change_what_stands_below(api: Checked) -> None:
    govern(api, "org", {"write": "any", "approver": {"agent": "ai:lead"}}, X_Agent_Id="ai:boss")
    govern(api, "org/eu", {"write": "any"}, X_Agent_Id="ai:ann")
    body = {"namespace": "org/eu", "governance": {"write": "approve"}}
    api.refused(403, "POST", "/namespaces", body, X_Agent_Id="ai:bob")
    api.ok("POST", "/namespaces", body, X_Agent_Id="ai:lead")


def test_where_several_must_agree_above_a_change_below_waits_for_them(api: Checked) -> None:
    govern(api, "org", {"write": "any", "approver": {"consensus": 2}}, X_Agent_Id="ai:boss")
    govern(api, "org/eu", {"write": "any"}, X_Agent_Id="ai:ann")
    body = {"namespace": "org/eu", "governance": {"write": "approve"}}
    reply = api.send("POST", "/namespaces", body, X_Agent_Id="ai:bob")
    assert reply.status == 202
    assert reply.json()["action"] == "policy"


# Standards.


def test_a_policy_without_a_text_gets_a_placeholder_and_keeps_a_text_that_is_there(api: Checked) -> None:
    """B-14."""
    made = govern(api, "g", {"write": "any"})
    shown = api.ok("GET", "/namespaces", query={"namespace": "g"})
    assert (shown["standard_id"], shown["title"]) == (made["standard_id"], "_standard:g")
    text = store(api, "rules", "g", agent="ai:boss")
    api.ok("POST", "/namespaces", {"namespace": "g", "standard": {"id": text}})
    assert govern(api, "g", {"write": "registered"}, X_Agent_Id="ai:boss")["standard_id"] == text
    shown = api.ok("GET", "/namespaces/g/standard")
    assert (shown["content"], shown["governance"]["write"], shown["owner"]) == ("rules", "registered", "ai:boss")


@pytest.mark.parametrize("end", ["delete", "archive", "rename"])
def test_a_policy_outlives_its_text(api: Checked, end: str) -> None:
    """B-14: in the existing system an end of the text is an end of the policy."""
    text = store(api, "rules", "g")
    api.ok(
        "POST", "/namespaces", {"namespace": "g", "id": text, "governance": {"write": "registered", "delete": "any"}}
    )
    if end == "delete":
        api.ok("DELETE", f"/memories/{text}", X_Agent_Id="ai:ann")
    elif end == "archive":
        api.ok("POST", "/archive", {"ids": [text]}, X_Agent_Id="ai:ann")
    else:
        api.ok("PUT", f"/memories/{text}", {"title": "other", "namespace": "h"}, X_Agent_Id="ai:ann")
    api.refused(403, "POST", "/memories", {**_NEW, "namespace": "g"})
    assert api.ok("GET", "/namespaces", query={"namespace": "g"})["governance"]["write"] == "registered"


def test_the_chain_is_shown_from_the_top(api: Checked) -> None:
    govern(api, "*", {"write": "any"})
    govern(api, "org/eu", {"write": "any"})
    api.ok("POST", "/namespaces", {"namespace": "org", "parent": "base"})
    found = api.ok("GET", "/namespaces/org%2Feu%2Fteam/standard", query={"inherit": "true"})
    assert found["chain"] == ["*", "base", "org", "org/eu", "org/eu/team"]
    assert [each["namespace"] for each in found["standards"]] == ["*", "org", "org/eu"]
    assert api.ok("GET", "/namespaces", query={"namespace": "nothing"}) == {"namespace": "nothing", "standard_id": None}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"governance": {"write": "any"}}),
        (400, {"namespace": "g", "governance": {"write": "maybe"}}),
        (400, {"namespace": "g", "governance": {"write": "any", "writers": ["a"]}}),
        (422, {"namespace": "g", "governance": "any"}),
        (400, {"namespace": "g", "id": "nobody"}),
        (400, {"namespace": "g", "parent": "g/below"}),
        (400, {"namespace": "g//x"}),
        (422, {"namespace": 7}),
        (422, {"namespace": "g", "standard": "text"}),
    ],
)
def test_a_standard_that_can_not_be_is_refused(api: Checked, status: int, body: dict[str, Any]) -> None:
    api.refused(status, "POST", "/namespaces", body)
    assert api.ok("GET", "/namespaces", query={"namespace": "g"})["standard_id"] is None


def test_parents_never_come_to_stand_in_a_circle(api: Checked) -> None:
    api.ok("POST", "/namespaces", {"namespace": "a", "parent": "b"})
    api.ok("POST", "/namespaces", {"namespace": "b", "parent": "c"})
    api.refused(400, "POST", "/namespaces", {"namespace": "c", "parent": "a"})


def test_an_agent_is_told_what_it_may_do_and_why(api: Checked) -> None:
    govern(api, "org", {"write": "registered", "promote": "approve"}, X_Agent_Id="ai:boss")
    told = api.ok("GET", "/policy/explain", query={"namespace": "org/eu"}, X_Agent_Id="ai:x")
    assert told["in_force"]["at"] == "org"
    assert [told["may"][action]["own"]["verdict"] for action in ("write", "promote", "delete")] == [
        "deny",
        "approve",
        "allow",
    ]
    assert told["may"]["delete"]["other"]["verdict"] == "deny"
    assert "not a registered agent" in told["may"]["write"]["own"]["reason"]
    assert told["may"]["set_policy"]["verdict"] == "allow"
    other = api.ok("GET", "/policy/explain", query={"namespace": "org", "agent_id": "ai:boss"})
    assert other["agent_id"] == "ai:boss"
