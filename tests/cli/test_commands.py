"""What each thin command asks, and what it prints in a pipe, on a terminal, and as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from .conftest import FakeNode, Run

Memory = dict[str, Any]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stdout is a terminal of 100 columns."""
    monkeypatch.setattr("aimem.cli.output.is_tty", lambda stream: stream is sys.stdout)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def recall(node: FakeNode, memory: Memory) -> FakeNode:
    """A node that recalls one memory."""
    scored = {**memory, "score": 0.834}
    reply = {"memories": [scored], "count": 1, "tokens_used": 12, "mode": "hybrid"}
    node.answers["POST", "/api/v1/recall"] = (200, reply)
    return node


def test_query_asks_for_meaning_with_the_filters_that_were_given(run: Run, recall: FakeNode) -> None:
    assert run("query", "why did names fail?", "-n", "ops/dns", "--min-priority", "3", "--agent", "ai:a").code == 0
    assert recall.last.body == {
        "context": "why did names fail?",
        "namespace": "ops/dns",
        "min_priority": 3,
        "agent_id": "ai:a",
    }


def test_query_prints_one_plain_line_in_a_pipe(run: Run, recall: FakeNode, memory: Memory) -> None:
    fields = run("query", "x").out.rstrip("\n").split("\t")
    content = "The resolver's cache was full. We doubled it."
    assert fields == [memory["id"], "0.834", "mid", "ops/dns", "DNS outage", content]
    recall.answers["POST", "/api/v1/recall"] = (200, {"memories": [{**memory, "content": "x" * 300}]})
    assert run("query", "x").out.endswith("\t" + "x" * 200 + "…\n")


@pytest.mark.usefixtures("terminal")
def test_query_prints_a_table_on_a_terminal(run: Run, recall: FakeNode) -> None:
    head, row, preview = run("query", "x").out.splitlines()
    assert head.startswith("\x1b[1mSCORE  ID")
    assert row.split()[:4] == ["0.83", "5f0c9a31", "mid", "ops/dns"]
    assert "The resolver's cache was full. We doubled it." in preview


@pytest.mark.usefixtures("terminal")
def test_no_color_is_honoured(run: Run, recall: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("query", "x").out


@pytest.mark.usefixtures("terminal")
def test_text_of_a_memory_can_not_move_the_cursor(run: Run, recall: FakeNode, memory: Memory) -> None:
    evil = {**memory, "title": "a\x1b[2Jb\x9bc", "content": "\x1b]0;t\x07x", "score": 1.0}
    recall.answers["POST", "/api/v1/recall"] = (200, {"memories": [evil]})
    lines = run("query", "x").out.splitlines()[1:]
    assert "a [2Jb c" in lines[0]
    assert "\x1b" not in lines[0]
    assert lines[1].count("\x1b") == 2  # our own colour on and off


def test_query_json_is_the_reply_with_schema(run: Run, recall: FakeNode) -> None:
    reply = run("query", "x", "--json").json
    assert reply["schema"] == 1
    assert (reply["mode"], reply["memories"][0]["score"]) == ("hybrid", 0.834)


def test_query_jsonl_is_one_memory_a_line(run: Run, recall: FakeNode) -> None:
    (line,) = run("query", "x", "--jsonl").out.splitlines()
    assert json.loads(line)["schema"] == 1
    assert json.loads(line)["title"] == "DNS outage"


def test_nothing_found_is_no_error_and_is_said_on_stderr(run: Run, node: FakeNode) -> None:
    node.answers["POST", "/api/v1/recall"] = (200, {"memories": [], "count": 0, "tokens_used": 0, "mode": "hybrid"})
    outcome = run("query", "x")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no results for: x\n")


@pytest.mark.parametrize("found", [True, False])
def test_a_recall_that_had_no_time_to_look_everywhere_is_told(
    run: Run, node: FakeNode, memory: Memory, found: bool
) -> None:
    reply = {"memories": [{**memory, "score": 1.0}] if found else [], "mode": "hybrid", "truncated": True}
    node.answers["POST", "/api/v1/recall"] = (200, reply)
    outcome = run("query", "x")
    assert (outcome.code, memory["id"] in outcome.out) == (0, found)
    assert outcome.err.endswith("had no time to look everywhere: better ones may be missing\n")


def test_words_and_list_and_id_ask_their_own_routes(run: Run, node: FakeNode, memory: Memory) -> None:
    node.answers["GET", "/api/v1/search"] = (
        200,
        {"results": [memory], "memories": [memory], "count": 1, "query": "a b"},
    )
    node.answers["GET", "/api/v1/memories"] = (200, {"memories": [memory], "count": 1})
    node.answers["GET", "/api/v1/memories/a%2Fb"] = (200, {**memory, "memory": memory, "links": []})
    assert memory["id"] in run("query", "--words", "a b", "--tags", "dns").out
    assert node.last.query == {"q": "a b", "tags": "dns"}
    assert memory["id"] in run("query", "--list", "--offset", "20", "--limit", "0").out
    assert node.last.query == {"offset": "20", "limit": "0"}
    assert "We doubled it." in run("query", "--id", "a/b").out


def test_get_shows_fields_content_and_links(run: Run, node: FakeNode, memory: Memory) -> None:
    link = {"source_id": "a", "target_id": "b", "relation": "related_to", "created_at": "2026-01-01T00:00:00+00:00"}
    node.answers["GET", "/api/v1/memories/5f0c"] = (200, {**memory, "memory": memory, "links": [link]})
    out = run("get", "5f0c").out
    assert out.startswith("title: DNS outage\nid: 5f0c9a31")
    assert "tags: dns, incident\n" in out
    assert out.endswith("\nThe resolver's cache was full.\nWe doubled it.\n\nlinks:\n  a --[related_to]--> b\n")


def test_update_sends_only_what_changes(run: Run, node: FakeNode, memory: Memory) -> None:
    node.answers["PUT", "/api/v1/memories/x"] = (200, memory)
    outcome = run("update", "x", "--tags", "", "--expires-at", "", "-c", "-", "--if-version", "v1", stdin="new\n")
    assert outcome.out == f"updated: {memory['id']} [DNS outage]\n"
    assert node.last.body == {"tags": [], "expires_at": "", "content": "new\n"}
    assert node.last.headers["if-match"] == '"v1"'


def test_update_takes_metadata_as_an_object(run: Run, node: FakeNode, memory: Memory) -> None:
    node.answers["PUT", "/api/v1/memories/x"] = (200, memory)
    assert run("update", "x", "--metadata", '{"scope": "team"}').code == 0
    assert node.last.body == {"metadata": {"scope": "team"}}


def test_delete_and_promote_say_what_they_did(run: Run, node: FakeNode) -> None:
    node.answers["DELETE", "/api/v1/memories/x"] = (200, {"deleted": True})
    node.answers["POST", "/api/v1/memories/x/promote"] = (200, {"promoted": True, "id": "xyz", "tier": "long"})
    assert run("delete", "x").out == "deleted: x\n"
    assert run("promote", "x").out == "promoted to long-term: xyz\n"
    assert run("promote", "x", "--json").json == {"promoted": True, "id": "xyz", "tier": "long", "schema": 1}


def test_namespaces_and_stats(run: Run, node: FakeNode) -> None:
    node.answers["GET", "/api/v1/namespaces"] = (200, {"namespaces": [{"namespace": "ops", "count": 3}]})
    counts = {"by_tier": [{"tier": "mid", "count": 3}], "by_namespace": [{"namespace": "ops", "count": 3}]}
    node.answers["GET", "/api/v1/stats"] = (200, {"total": 3, **counts, "db_size_bytes": 4096})
    assert run("namespaces").out == "ops\t3\n"
    assert run("stats").out == "total: 3\ndb_size_bytes: 4096\ntier mid: 3\nnamespace ops: 3\n"
    node.answers["GET", "/api/v1/namespaces"] = (200, {"namespaces": []})
    assert run("namespaces").err == "no namespaces\n"


def test_status_is_8_while_not_ready(run: Run, node: FakeNode) -> None:
    status = {"status": "ok", "ready": False, "degraded": ["starting"], "index": {"rows": 3}}
    node.answers["GET", "/api/v1/status"] = (200, status)
    outcome = run("status")
    assert outcome.code == 8
    assert outcome.out == "status: ok\nready: no\ndegraded: starting\nindex.rows: 3\n"


def test_status_waits_until_ready_and_embedded(run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimem.cli.status._POLL_SECS", 0)
    steps = iter([(False, 9, False), (True, 9, True), (True, 9, True), (True, 4, True), (True, 0, False)])
    asked = []

    def status(seen: object) -> tuple[int, dict[str, Any]]:
        ready, backlog, embedder = step = next(steps, (True, 0, True))
        asked.append(step)
        return 200, {"ready": ready, "embedding_backlog": backlog, "tier": "semantic", "embedder_ready": embedder}

    node.answers["GET", "/api/v1/status"] = status
    assert run("status", "--wait-ready", "60", "--wait-embedded", "60", "--json").json["embedding_backlog"] == 0
    assert asked[5:] == [(True, 0, True)] * 2  # a backlog of none was not enough while the model was loading


def test_status_gives_up_with_8(run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimem.cli.status._POLL_SECS", 0)
    node.answers["GET", "/api/v1/status"] = (200, {"ready": True, "embedding_backlog": 5})
    outcome = run("status", "--wait-embedded", "0")
    assert outcome.code == 8
    assert "5 memories wait for their vector" in outcome.err
    assert run("status", "--wait-ready", "0", "--to", "http://127.0.0.1:1").code == 7


def test_who_calls(run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    node.answers["GET", "/api/v1/stats"] = (200, {})
    run("stats")
    assert node.last.headers["x-agent-id"].startswith("host:")
    monkeypatch.setenv("AI_MEMORY_ANONYMIZE", "yes")
    run("stats")
    assert "x-agent-id" not in node.last.headers
    monkeypatch.setenv("AI_MEMORY_AGENT_ID", "ai:env")
    run("stats")
    assert node.last.headers["x-agent-id"] == "ai:env"
