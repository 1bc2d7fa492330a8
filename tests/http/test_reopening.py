"""Reopening over the API: what is refused and how that is told, and that what was parked anew is done."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aimem.errors import Conflict

from .conftest import Checked
from .test_pending import NEW, govern, park, vote

GONE = ["1111111111111111", "2222222222222222"]


def hung(api: Checked, approver: Any = "human", **more: Any) -> str:
    """An action of whose electors none is left, as a feed would bring it."""
    govern(api, approver=approver)
    parked = park(api)
    (line,) = [
        row
        for row in map(json.loads, api.send("GET", "/export", accept="application/x-ndjson").body.splitlines())
        if row.get("record", {}).get("key") == parked
    ]
    record = line["record"]
    record |= {"key": "hung", "body": {**record["body"], "electors": [*GONE, "3333333333333333"], **more}}
    found = api.send("POST", "/import", json.dumps(line).encode() + b"\n", content_type="application/x-ndjson")
    assert found.json()["failed"] == 0, found.body
    return "hung"


def test_what_is_no_list_of_electors_of_the_action_is_refused(api: Checked) -> None:
    pending = hung(api)
    assert api.refused(422, "POST", f"/pending/{pending}/reopen", {"lost": GONE[0]})["error"].startswith("lost must")
    assert api.refused(422, "POST", f"/pending/{pending}/reopen", {"lost": [7]})
    assert api.refused(422, "POST", f"/pending/{pending}/reopen", [GONE[0]])
    told = api.refused(400, "POST", f"/pending/{pending}/reopen", {"lost": ["n1"]})
    assert told["error"] == "n1 is no elector of this action"
    assert GONE[0] in told["hint"]
    assert api.refused(404, "POST", "/pending/nobody/reopen", {"lost": GONE})


def test_one_that_does_not_answer_must_be_named(api: Checked) -> None:
    pending = hung(api)
    told = api.refused(503, "POST", f"/pending/{pending}/reopen", {"lost": GONE})
    assert (told["code"], told["silent"]) == ("busy", ["3333333333333333"])
    assert "--lost" in told["hint"]
    assert api.ok("GET", "/pending/hung")["status"] == "pending"


def test_an_action_that_can_be_decided_is_not_reopened(api: Checked) -> None:
    govern(api)
    pending = park(api)
    told = api.refused(409, "POST", f"/pending/{pending}/reopen")
    assert told["error"].startswith("1 of 1 electors answer")
    vote(api, pending, "approve", "anna", 200)


def test_the_requester_does_not_reopen_it(api: Checked) -> None:
    pending = hung(api, {"agent": "ai:lead"})
    api.ok("POST", "/namespaces", {"namespace": "finance", "governance": {"write": "approve"}}, X_Agent_Id="boss")
    assert api.refused(403, "POST", f"/pending/{pending}/reopen", {"lost": GONE}, X_Agent_Id="ai:mara")


def test_what_is_parked_anew_is_voted_about_and_done_once(api: Checked) -> None:
    pending = hung(api)
    lost = {"lost": [*GONE, "3333333333333333"]}
    told = api.ok("POST", f"/pending/{pending}/reopen", lost, X_Agent_Id="anna")
    again = told["pending_id"]
    assert (told["outcome"], told["decided_by"], len(told["electors"])) == ("reopened", "anna", 1)
    assert "must not come back" in told["not_ruled_out"][0]
    repeated = api.ok("POST", f"/pending/{pending}/reopen", lost, X_Agent_Id="anna")
    assert (repeated["pending_id"], repeated["outcome"]) == (again, "reopened")
    assert (repeated["lost"], repeated["not_ruled_out"]) == ([], told["not_ruled_out"])
    for verdict, agent in (("approve", "otto"), ("reject", "otto"), ("cancel", "ai:mara")):
        moved = api.refused(Conflict.status, "POST", f"/pending/{pending}/{verdict}", None, X_Agent_Id=agent)
        assert (moved["outcome"], moved["pending_id"]) == ("reopened", again)
    assert vote(api, again, "approve", "otto", 200)["executed"]
    assert api.ok("GET", f"/pending/{pending}")["reopened_as"] == again
    assert api.ok("GET", f"/pending/{again}")["reopened_from"] == pending
    (memory,) = [each for each in api.ok("GET", "/memories")["memories"] if each["title"] == "pay"]
    assert memory["content"] == NEW["content"]
    assert [each["id"] for each in api.ok("GET", "/pending", query={"status": "reopened"})["pending"]] == [pending]


@pytest.mark.parametrize(("verdict", "agent"), [("approve", "otto"), ("reject", "otto"), ("cancel", "ai:mara")])
def test_a_vote_sent_again_after_the_reopening_is_told_where_the_action_waits(
    api: Checked, verdict: str, agent: str
) -> None:
    pending = hung(api)
    path, key = f"/pending/{pending}/{verdict}", "k1"
    assert api.send("POST", path, None, X_Agent_Id=agent, Idempotency_Key=key).status == 202
    again = api.ok("POST", f"/pending/{pending}/reopen", {"lost": [*GONE, "3333333333333333"]})["pending_id"]
    moved = api.refused(Conflict.status, "POST", path, None, X_Agent_Id=agent, Idempotency_Key=key)
    assert moved["pending_id"] == again


@pytest.mark.parametrize("votes", [("reject", "otto", "rejected"), ("cancel", "ai:mara", "cancelled")])
def test_what_is_parked_anew_can_be_ended_too(api: Checked, votes: tuple[str, str, str]) -> None:
    pending = hung(api)
    again = api.ok("POST", f"/pending/{pending}/reopen", {"lost": [*GONE, "3333333333333333"]})["pending_id"]
    verdict, agent, ends = votes
    assert vote(api, again, verdict, agent, 200)[ends] is True
