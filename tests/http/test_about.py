"""What a node says about itself, and the routing around it."""

from __future__ import annotations

import re

import jsonschema
import pytest

from aimem.errors import Malformed
from aimem.http.call import parse_query
from aimem.http.openapi import document
from aimem.http.router import Router
from aimem.http.routes import ROUTES

from .conftest import Checked


def test_health_says_that_it_is_well_under_the_names_that_dashboards_know(api: Checked) -> None:
    health = api.ok("GET", "/health")
    assert (health["status"], health["service"], health["product"]) == ("ok", "ai-memory", "aimem")
    assert health["ready"] is True
    assert health["degraded"] == []
    assert health["embedder_ready"] is False


def test_capabilities_have_the_known_shape_and_claim_no_model_that_is_not_there(api: Checked) -> None:
    found = api.ok("GET", "/capabilities")
    assert found["schema_version"] == "2"
    assert (found["tier"], found["models"]["embedding"], found["models"]["embedding_dim"]) == ("keyword", "none", 0)
    assert found["features"]["keyword_search"] is True
    assert found["features"]["hybrid_recall"] is False
    assert found["features"]["embedder_loaded"] is False


def test_capabilities_come_in_the_shape_that_is_asked_for(api: Checked) -> None:
    for word in ("v1", " V1 ", "1"):
        found = api.ok("GET", "/capabilities", Accept_Capabilities=word)
        assert found.keys() == {"tier", "version", "features", "models"}
        assert len(found["features"]) == 10
    for word in ("v2", "2", "v3", "x"):
        assert api.ok("GET", "/capabilities", Accept_Capabilities=word)["schema_version"] == "2"


def test_capabilities_count_policies_and_what_waits_and_call_names_claims(api: Checked) -> None:
    before = api.ok("GET", "/capabilities")
    assert (before["permissions"]["active_rules"], before["approval"]["pending_requests"]) == (0, 0)
    api.ok("POST", "/namespaces", {"namespace": "g", "governance": {"write": "approve"}})
    assert api.send("POST", "/memories", {"title": "a", "content": "x", "namespace": "g"}).status == 202
    after = api.ok("GET", "/capabilities")
    assert (after["permissions"]["active_rules"], after["approval"]["pending_requests"]) == (1, 1)
    assert after["permissions"]["policy_digest"] != before["permissions"]["policy_digest"]
    assert after["permissions"]["scopes"] == api.ok("GET", "/status")["scopes"] == "advisory"
    assert api.ok("GET", "/status")["policy"] == after["permissions"]["policy_digest"]
    assert api.ok("GET", "/status")["pending"] == {"waiting": 1, "without_majority": 0}


def test_figures_add_up(api: Checked) -> None:
    for number in range(4):
        api.ok("POST", "/memories", {"title": f"n{number}", "content": "x", "tier": "long" if number else "mid"})
    stats = api.ok("GET", "/stats")
    assert stats["total"] == 4
    assert stats["by_tier"] == [{"tier": "long", "count": 3}, {"tier": "mid", "count": 1}]
    assert stats["by_namespace"] == [{"namespace": "global", "count": 4}]
    assert stats["db_size_bytes"] > 0


def test_status_and_digest_tell_the_same_state(api: Checked) -> None:
    empty = api.ok("GET", "/digest")["digest"]
    api.ok("POST", "/memories", {"title": "A", "content": "x"})
    assert api.ok("GET", "/status")["digest"] == api.ok("GET", "/digest")["digest"] != empty


def test_the_change_feed_is_read_on_from_its_cursor(api: Checked) -> None:
    ids = [api.ok("POST", "/memories", {"title": f"n{n}", "content": "x"})["id"] for n in range(5)]
    first = api.ok("GET", "/changes", query={"limit": "2"})
    assert [change["key"] for change in first["changes"]] == ids[:2]
    assert first["more"] is True
    rest = api.ok("GET", "/changes", query={"after": first["cursor"]})
    assert [change["key"] for change in rest["changes"]] == ids[2:]
    assert rest["more"] is False
    api.ok("DELETE", f"/memories/{ids[0]}")
    (gone,) = api.ok("GET", "/changes", query={"after": rest["cursor"]})["changes"]
    assert (gone["key"], gone["deleted"]) == (ids[0], True)
    assert "content" not in gone["body"]
    api.refused(400, "GET", "/changes", query={"after": "yesterday"})


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/metrics"])
def test_metrics_move_with_what_happens(api: Checked, path: str) -> None:
    """B-18."""

    def value(name: str) -> float:
        page = api.send("GET", path).body.decode()
        return sum(float(found) for found in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE))

    assert value("ai_memory_store_total") == 0
    api.ok("POST", "/memories", {"title": "pump", "content": "x"})
    api.ok("GET", "/recall", query={"context": "pump"})
    assert value("ai_memory_store_total") == 1
    assert value("ai_memory_recall_total") == 1
    assert value("ai_memory_recall_latency_seconds_count") == 1
    assert value("ai_memory_memories") == 1
    assert value("aimem_fsyncs_total") >= 1


def test_an_unknown_path_and_a_wrong_method_are_told_apart(api: Checked) -> None:
    assert api.refused(404, "GET", "/nowhere")["code"] == "no_route"
    reply = api.send("PATCH", "/memories", {})
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    options = api.send("OPTIONS", "/memories/x")
    assert (options.status, options.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PUT")


def test_an_id_may_hold_a_slash_when_it_is_encoded(api: Checked) -> None:
    assert api.refused(404, "GET", "/memories/a%2Fb")["error"] == "not found"
    assert api.refused(404, "GET", "/memories/a/b")["code"] == "no_route"
    assert api.refused(400, "GET", "/memories/%ff")["code"] == "malformed"


@pytest.mark.parametrize("text", ["limit=1&limit=2", "namespace=%ff"])
def test_a_query_string_that_says_a_thing_twice_or_is_no_text_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_query(text)


def test_a_query_string_is_decoded() -> None:
    assert parse_query("q=a+b%20c&empty=&x=%2B") == {"q": "a b c", "empty": "", "x": "+"}


def test_the_document_is_openapi_and_has_every_route_once(api: Checked) -> None:
    """B-42."""
    found = api.ok("GET", "/openapi.json")
    assert found["openapi"] == "3.1.0"
    names = [operation["operationId"] for methods in found["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names)) == len(ROUTES) - 1
    for schema in found["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_writes_are_marked_as_changes_in_the_table() -> None:
    for route in ROUTES:
        message = route.path.startswith("/api/v1/sync/")  # a member's, no client's change: gated where it entered
        asks = route.path.endswith(("/recall", "/kg/query", "/check_duplicate", "/session/start", "/cluster"))
        reads = route.method == "GET" or asks or message
        assert route.changes != reads, route.path


def test_every_route_is_reached_by_its_own_path() -> None:
    router = Router(ROUTES)
    for route in ROUTES:
        methods, _ = router.find(route.path.replace("{id}", "some-id"))
        assert methods[route.method] is route
    assert document(ROUTES)["paths"].keys() == {route.path for route in ROUTES}


def test_a_fault_of_ours_is_told_without_its_inside(api: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("the secret reason")

    monkeypatch.setattr(api.inner._node, "health", broken)
    reply = api.send("GET", "/health")
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert reply.json()["request_id"]
