"""Messages over the API: what is sent, what an inbox shows, and what is marked as read."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.core.allowlist import parse_keys
from aimem.http.admission import Admission
from aimem.http.router import Router
from aimem.http.routes import ROUTES
from aimem.limits import TITLE_CHARS_MAX

from .conftest import Checked

NOTE = {"target_agent_id": "ai:mara", "title": "handover", "payload": "gate 3 is stuck"}


def send(api: Checked, body: dict[str, Any] = NOTE, sender: str = "ai:ilse", **headers: str) -> dict[str, Any]:
    return api.ok("POST", "/notify", body, X_Agent_Id=sender, **headers)


def inbox(api: Checked, agent: str = "ai:mara", **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ok("GET", "/inbox", query={"agent_id": agent, **query})["messages"]
    return found


def test_a_message_comes_from_its_sender(api: Checked) -> None:
    """B-27: the existing system makes a name up."""
    sent = send(api)
    assert (sent["from"], sent["to"], sent["namespace"]) == ("ai:ilse", "ai:mara", "_messages/ai:mara")
    assert send(api, {**NOTE, "agent_id": "ai:ann"})["from"] == "ai:ann"
    assert api.ok("POST", "/notify", NOTE)["from"].startswith("anonymous:")
    senders = {each["id"]: each["from"] for each in inbox(api)}
    assert len(senders) == 3
    assert senders[sent["id"]] == "ai:ilse"


@pytest.mark.parametrize(
    "body",
    [
        {"to": "ai:mara", "subject": "handover", "body": "gate 3 is stuck", "metadata": {"n": 1}, "namespace": "ops"},
        {"target_agent_id": "ai:mara", "title": "handover", "content": "gate 3 is stuck"},
        NOTE,
    ],
)
def test_both_kinds_of_clients_send_and_read_under_their_names(api: Checked, body: dict[str, Any]) -> None:
    sent = send(api, body)
    (row,) = inbox(api)
    assert row["title"] == row["subject"] == "handover"
    assert row["payload"] == row["body"] == "gate 3 is stuck"
    assert row["created_at"] == row["received_at"] == sent["delivered_at"]
    assert (row["id"], row["from"], row["to"], row["tier"], row["priority"]) == (
        sent["id"],
        "ai:ilse",
        "ai:mara",
        "mid",
        5,
    )
    assert row["read"] is False
    assert row["metadata"]["recipient_agent_id"] == "ai:mara"
    assert row["metadata"]["message_kind"] == "notify"
    if "namespace" in body:
        assert (row["metadata"]["n"], row["metadata"]["about"]) == (1, "ops")


def test_the_same_subject_twice_is_two_messages(api: Checked) -> None:
    """B-26: the existing system overwrites the first, and keeps its sender."""
    long = {**NOTE, "title": "x" * TITLE_CHARS_MAX}
    for body in (NOTE, long):
        first, second = send(api, body), send(api, {**body, "payload": "never mind"}, "ai:ann")
        assert first["id"] != second["id"]
    rows = inbox(api)
    assert [row["from"] for row in rows] == ["ai:ann", "ai:ilse"] * 2
    assert [row["body"] for row in rows] == ["never mind", "gate 3 is stuck"] * 2
    assert {row["subject"] for row in rows} == {"handover", long["title"]}


def test_a_repeat_is_the_same_message(api: Checked) -> None:
    first, again = (send(api, Idempotency_Key="k") for _ in range(2))
    assert first == again
    assert send(api, sender="ai:ann", Idempotency_Key="k")["id"] != first["id"]
    assert api.refused(422, "POST", "/notify", {**NOTE, "title": "o"}, X_Agent_Id="ai:ilse", Idempotency_Key="k")


def test_a_message_is_read_when_it_is_marked(api: Checked) -> None:
    """B-26: in the existing system nothing marks a message."""
    ids = [send(api, {**NOTE, "title": title})["id"] for title in ("one", "two")]
    api.ok("GET", "/recall", query={"context": "gate"})
    assert not any(row["read"] for row in inbox(api))
    marked = api.ok("POST", f"/inbox/{ids[0]}/read", X_Agent_Id="ai:mara")
    assert (marked["read"], marked["id"], marked["agent_id"]) == (True, ids[0], "ai:mara")
    again = api.ok("POST", f"/inbox/{ids[0]}/read", query={"agent_id": "ai:mara"})
    assert again["read_at"] == marked["read_at"]
    assert {row["id"]: row["read"] for row in inbox(api)} == {ids[0]: True, ids[1]: False}
    assert [row["id"] for row in inbox(api, unread_only="true")] == [ids[1]]


def test_a_mark_survives_the_messages_of_others_and_needs_one_of_its_own(api: Checked) -> None:
    sent = send(api)
    api.refused(404, "POST", f"/inbox/{sent['id']}/read", X_Agent_Id="ai:bob")
    api.refused(404, "POST", "/inbox/nothing/read", X_Agent_Id="ai:mara")
    api.refused(400, "POST", f"/inbox/{sent['id']}/read")
    api.ok("DELETE", f"/memories/{sent['id']}")
    api.refused(404, "POST", f"/inbox/{sent['id']}/read", X_Agent_Id="ai:mara")
    assert inbox(api) == []


def test_an_inbox_is_in_order_and_bounded(api: Checked) -> None:
    for title, priority in (("low", 1), ("older", 5), ("newer", 5), ("high", 9)):
        send(api, {**NOTE, "title": title, "priority": priority})
    assert [row["subject"] for row in inbox(api)] == ["high", "newer", "older", "low"]
    assert [row["subject"] for row in inbox(api, limit="2")] == ["high", "newer"]
    assert inbox(api, limit="0") == []
    told = api.ok("GET", "/inbox", query={"limit": "3"}, X_Agent_Id="ai:mara")
    assert (told["agent_id"], told["namespace"], told["count"]) == ("ai:mara", "_messages/ai:mara", 3)
    assert inbox(api, "ai:bob") == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, {"title": "t", "payload": "p"}),
        (422, {**NOTE, "title": None}),
        (422, {**NOTE, "payload": 7}),
        (422, {**NOTE, "namespace": 7}),
        (400, {**NOTE, "payload": " "}),
        (400, {**NOTE, "target_agent_id": "a b"}),
        (400, {**NOTE, "target_agent_id": "a//b"}),
        (400, {**NOTE, "metadata": "m"}),
        (400, {**NOTE, "priority": 11}),
        (422, []),
    ],
)
def test_a_message_that_can_not_be_is_refused(api: Checked, status: int, body: Any) -> None:
    api.refused(status, "POST", "/notify", body, X_Agent_Id="ai:ilse")


def test_who_asks_for_no_inbox_or_a_malformed_one_is_told(api: Checked) -> None:
    api.refused(400, "GET", "/inbox")
    api.refused(400, "GET", "/inbox", query={"agent_id": "a b"})
    api.refused(422, "GET", "/inbox", query={"agent_id": "a", "unread_only": "perhaps"})


def test_a_message_that_needs_leave_waits(api: Checked) -> None:
    policy = {"namespace": "_messages/ai:mara", "governance": {"write": "approve"}}
    api.ok("POST", "/namespaces", policy, X_Agent_Id="ai:boss")
    reply = api.send("POST", "/notify", NOTE, X_Agent_Id="ai:ilse")
    assert (reply.status, reply.json()["status"]) == (202, "pending")
    assert inbox(api) == []


def test_a_bound_caller_reads_what_was_sent_to_its_agents_alone(api: Checked) -> None:
    keys = "k-all\nk-mara # agents=ai:mara\nk-rack # agents=ai:mara namespaces=rack-a/**\n"
    api.inner._router = Router(ROUTES, Admission(None, parse_keys(keys)).admit)
    sent = send(api, X_API_Key="k-all")
    send(api, {**NOTE, "target_agent_id": "ai:bob"}, X_API_Key="k-all")
    mara = {"X_API_Key": "k-mara", "X_Agent_Id": "ai:mara"}
    assert [row["id"] for row in api.ok("GET", "/inbox", **mara)["messages"]] == [sent["id"]]
    assert [row["id"] for row in api.ok("GET", "/memories", **mara)["memories"]] == [sent["id"]]
    api.refused(403, "GET", "/inbox", query={"agent_id": "ai:bob"}, **mara)
    api.refused(403, "POST", "/notify", {**NOTE, "agent_id": "ai:bob"}, **mara)
    assert api.ok("POST", f"/inbox/{sent['id']}/read", **mara)["read"] is True
    rack = {"X_API_Key": "k-rack", "X_Agent_Id": "ai:mara"}
    assert api.ok("GET", "/inbox", **rack)["messages"] == []
    api.refused(403, "POST", "/notify", NOTE, **rack)
