"""Pending actions over the API: who may see and decide them, and that what was approved is done once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Checked

NEW = {"title": "pay", "content": "to the harbour", "namespace": "finance"}


def govern(api: Checked, **said: Any) -> None:
    api.ok("POST", "/namespaces", {"namespace": "finance", "governance": {"write": "approve", **said}})


def register(api: Checked, *names: str, kind: str = "ai:generic") -> None:
    for name in names:
        api.ok("POST", "/agents", {"agent_id": name, "agent_type": kind})


def park(api: Checked, body: dict[str, Any] = NEW, agent: str = "ai:mara") -> str:
    reply = api.send("POST", "/memories", body, X_Agent_Id=agent)
    assert reply.status == 202, reply.body
    return str(reply.json()["pending_id"])


def vote(api: Checked, pending_id: str, verdict: str, agent: str, status: int) -> dict[str, Any]:
    reply = api.send("POST", f"/pending/{pending_id}/{verdict}", None, X_Agent_Id=agent)
    assert reply.status == status, reply.body
    found: dict[str, Any] = reply.json()
    return found


def test_a_store_is_carried_out_when_enough_agents_agree(api: Checked) -> None:
    """HOLE 11, B-15."""
    govern(api, approver={"consensus": 2})
    register(api, "ai:mara", "ai:ilse", "ai:ole")
    pending = park(api)
    assert vote(api, pending, "approve", "ai:nobody", 403)["error"].startswith("approve rejected")
    assert vote(api, pending, "approve", "ai:mara", 403)["error"].endswith("its own action")
    told = vote(api, pending, "approve", "ai:ilse", 202)
    assert (told["approved"], told["votes"], told["quorum"]) == (False, 1, 2)
    assert vote(api, pending, "approve", "ai:ilse", 202)["votes"] == 1
    told = vote(api, pending, "approve", "ai:ole", 200)
    assert (told["approved"], told["executed"], told["decided_by"]) == (True, True, "ai:ole")
    memory = api.ok("GET", f"/memories/{told['memory_id']}")
    assert (memory["title"], memory["metadata"]["agent_id"]) == ("pay", "ai:mara")
    vote(api, pending, "approve", "ai:ole", 403)
    vote(api, pending, "reject", "ai:ole", 404)
    (shown,) = api.ok("GET", "/pending", query={"status": "approved"})["pending"]
    assert [each["agent_id"] for each in shown["approvals"]] == ["ai:ilse", "ai:ole"]


def test_a_vote_that_is_sent_again_under_its_key_is_told_the_same(api: Checked) -> None:
    for verdict, agent in (("approve", "anna"), ("reject", "anna"), ("cancel", "ai:mara")):
        govern(api)
        pending = park(api, {**NEW, "title": verdict})
        said = {"x_agent_id": agent, "idempotency_key": f"k-{verdict}"}
        first = api.ok("POST", f"/pending/{pending}/{verdict}", **said)
        again = api.send("POST", f"/pending/{pending}/{verdict}", None, None, **said)
        assert again.json() == first
        assert again.headers["idempotent-replayed"] == "true"
        others = {"x_agent_id": "otto", "idempotency_key": f"k-{verdict}"}
        assert api.send("POST", f"/pending/{pending}/{verdict}", None, None, **others).status in (403, 404)


def test_one_who_may_decide_ends_it_by_rejecting_and_nobody_else_does(api: Checked) -> None:
    """HOLE 31."""
    govern(api, approver={"agent": "rack-a/approvers"})
    pending = park(api)
    vote(api, pending, "reject", "ai:stranger", 403)
    vote(api, pending, "approve", "ai:stranger", 403)
    assert vote(api, pending, "reject", "rack-a/approvers", 200)["rejected"] is True
    vote(api, pending, "approve", "rack-a/approvers", 403)
    assert api.ok("GET", "/stats")["total"] == 1  # the standard


def test_any_human_but_the_requester_lets_it_pass(api: Checked) -> None:
    govern(api)
    pending = park(api)
    vote(api, pending, "approve", "ai:mara", 403)
    assert vote(api, pending, "approve", "anna", 200)["executed"]


def test_the_requester_takes_it_back_and_nobody_else_does(api: Checked) -> None:
    govern(api)
    pending = park(api)
    vote(api, pending, "cancel", "ai:other", 403)
    assert vote(api, pending, "cancel", "ai:mara", 200)["cancelled"] is True
    vote(api, pending, "approve", "anna", 403)
    assert api.ok("GET", f"/pending/{pending}", X_Agent_Id="ai:mara")["status"] == "cancelled"


@pytest.mark.parametrize("verdict", ["approve", "reject", "cancel"])
def test_what_is_not_there_can_not_be_decided(api: Checked, verdict: str) -> None:
    vote(api, "nobody", verdict, "ai:x", 403 if verdict == "approve" else 404)


@pytest.mark.parametrize(
    ("verb", "action"), [("PUT", "update"), ("DELETE", "delete"), ("promote", "promote"), ("archive", "archive")]
)
def test_every_kind_of_write_waits_and_is_carried_out(api: Checked, verb: str, action: str) -> None:
    held = api.ok("POST", "/memories", NEW, X_Agent_Id="ai:mara")["id"]
    govern(api, promote="approve", delete="approve")
    if verb == "promote":
        reply = api.send("POST", f"/memories/{held}/promote", X_Agent_Id="ai:mara")
    elif verb == "archive":
        reply = api.send("POST", "/archive", {"ids": [held]}, X_Agent_Id="ai:mara")
    else:
        reply = api.send(verb, f"/memories/{held}", {"content": "to the depot"} if verb == "PUT" else None)
    assert reply.status == 202
    (shown,) = api.ok("GET", "/pending")["pending"]
    assert (shown["action_type"], shown["memory_id"]) == (action, held)
    vote(api, shown["id"], "approve", "anna", 200)
    after = api.send("GET", f"/memories/{held}")
    if verb == "PUT":
        assert after.json()["content"] == "to the depot"
    elif verb == "promote":
        assert after.json()["tier"] == "long"
    else:
        assert after.status == 404


def test_a_request_of_many_rows_waits_row_by_row(api: Checked) -> None:
    govern(api)
    rows = [{**NEW, "title": f"t{number}"} for number in range(3)] + [{**NEW, "namespace": "open"}]
    told = api.ok("POST", "/memories/bulk", rows, X_Agent_Id="ai:mara")
    assert (told["created"], [each["status"] for each in told["results"]]) == (1, [202, 202, 202, 201])
    for each in told["results"][:3]:
        vote(api, each["pending_id"], "approve", "anna", 200)
    assert api.ok("GET", "/memories", query={"namespace": "finance", "limit": "10"})["count"] == 4


@pytest.mark.parametrize("change", ["update", "delete", "rename"])
def test_what_was_changed_since_is_not_written_over(api: Checked, change: str) -> None:
    held = api.ok("POST", "/memories", {**NEW, "namespace": "open"}, X_Agent_Id="ai:mara")["id"]
    api.ok("POST", "/namespaces", {"namespace": "open", "governance": {"write": "approve"}}, X_Agent_Id="boss")
    reply = api.send("PUT", f"/memories/{held}", {"content": "new"}, X_Agent_Id="ai:mara")
    api.ok("POST", "/namespaces", {"namespace": "open", "governance": {"write": "any"}}, X_Agent_Id="boss")
    if change == "delete":
        api.ok("DELETE", f"/memories/{held}", X_Agent_Id="ai:mara")
    else:
        body = {"content": "other"} if change == "update" else {"title": "renamed"}
        api.ok("PUT", f"/memories/{held}", body)
    told = vote(api, reply.json()["pending_id"], "approve", "anna", 409)
    assert told["outcome"] == "failed"
    assert "stale" in told["error"]


def test_a_pair_that_was_taken_meanwhile_is_left_alone(api: Checked) -> None:
    govern(api)
    first, second = park(api), park(api, {**NEW, "content": "again"})
    vote(api, first, "approve", "anna", 200)
    assert "stale" in vote(api, second, "approve", "anna", 409)["error"]
    (memory,) = [each for each in api.ok("GET", "/memories")["memories"] if each["title"] == "pay"]
    assert memory["content"] == "to the harbour"


def test_a_policy_that_denies_by_now_is_obeyed(api: Checked) -> None:
    govern(api)
    pending = park(api)
    govern(api, write="registered")
    assert "policy" in vote(api, pending, "approve", "anna", 409)["error"]
    assert api.ok("GET", "/stats")["total"] == 1


def test_what_an_action_is_about_is_for_those_who_decide(api: Checked) -> None:
    """HOLE 31: its payload was readable by all."""
    govern(api, approver={"agent": "ai:lead"})
    pending = park(api)

    def payload(agent: str) -> dict[str, Any]:
        found = api.ok("GET", f"/pending/{pending}", X_Agent_Id=agent)["payload"]
        assert isinstance(found, dict)
        return found

    assert payload("ai:lead")["content"] == payload("ai:mara")["content"] == "to the harbour"
    assert payload("ai:other") == {}
    (listed,) = api.ok("GET", "/pending", X_Agent_Id="ai:other")["pending"]
    assert listed["payload"] == {}


def test_a_queue_is_that_of_a_namespace_an_approver_and_a_status(api: Checked) -> None:
    for name, approver in (("rack-a", {"agent": "rack-a/approvers"}), ("rack-b", "human")):
        said = {"namespace": name, "governance": {"write": "approve", "approver": approver}}
        api.ok("POST", "/namespaces", said)
    at = {name: park(api, {**NEW, "namespace": name}) for name in ("rack-a", "rack-a/jobs", "rack-b")}

    def queue(**query: str) -> set[str]:
        return {each["id"] for each in api.ok("GET", "/pending", query=query)["pending"]}

    assert queue() == queue(status="pending") == set(at.values())
    assert queue(namespace="rack-a/**") == queue(approver="rack-a/approvers") == {at["rack-a"], at["rack-a/jobs"]}
    assert queue(namespace="rack-a") == {at["rack-a"]}
    vote(api, at["rack-b"], "approve", "anna", 200)
    assert queue(status="approved") == {at["rack-b"]}
    assert queue(status="pending", namespace="rack-b") == set()
    assert len(queue(limit="1")) == 1


def test_a_policy_below_several_who_agree_is_set_when_they_do(api: Checked) -> None:
    said = {"namespace": "org", "governance": {"write": "any", "approver": {"consensus": 1}}}
    api.ok("POST", "/namespaces", said, X_Agent_Id="boss")
    below = {"namespace": "org/eu", "governance": {"write": "any"}}
    api.ok("POST", "/namespaces", {**below, "governance": {"write": "approve"}}, X_Agent_Id="ai:ann")
    reply = api.send("POST", "/namespaces", below, X_Agent_Id="ai:bob")
    assert reply.status == 202
    register(api, "ai:judge")
    vote(api, reply.json()["pending_id"], "approve", "ai:judge", 200)
    assert api.ok("GET", "/namespaces", query={"namespace": "org/eu"})["governance"]["write"] == "any"


@pytest.mark.parametrize(
    ("verdict", "agent", "ends"), [("reject", "ai:ilse", "rejected"), ("cancel", "ai:mara", "cancelled")]
)
def test_what_the_existing_system_parked_can_be_ended_and_not_carried_out(
    api: Checked, verdict: str, agent: str, ends: str
) -> None:
    """It names no electors and no records: nobody could say that it was carried out once. Who wants it asks anew."""
    version = f"{1:016x}-{'a' * 16}"
    body = {
        "action": "store",
        "namespace": "finance",
        "payload": NEW,
        "requested_by": "ai:mara",
        "requested_at": 1,
        "approver": "human",
    }
    record = {"kind": "pending", "key": "old", "version": version, "born": version, "deleted": False, "body": body}
    line = json.dumps({"record": record}).encode() + b"\n"
    assert api.send("POST", "/import", line, content_type="application/x-ndjson").json()["failed"] == 0
    (shown,) = api.ok("GET", "/pending", query={"status": "pending"})["pending"]
    assert (shown["id"], shown["electors"]) == ("old", [])
    assert "existing system" in shown["waits_for"]
    refused = api.refused(409, "POST", "/pending/old/approve", None, X_Agent_Id="ai:ilse")
    assert "ask for the write again" in refused["hint"]
    assert api.ok("GET", "/pending/old")["approvals"] == []
    vote(api, "old", verdict, "ai:stranger" if verdict == "cancel" else "ai:mara", 403)
    assert vote(api, "old", verdict, agent, 200)[ends] is True
    assert api.ok("GET", "/pending/old")["status"] == ends
    vote(api, "old", "reject", "ai:ilse", 404)
    assert api.ok("GET", "/memories")["memories"] == []


def test_a_queue_tells_the_votes_of_what_is_open_and_a_page_is_the_latest_of_it(api: Checked) -> None:
    govern(api, approver={"consensus": 2})
    register(api, "ai:mara", "ai:ilse")
    ids = [park(api, {**NEW, "title": f"bill {number}"}) for number in range(5)]
    vote(api, ids[3], "approve", "ai:ilse", 202)
    queue = {"status": "pending", "namespace": "finance/**", "limit": "3"}
    page = api.ok("GET", "/pending", query=queue)["pending"]
    assert {each["id"] for each in page} <= set(ids)
    assert [each["requested_at"] for each in page] == sorted((each["requested_at"] for each in page), reverse=True)
    whole = api.ok("GET", "/pending", query={"status": "pending"})["pending"]
    voted = {each["id"]: [vote["agent_id"] for vote in each["approvals"]] for each in whole}
    assert voted == {pending: ["ai:ilse"] if pending == ids[3] else [] for pending in ids}
    assert [each["id"] for each in api.ok("GET", "/pending", query={"limit": "5"})["pending"]] == [
        each["id"] for each in whole
    ]


def test_one_agent_is_found_by_its_id(api: Checked) -> None:
    register(api, "ai:mara", "ai:ilse")
    (found,) = api.ok("GET", "/agents", query={"agent_id": "ai:ilse"})["agents"]
    assert found["agent_id"] == "ai:ilse"
    assert api.ok("GET", "/agents", query={"agent_id": "ai:nobody"}) == {"count": 0, "agents": []}
    assert api.ok("GET", "/agents", query={"agent_id": "ai:ilse", "skills": "true"})["count"] == 0
