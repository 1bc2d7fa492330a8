"""A caller that its line binds: every surface shows it what is in its reach, and no surface writes outside of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aimem.core.allowlist import parse_keys
from aimem.http.admission import Admission
from aimem.http.call import parse_query
from aimem.http.router import Router
from aimem.http.routes import ROUTES
from tests.http.conftest import Checked
from tests.http.processes import call, serving

KEYS = parse_keys(
    "k-all\nk-bob # agents=ai:bob namespaces=org/** home=org/eu/team/bob\nk-exact # namespaces=org/eu/team/ann\n"
)
PLACES = {  # title: namespace, scope, author
    "own": ("org/x", "private", "ai:bob"),
    "home": ("org/eu/team/bob", "private", "ai:ann"),
    "mates": ("org/eu/team/ann", "team", "ai:ann"),
    "hidden": ("org/eu/team/ann", "private", "ai:ann"),
    "everybody": ("org/us", "collective", "ai:ann"),
    "outside": ("zoo", "collective", "ai:bob"),
}
SEEN = {"k-all": set(PLACES), "k-bob": {"own", "home", "mates", "everybody"}, "k-exact": {"hidden"}}
SECRET = "zebra"  # only the content of what nobody but k-all sees holds it


@pytest.fixture
def bound(api: Checked) -> tuple[Checked, dict[str, str]]:
    """The API as served to holders of keys, and the ids of what is held."""
    api.inner._router = Router(ROUTES, Admission(None, KEYS).admit)
    ids = {}
    for title, (namespace, scope, author) in PLACES.items():
        content = f"about {title} {SECRET if title in ('hidden', 'outside') else ''}"
        row = {"title": title, "content": content, "namespace": namespace, "scope": scope, "agent_id": author}
        ids[title] = api.ok("POST", "/memories", row, x_api_key="k-all")["id"]
    for source, target in (("own", "home"), ("own", "hidden"), ("outside", "own")):
        api.ok("POST", "/links", {"source_id": ids[source], "target_id": ids[target]}, x_api_key="k-all")
    return api, ids


def titles(rows: list[dict[str, Any]]) -> set[str]:
    return {row["title"] for row in rows}


@pytest.mark.parametrize("key", SEEN)
def test_reads_show_what_is_in_reach(bound: tuple[Checked, dict[str, str]], key: str) -> None:
    check_reads(*bound, key, SEEN[key], {"k-all": 3, "k-bob": 1, "k-exact": 0}[key])


def test_what_is_granted_is_shown_by_every_read_until_it_is_taken_back(bound: tuple[Checked, dict[str, str]]) -> None:
    api, ids = bound
    for title, author in (("hidden", "ai:ann"), ("outside", "ai:bob")):
        path, raw = f"/memories/{ids[title]}", {"agent_id": "ai:bob", "permission": "read"}
        api.refused(403, "POST", f"{path}/grant", raw, x_api_key="k-all", x_agent_id="ai:carl")
        for _ in range(2):
            told = api.ok("POST", f"{path}/grant", raw, x_api_key="k-all", x_agent_id=author)
            assert told["granted"]
            assert told["agent_id"] == "ai:bob"
    check_reads(api, ids, "k-bob", SEEN["k-bob"] | {"hidden", "outside"}, 3)
    check_reads(api, ids, "k-exact", SEEN["k-exact"], 0)
    for method, path in (("PUT", "/memories/{}"), ("DELETE", "/memories/{}"), ("POST", "/memories/{}/promote")):
        api.refused(403, method, path.format(ids["hidden"]), {}, x_api_key="k-bob", x_agent_id="ai:bob")
    for title, author in (("hidden", "ai:ann"), ("outside", "ai:bob")):
        path = f"/memories/{ids[title]}/revoke"
        for was in (True, False):
            told = api.ok("POST", path, {"agent_id": "ai:bob"}, x_api_key="k-all", x_agent_id=author)
            assert told["revoked"] is was
    check_reads(api, ids, "k-bob", SEEN["k-bob"], 1)


def test_a_message_that_is_granted_is_in_the_inbox_and_can_be_marked(bound: tuple[Checked, dict[str, str]]) -> None:
    """The line of k-bob does not let it into the namespace of its agent's messages."""
    api, _ = bound
    note = {"target_agent_id": "ai:bob", "title": "gate", "payload": "closed", "scope": "private"}
    bob = {"x_api_key": "k-bob", "x_agent_id": "ai:bob"}
    ids = [api.ok("POST", "/notify", note, x_api_key="k-all", x_agent_id="ai:ann")["id"] for _ in range(2)]

    def inbox(**query: str) -> list[str]:
        return [each["id"] for each in api.ok("GET", "/inbox", query=query, **bob)["messages"]]

    assert inbox() == []
    api.refused(403, "POST", f"/inbox/{ids[0]}/read", **bob)
    path = f"/memories/{ids[0]}"
    api.ok("POST", f"{path}/grant", {"agent_id": "ai:bob"}, x_api_key="k-all", x_agent_id="ai:ann")
    assert inbox() == [ids[0]]
    assert api.ok("POST", f"/inbox/{ids[0]}/read", **bob)["read"] is True
    assert (inbox(), inbox(unread_only="true")) == ([ids[0]], [])
    api.refused(403, "POST", f"/inbox/{ids[1]}/read", **bob)
    api.ok("POST", f"{path}/revoke", {"agent_id": "ai:bob"}, x_api_key="k-all", x_agent_id="ai:ann")
    assert inbox() == []


def test_an_entity_that_is_granted_is_found_by_its_alias(bound: tuple[Checked, dict[str, str]]) -> None:
    api, _ = bound
    entity = {"canonical_name": "gate", "namespace": "zoo", "aliases": ["tor"]}
    made = api.ok("POST", "/entities", entity, x_api_key="k-all", x_agent_id="ai:ann")
    path = f"/memories/{made['entity_id']}"
    for word, found in (("grant", True), ("revoke", False)):
        api.ok("POST", f"{path}/{word}", {"agent_id": "ai:bob"}, x_api_key="k-all", x_agent_id="ai:ann")
        told = api.ok("GET", "/entities/by_alias", query={"alias": "tor"}, x_api_key="k-bob")
        assert told["found"] is found


def test_a_grant_is_of_one_birth(bound: tuple[Checked, dict[str, str]]) -> None:
    api, ids = bound
    path = f"/memories/{ids['hidden']}"
    api.ok("POST", f"{path}/grant", {"agent_id": "ai:bob"}, x_api_key="k-all", x_agent_id="ai:ann")
    assert api.send("GET", path, x_api_key="k-bob").status == 200
    api.ok("DELETE", path, x_api_key="k-all", x_agent_id="ai:ann")
    row = {"title": "hidden", "content": "another", "namespace": "org/eu/team/ann", "agent_id": "ai:ann"}
    assert api.ok("POST", "/memories", row, x_api_key="k-all")["id"] == ids["hidden"]
    assert api.send("GET", path, x_api_key="k-bob").status == 404


def test_only_reading_is_granted_and_only_of_what_is_there(bound: tuple[Checked, dict[str, str]]) -> None:
    api, ids = bound
    wrong = {"agent_id": "ai:bob", "permission": "write"}
    api.refused(400, "POST", f"/memories/{ids['own']}/grant", wrong, x_api_key="k-all", x_agent_id="ai:bob")
    api.refused(404, "POST", "/memories/nobody/grant", {"agent_id": "ai:bob"}, x_api_key="k-all", x_agent_id="ai:bob")
    api.refused(404, "POST", f"/memories/{ids['hidden']}/grant", {"agent_id": "ai:bob"}, x_api_key="k-bob")


def check_reads(api: Checked, ids: dict[str, str], key: str, seen: set[str], links: int) -> None:
    """Every read shows the holder of a key these titles, and so many links, and nothing else."""

    def ok(path: str, **query: str) -> dict[str, Any]:
        return api.ok("GET", path, query=query, x_api_key=key)

    assert titles(ok("/memories")["memories"]) == seen
    assert titles(ok("/search", q="about")["results"]) == seen
    assert titles(ok("/recall", context="about")["memories"]) == seen
    assert titles(api.ok("POST", "/recall", {"context": "about"}, x_api_key=key)["memories"]) == seen
    assert {each["namespace"] for each in ok("/namespaces")["namespaces"]} == {PLACES[title][0] for title in seen}
    assert ok("/taxonomy")["total_count"] == len(seen)
    figures = ok("/stats")
    assert figures["total"] == sum(each["count"] for each in figures["by_namespace"]) == len(seen)
    assert figures["links_count"] == links
    changed = ok("/changes")["changes"]
    assert titles([each["body"] for each in changed if each["kind"] == "memory"]) == seen
    assert sum(each["kind"] == "link" for each in changed) == figures["links_count"]
    for query in ({"topic": "hidden"}, {"topic": "own"}, {"namespace": "org/eu/team/ann"}):
        assert titles(ok("/contradictions", **query)["memories"]) <= seen
    assert titles(api.ok("POST", "/session/start", {}, x_api_key=key)["memories"]) == seen
    assert titles(ok("/export")["memories"]) == seen
    for title, memory_id in ids.items():
        for named in (memory_id, memory_id[:20]):
            reply = api.send("GET", f"/memories/{named}", x_api_key=key)
            assert reply.status == (200 if title in seen else 404)
        reply = api.send("GET", f"/memories/{memory_id}/lineage", x_api_key=key)
        assert reply.status == (200 if title in seen else 404)
        found = api.ok("POST", "/kg/query", {"source_id": memory_id, "max_depth": 5}, x_api_key=key)["memories"]
        assert titles(found) | titles(ok("/kg/timeline", source_id=memory_id)["events"]) <= seen
        assert not found or title in seen
        told = ok(f"/links/{memory_id}")["links"]
        assert all({link["source_id"], link["target_id"]} <= {ids[each] for each in seen} for link in told)


READS = sorted({route.path for route in ROUTES if route.method == "GET"})


@pytest.mark.parametrize("path", READS)
def test_no_read_tells_a_word_of_what_is_out_of_reach(bound: tuple[Checked, dict[str, str]], path: str) -> None:
    api, ids = bound
    api.ok("POST", "/archive", {"ids": [ids["hidden"]]}, x_api_key="k-all")
    query = {"/api/v1/search": {"q": SECRET}, "/api/v1/recall": {"context": SECRET}}.get(path, {})
    for title in ("hidden", "outside"):
        reply = api.send("GET", path.format(id=ids[title], ns="zoo"), query=query, x_api_key="k-bob", accept="*/*")
        assert SECRET.encode() not in reply.body.replace(b'"query":"zebra"', b"")
        assert title.encode() not in reply.body or path.endswith("openapi.json")
    lines = api.send("GET", "/export", x_api_key="k-bob", accept="application/x-ndjson")
    assert SECRET.encode() not in lines.body


def test_an_entity_out_of_reach_is_not_found(bound: tuple[Checked, dict[str, str]]) -> None:
    api, _ = bound
    entity = {"canonical_name": "gate", "namespace": "zoo", "aliases": ["tor"]}
    api.ok("POST", "/entities", entity, x_api_key="k-all")
    for key, found in (("k-all", True), ("k-bob", False)):
        assert api.ok("GET", "/entities/by_alias", query={"alias": "tor"}, x_api_key=key)["found"] is found


def test_the_archive_shows_what_is_in_reach(bound: tuple[Checked, dict[str, str]]) -> None:
    api, ids = bound
    api.ok("POST", "/archive", {"ids": list(ids.values())}, x_api_key="k-all")
    rows = api.ok("GET", "/archive", x_api_key="k-bob")["archived"]
    assert titles(rows) == SEEN["k-bob"]
    assert len(api.ok("GET", "/archive", query={"limit": "2", "offset": "1"}, x_api_key="k-bob")["archived"]) == 2
    assert api.ok("GET", "/archive/stats", x_api_key="k-bob")["archived_total"] == len(rows)
    assert api.ok("GET", "/archive/stats", x_api_key="k-all")["archived_total"] == len(PLACES)


def outside(ids: dict[str, str]) -> dict[str, list[tuple[str, str, Any]]]:
    """Of every route that changes something, requests by k-bob that it may not make."""
    gone, hidden = ids["outside"], ids["hidden"]
    new = {"title": "new", "content": "c", "namespace": "zoo"}
    pair = {"source_id": ids["own"], "target_id": gone}
    note = {"target_agent_id": "ai:bob", "title": "t", "payload": "p"}
    made = {"title": "m", "summary": "s", "namespace": "zoo"}
    rule = {"namespace": "zoo", "governance": {"write": "owner"}}
    return {
        "POST /api/v1/namespaces": [("POST", "/namespaces", rule)],
        "POST /api/v1/namespaces/{ns}/standard": [("POST", "/namespaces/zoo/standard", rule)],
        "DELETE /api/v1/namespaces": [("DELETE", "/namespaces?namespace=zoo", None)],
        "DELETE /api/v1/namespaces/{ns}/standard": [("DELETE", "/namespaces/zoo/standard", None)],
        "POST /api/v1/memories": [("POST", "/memories", new), ("POST", "/memories", {**new, "title": "outside"})],
        "PUT /api/v1/memories/{id}": [
            ("PUT", f"/memories/{gone}", {"content": "c"}),
            ("PUT", f"/memories/{hidden}", {"content": "c"}),
            ("PUT", f"/memories/{ids['own']}", {"namespace": "zoo"}),
        ],
        "DELETE /api/v1/memories/{id}": [("DELETE", f"/memories/{each}", None) for each in (gone, hidden)],
        "POST /api/v1/memories/{id}/promote": [("POST", f"/memories/{each}/promote", None) for each in (gone, hidden)],
        "POST /api/v1/entities": [("POST", "/entities", {"canonical_name": "n", "namespace": "zoo", "aliases": ["m"]})],
        "POST /api/v1/links": [("POST", "/links", pair)],
        "DELETE /api/v1/links": [("DELETE", "/links", {"source_id": gone, "target_id": ids["own"]})],
        "POST /api/v1/kg/invalidate": [("POST", "/kg/invalidate", {"source_id": gone, "target_id": ids["own"]})],
        "POST /api/v1/subscriptions": [
            ("POST", "/subscriptions", {"url": "https://example.net/x", "namespace": "zoo"}),
            ("POST", "/subscriptions", {"url": "https://example.net/x"}),
        ],
        "POST /api/v1/notify": [("POST", "/notify", note), ("POST", "/notify", {**note, "agent_id": "ai:ann"})],
        "POST /api/v1/inbox/{id}/read": [("POST", f"/inbox/{gone}/read?agent_id=ai:ann", None)],
        "POST /api/v1/archive": [("POST", "/archive", {"ids": [gone]})],
        "DELETE /api/v1/archive": [("DELETE", "/archive", None)],
        "POST /api/v1/forget": [("POST", "/forget", {"namespace": "zoo"})],
        "POST /api/v1/consolidate": [
            ("POST", "/consolidate", {**made, "ids": [ids["own"], ids["home"]]}),
            ("POST", "/consolidate", {**made, "namespace": "org/x", "ids": [ids["own"], gone]}),
        ],
    }


def by_rows(ids: dict[str, str]) -> dict[str, tuple[str, Any]]:
    """Requests of which each row is judged by itself."""
    row = {"title": "new", "content": "c", "namespace": "zoo"}
    return {
        "POST /api/v1/memories/bulk": ("/memories/bulk", [row]),
        "POST /api/v1/import": ("/import", {"memories": [{**row, "id": "new-1"}]}),
    }


OF_NO_NAMESPACE = {
    *("DELETE /api/v1/subscriptions", "DELETE /api/v1/subscriptions/{id}", "POST /api/v1/dead_letters/replay"),
    *("POST /api/v1/gc", "POST /api/v1/quarantine/rescue", "POST /api/v1/quarantine/drop", "POST /api/v1/agents"),
    *(f"POST /api/v1/pending/{{id}}/{verdict}" for verdict in ("approve", "reject", "cancel", "reopen")),
    *(f"POST /api/v1/memories/{{id}}/{word}" for word in ("grant", "revoke")),
}
"""Ending what has expired is nobody's act; of the quarantine only rows in reach are there at all; agents are of no
namespace; a subscription is ended, and told again, by who made it; who may vote on an action is said by the action; who
reads a memory is said by its author, to others it is not there."""


def test_writes_out_of_reach_are_refused_and_change_nothing(bound: tuple[Checked, dict[str, str]]) -> None:
    api, ids = bound
    api.ok("POST", "/archive", {"ids": [ids["outside"]]}, x_api_key="k-all")
    refused = api.refused(403, "POST", f"/archive/{ids['outside']}/restore", x_api_key="k-bob")
    assert "namespace zoo" in refused["error"]
    api.ok("POST", f"/archive/{ids['outside']}/restore", x_api_key="k-all")
    api.ok("POST", "/namespaces", {"namespace": "zoo", "governance": {"write": "any"}}, x_api_key="k-all")
    before = api.ok("GET", "/digest", x_api_key="k-all")["digest"]
    asked = outside(ids)
    for requests in asked.values():
        for method, path, body in requests:
            place, _, query = path.partition("?")
            said = api.refused(403, method, place, body, query=parse_query(query), x_api_key="k-bob")
            assert "certificate or key" in said["error"]
    rows = by_rows(ids)
    for path, body in rows.values():
        reply = api.ok("POST", path, body, x_api_key="k-bob")
        assert "namespace zoo" in json.dumps(reply["errors"])
    assert api.ok("GET", "/digest", x_api_key="k-all")["digest"] == before
    changing = {f"{route.method} {route.path}" for route in ROUTES if route.changes}
    assert changing == {*asked, *rows, *OF_NO_NAMESPACE, "POST /api/v1/archive/{id}/restore"}


def test_a_row_of_another_kind_is_not_for_a_bound_caller(bound: tuple[Checked, dict[str, str]]) -> None:
    api, _ = bound
    version = f"{1:016x}-{'a' * 16}"
    record = {"kind": "agent", "key": "ai:evil", "version": version, "born": version, "deleted": False, "body": {}}
    line = json.dumps({"record": record}).encode() + b"\n"
    said = api.send("POST", "/import", line, content_type="application/x-ndjson", x_api_key="k-bob").json()
    assert said["failed"] == 1
    assert "bound to some namespaces" in said["errors"][0]["error"]


def test_what_is_in_reach_is_written_as_ever(bound: tuple[Checked, dict[str, str]]) -> None:
    api, ids = bound
    new = {"title": "n", "content": "c", "namespace": "org/eu"}
    made = api.ok("POST", "/memories", new, x_api_key="k-bob", x_agent_id="ai:bob")
    api.ok("PUT", f"/memories/{made['id']}", {"content": "d"}, x_api_key="k-bob", x_agent_id="ai:bob")
    api.ok("DELETE", f"/memories/{ids['own']}", x_api_key="k-bob")  # with its links to what is out of reach
    assert api.ok("POST", "/forget", {"pattern": "about"}, x_api_key="k-bob")["deleted"] == 3
    left = api.ok("GET", "/memories", x_api_key="k-all")["memories"]
    assert titles(left) == {"hidden", "outside", "n"}


def test_who_shows_nothing_gets_collective_memories_alone_where_identity_is_required(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db"), "--tier", "keyword", "--require-identity") as (_, port):

        def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
            reply = call(port, method, path, body)
            return reply.status, reply.json()

        ids = {}
        for scope in ("private", "org", "collective"):
            status, made = ask("POST", "/memories", {"title": scope, "content": "c", "scope": scope})
            assert status == 201
            ids[scope] = made["id"]
        assert titles(ask("GET", "/memories")[1]["memories"]) == {"collective"}
        assert [ask("GET", f"/memories/{each}")[0] for each in ids.values()] == [404, 404, 200]
        assert [ask("PUT", f"/memories/{each}", {"content": "d"})[0] for each in ids.values()] == [403, 403, 200]
        assert ask("GET", "/stats")[1]["total"] == 1
        assert ask("GET", "/status")[1]["unnamed_callers"] == "collective"
        assert ask("GET", "/capabilities")[1]["permissions"]["unnamed_callers"] == "collective"
