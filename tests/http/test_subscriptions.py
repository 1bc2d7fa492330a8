"""Subscriptions over the API: made, listed and ended in the shapes of both kinds of clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aimem.core.allowlist import parse_keys
from aimem.http.admission import Admission
from aimem.http.router import Router
from aimem.http.routes import ROUTES
from aimem.limits import WEBHOOK_SECRET_BYTES_MAX

from .conftest import Checked

HOOK = {"url": "https://hooks.example.net/x", "events": "memory_store,memory_delete", "secret": "a-long-secret"}
CLIENT = "ai-memory-python/0.6.0-alpha.0"


def add(api: Checked, body: dict[str, Any] = HOOK, agent: str = "ai:mara", **headers: str) -> dict[str, Any]:
    return api.ok("POST", "/subscriptions", body, X_Agent_Id=agent, **headers)


def listed(api: Checked, **rest: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ok("GET", "/subscriptions", **rest)["subscriptions"]
    return found


def test_a_subscription_is_made_listed_and_ended(api: Checked) -> None:
    made = add(api)
    (row,) = listed(api)
    fares = {"waiting": 0, "error": None}
    assert row == {name: value for name, value in made.items() if name not in ("version", "quorum_acks")} | fares
    assert (row["url"], row["events"], row["created_by"], row["agent_id"]) == (
        HOOK["url"],
        HOOK["events"],
        "ai:mara",
        "ai:mara",
    )
    assert (row["signed"], row["secret_lost"], row["dispatch_count"], row["failure_count"]) == (True, False, 0, 0)
    assert api.ok("DELETE", "/subscriptions", query={"id": made["id"]})["removed"] is True
    assert api.ok("DELETE", f"/subscriptions/{made['id']}") == {"id": made["id"], "removed": False}
    assert listed(api) == []


def test_events_are_a_list_for_the_published_client_and_text_for_others(api: Checked) -> None:
    body = {**HOOK, "events": ["memory_store", "memory_promote"], "namespace": "ops", "filter": {"x": 1}}
    assert add(api, body, User_Agent=CLIENT)["events"] == body["events"]
    assert listed(api, User_Agent=CLIENT)[0]["events"] == body["events"]
    assert listed(api)[0]["events"] == "memory_store,memory_promote"
    assert listed(api)[0]["event_list"] == body["events"]
    assert listed(api)[0]["namespace"] == listed(api)[0]["namespace_filter"] == "ops"
    assert add(api, {"url": HOOK["url"]})["events"] == "*"
    assert add(api, {"url": HOOK["url"], "events": ["memory_store", "*"]})["events"] == "*"


def test_a_filter_narrows_by_namespace_and_agent_and_says_what_it_does_not(api: Checked) -> None:
    made = add(api, {"url": HOOK["url"], "filter": {"namespace": "ops", "agent_id": "ai:bob", "tags": ["x"]}})
    assert (made["namespace_filter"], made["agent_filter"], made["filter_ignored"]) == ("ops", "ai:bob", ["tags"])
    same = add(api, {"url": HOOK["url"], "namespace": "ops", "filter": {"namespace": "ops", "tier": None}})
    assert (same["namespace_filter"], same["filter_ignored"]) == ("ops", [])
    assert "filter_ignored" not in add(api)
    assert [row.get("filter_ignored") for row in listed(api)] == [["tags"], [], None]


def test_a_secret_is_told_to_nobody(api: Checked) -> None:
    add(api, Idempotency_Key="k")
    api.ok("POST", "/namespaces", {"namespace": "g", "governance": {"write": "approve"}}, X_Agent_Id="ai:boss")
    assert api.send("POST", "/subscriptions", {**HOOK, "namespace": "g"}, X_Agent_Id="ai:x").status == 202
    told = [api.ok("GET", path) for path in ("/subscriptions", "/changes", "/pending", "/status")]
    assert {each["kind"] for each in told[1]["changes"]} >= {"subscription", "pending"}
    assert HOOK["secret"] not in json.dumps(told)


@pytest.mark.parametrize("asked", [True, False])
def test_it_goes_out_with_an_export_signed_only_when_asked_for(api: Checked, asked: bool) -> None:
    made = add(api)
    query = {"secrets": "true"} if asked else {}
    lines = api.send("GET", "/export", query=query, accept="application/x-ndjson").body
    assert (HOOK["secret"].encode() in lines) is asked
    api.ok("DELETE", f"/subscriptions/{made['id']}")
    assert listed(api) == []
    assert api.send("POST", "/import", lines, content_type="application/x-ndjson").json()["failed"] == 0
    (row,) = listed(api)
    assert (row["id"], row["signed"], row["secret_lost"]) == (made["id"], asked, not asked)


def test_what_a_migration_brought_says_that_its_secret_was_lost(api: Checked) -> None:
    version = f"{1:016x}-{'a' * 16}"
    body = {"url": HOOK["url"], "events": "*", "secret_hash": "5e", "secret_lost": True, "created_at": 1}
    record = {"kind": "subscription", "key": "s", "version": version, "born": version, "deleted": False, "body": body}
    line = json.dumps({"record": record}).encode() + b"\n"
    assert api.send("POST", "/import", line, content_type="application/x-ndjson").json()["failed"] == 0
    (row,) = listed(api)
    assert (row["id"], row["signed"], row["secret_lost"], row["created_by"]) == ("s", False, True, None)
    assert "5e" not in json.dumps(api.ok("GET", "/changes")["changes"][-1]["body"])


def test_a_namespace_alone_is_noted_and_ended_by_its_name(api: Checked) -> None:
    made = add(api, {"namespace": "ops"})
    assert made["url"] == "http://localhost/_ns/ai:mara/ops"
    other = add(api, {"namespace": "ops"}, "ai:bob")
    gone = api.ok("DELETE", "/subscriptions", query={"agent_id": "ai:mara", "namespace": "ops"})
    assert gone == {"id": made["id"], "removed": True}
    assert [row["id"] for row in listed(api)] == [other["id"]]
    assert [row["id"] for row in listed(api, query={"agent_id": "ai:mara"})] == []
    assert api.ok("DELETE", "/subscriptions", query={"namespace": "ops"}, X_Agent_Id="ai:ann")["removed"] is False


def test_a_repeat_is_the_same_subscription(api: Checked) -> None:
    first, again = (add(api, Idempotency_Key="k") for _ in range(2))
    assert first == again
    assert add(api)["id"] != first["id"]
    assert len(listed(api)) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {}),
        (400, {"events": "*"}),
        (400, {"url": "http://10.0.0.1/x"}),
        (400, {**HOOK, "events": "memory_eaten"}),
        (400, {**HOOK, "events": []}),
        (422, {**HOOK, "events": [1]}),
        (422, {**HOOK, "url": 7}),
        (422, {**HOOK, "filter": "x"}),
        (400, {**HOOK, "secret": ""}),
        (400, {**HOOK, "secret": "x" * (WEBHOOK_SECRET_BYTES_MAX + 1)}),
        (400, {**HOOK, "namespace": "a", "namespace_filter": "b"}),
        (400, {**HOOK, "namespace": "a", "filter": {"namespace": "b"}}),
        (400, {**HOOK, "agent_filter": "ai:a", "filter": {"agent_id": "ai:b"}}),
        (400, {**HOOK, "filter": {"namespace": "a//b"}}),
        (422, {**HOOK, "filter": {"namespace": ["a"]}}),
        (400, {**HOOK, "namespace": "a//b"}),
        (400, {**HOOK, "agent_filter": "a b"}),
        (400, {**HOOK, "agent_id": "a b"}),
        (422, []),
    ],
)
def test_a_subscription_that_can_not_be_is_refused(api: Checked, status: int, body: Any) -> None:
    api.refused(status, "POST", "/subscriptions", body)
    assert listed(api) == []


def test_who_ends_nothing_in_particular_is_told(api: Checked) -> None:
    api.refused(400, "DELETE", "/subscriptions")
    api.refused(400, "DELETE", "/subscriptions", query={"id": ""})


def test_a_bound_caller_has_its_own_alone(api: Checked) -> None:
    keys = "k-all\nk-mara # agents=ai:mara\nk-ops # namespaces=ops\n"
    api.inner._router = Router(ROUTES, Admission(None, parse_keys(keys)).admit)
    of_bob = add(api, {**HOOK, "namespace": "ops"}, "ai:bob", X_API_Key="k-all")
    mara: dict[str, str] = {"X_API_Key": "k-mara", "X_Agent_Id": "ai:mara"}
    api.refused(403, "POST", "/subscriptions", HOOK, **mara)  # of all namespaces
    api.refused(403, "POST", "/subscriptions", {**HOOK, "namespace": "ops", "agent_id": "ai:bob"}, **mara)
    own = api.ok("POST", "/subscriptions", {**HOOK, "namespace": "ops"}, **mara)
    assert [row["id"] for row in listed(api, **mara)] == [own["id"]]
    api.refused(403, "DELETE", f"/subscriptions/{of_bob['id']}", **mara)
    elsewhere = add(api, {**HOOK, "namespace": "zoo"}, "ai:bob", X_API_Key="k-all")
    assert {row["id"] for row in listed(api, X_API_Key="k-ops")} == {of_bob["id"], own["id"]}
    assert api.ok("DELETE", f"/subscriptions/{elsewhere['id']}", X_API_Key="k-ops")["removed"] is False
    assert api.ok("DELETE", f"/subscriptions/{of_bob['id']}", X_API_Key="k-ops")["removed"] is True
