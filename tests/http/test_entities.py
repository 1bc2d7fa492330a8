"""Entities and their names over the API."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Checked

GATE = {"canonical_name": "Harbour gate", "namespace": "ops", "aliases": ["gate 3"]}


def by_alias(api: Checked, alias: str, **more: str) -> dict[str, Any]:
    return api.ok("GET", "/entities/by_alias", query={"alias": alias, **more})


def test_an_entity_gathers_names(api: Checked) -> None:
    made = api.send("POST", "/entities", GATE, X_Agent_Id="ai:mara")
    assert (made.status, made.json()["created"], made.json()["aliases"]) == (201, True, ["gate 3"])
    more = api.send("POST", "/entities", {**GATE, "aliases": ["Tor", "gate 3", "Harbour gate"], "metadata": {"a": 1}})
    assert (more.status, more.json()["created"], more.json()["aliases"]) == (200, False, ["gate 3", "Tor"])
    assert more.json()["entity_id"] == made.json()["entity_id"]
    memory = api.ok("GET", f"/memories/{made.json()['entity_id']}")
    assert (memory["title"], memory["tier"], memory["tags"], memory["priority"]) == (
        "Harbour gate",
        "long",
        ["entity"],
        7,
    )
    assert memory["metadata"] == {"kind": "entity", "agent_id": "ai:mara"}
    for alias in ("gate 3", "Tor"):
        found = by_alias(api, alias, namespace="ops")
        assert (found["found"], found["entity_id"], found["aliases"]) == (True, memory["id"], ["gate 3", "Tor"])
    for found in (by_alias(api, "Harbour gate"), by_alias(api, "Tor", namespace="elsewhere"), by_alias(api, "gate")):
        assert found == {"found": False, "entity_id": None, "canonical_name": None, "namespace": None, "aliases": []}


def test_a_memory_that_is_no_entity_keeps_its_title(api: Checked) -> None:
    memory = {"title": GATE["canonical_name"], "content": "x", "namespace": "ops"}
    made = api.ok("POST", "/memories", memory)
    assert api.refused(409, "POST", "/entities", GATE)["existing_id"] == made["id"]
    assert by_alias(api, "gate 3")["found"] is False


def test_names_go_with_their_entity(api: Checked) -> None:
    assert by_alias(api, "gate 3")["found"] is False  # from here on the names are followed
    made = api.ok("POST", "/entities", GATE)
    assert by_alias(api, "gate 3")["found"] is True
    api.ok("DELETE", f"/memories/{made['entity_id']}")
    assert by_alias(api, "gate 3")["found"] is False
    again = api.ok("POST", "/entities", {**GATE, "aliases": ["Tor"]})
    assert (again["entity_id"], again["aliases"]) == (made["entity_id"], ["Tor"])
    assert by_alias(api, "gate 3")["found"] is False
    assert api.ok("POST", "/entities", GATE)["aliases"] == ["Tor", "gate 3"]


def test_a_repeat_under_its_key_is_the_same_registration(api: Checked) -> None:
    first = api.send("POST", "/entities", GATE, Idempotency_Key="k")
    again = api.send("POST", "/entities", GATE, Idempotency_Key="k")
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status, again.json()) == (first.status, first.json())


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (422, {"canonical_name": None}),
        (422, {"aliases": "gate 3"}),
        (422, {"aliases": [7]}),
        (400, {"metadata": []}),
        (400, {"aliases": [""]}),
        (400, {"aliases": [str(number) for number in range(51)]}),
        (400, {"namespace": "a//b"}),
        (400, {"agent_id": "a b"}),
    ],
)
def test_what_is_no_entity_is_refused(api: Checked, status: int, change: dict[str, Any]) -> None:
    before = api.ok("GET", "/digest")["digest"]
    api.refused(status, "POST", "/entities", GATE | change)
    assert api.ok("GET", "/digest")["digest"] == before


def test_a_name_to_look_for_is_needed(api: Checked) -> None:
    api.refused(400, "GET", "/entities/by_alias")


def test_a_policy_below_the_root_says_who_may_make_entities(api: Checked) -> None:
    """The names of a new entity are judged where it stands, not at the root."""
    api.ok("POST", "/namespaces", {"namespace": "*", "governance": {"write": "registered"}})
    api.ok("POST", "/namespaces", {"namespace": "ops", "governance": {"write": "any"}})
    assert api.ok("POST", "/entities", GATE)["created"] is True
    api.refused(403, "POST", "/entities", {**GATE, "namespace": "other"})
