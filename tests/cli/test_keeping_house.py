"""`link`, `forget`, `archive` and `gc`: what they ask, what they print, and that they do it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from .conftest import FakeNode, Life, Run

LINK = {"source_id": "a", "target_id": "b", "relation": "related_to", "created_at": "2026-01-01T00:00:00+00:00"}


def stored(aimem: Life, title: str, *more: str) -> str:
    id: str = aimem("push", "-T", title, "-c", f"About {title}.", "--json", *more).json["id"]
    return id


def test_links_are_made_listed_ended_and_removed(aimem: Life) -> None:
    a, b = stored(aimem, "first"), stored(aimem, "second")
    made = aimem("link", a, b, "--relation", "supersedes")
    assert (made.code, made.out) == (0, f"linked: {a} --[supersedes]--> {b}\n")
    assert aimem("link", a, b, "--valid-from", "2026-01-02T03:04:05Z").code == 0
    fields = {line.split("\t")[1]: line.split("\t") for line in aimem("link", "--list", a[:8]).out.splitlines()}
    assert fields.keys() == {"supersedes", "related_to"}
    assert fields["related_to"][:4] == [a, "related_to", b, "2026-01-02T03:04:05+00:00"]
    assert aimem("get", b).out.count(f"{a} --[") == 2
    ended = aimem("link", "--invalidate", a, b, "--valid-until", "2026-02-01T00:00:00Z", "--json").json
    assert (ended["found"], ended["valid_until"][:10], ended["schema"]) == (True, "2026-02-01", 1)
    assert aimem("link", "--remove", a, b).out == f"removed: {a} --[*]--> {b}\n"
    again = aimem("link", "--remove", a, b)
    assert (again.code, again.out, again.err) == (3, "", "no such link\n")
    assert aimem("link", "--invalidate", a, b).code == 3
    assert aimem("link", a, "nobody").code == 3
    assert aimem("link", "--list", a).err == "no links\n"


def test_the_archive_holds_what_is_set_aside(aimem: Life) -> None:
    kept, gone = stored(aimem, "kept", "-n", "ops"), stored(aimem, "gone", "-n", "ops")
    outcome = aimem("archive", "add", gone, "nobody", "--reason", "moved")
    assert (outcome.code, outcome.out, outcome.err) == (3, f"archived: {gone}\n", "not found: nobody\n")
    assert aimem("get", gone).code == 3
    assert aimem("archive", "list", "-n", "ops").out.split("\t")[0::2] == [gone, "moved", "gone\n"]
    assert aimem("archive", "list", "-n", "other").err == "nothing is archived\n"
    assert aimem("archive", "stats").out == "archived_total: 1\nnamespace ops: 1\n"
    assert aimem("archive", "restore", gone).out == f"restored: {gone}\n"
    assert aimem("archive", "restore", gone).code == 3
    assert aimem("get", gone).code == 0
    aimem("archive", "add", gone)
    assert stored(aimem, "gone", "-n", "ops") != gone
    assert aimem("archive", "restore", gone).code == 4  # its title is taken
    assert aimem("archive", "purge", "--older-than-days", "1").out == "purged 0 archived memories\n"
    assert aimem("archive", "purge", "--all", "--json").json == {"purged": 1, "schema": 1}
    assert aimem("get", kept).code == 0


def test_forget_takes_all_that_fit_and_no_more(aimem: Life) -> None:
    for title, namespace in (("alpha", "a"), ("beta", "a"), ("alpha", "b")):
        stored(aimem, title, "-n", namespace)
    assert aimem("forget", "-n", "a", "--pattern", "alpha gamma").out == "forgot 1 memories\n"
    assert aimem("forget", "-t", "long", "--confirm-global", "--json").json == {"deleted": 0, "schema": 1}
    assert aimem("namespaces").out == "a\t1\nb\t1\n"
    assert aimem("forget", "-t", "mid", "--confirm-global").out == "forgot 2 memories\n"
    assert aimem("archive", "stats", "--json").json["archived_total"] == 3


def test_gc_ends_what_has_expired(aimem: Life) -> None:
    ended = datetime.now(UTC) - timedelta(minutes=1)  # within the grace that a node gives by itself
    row = {"id": "old", "title": "t", "content": "c", "expires_at": ended.isoformat()}
    assert aimem("import", stdin=json.dumps(row)).out == "imported: 1\n"
    stored(aimem, "alive")
    assert aimem("gc").out == "expired memories deleted: 1\n"
    assert aimem("gc", "--json").json == {"expired_deleted": 0, "schema": 1}


@pytest.mark.parametrize(
    ("args", "method", "path", "reply"),
    [
        (["gc"], "POST", "/api/v1/gc", {"expired_deleted": 0}),
        (["forget", "-n", "x"], "POST", "/api/v1/forget", {"deleted": 0}),
        (["link", "a", "b"], "POST", "/api/v1/links", {"linked": True}),
        (["link", "--invalidate", "a", "b"], "POST", "/api/v1/kg/invalidate", {"found": True}),
        (["link", "--remove", "a", "b"], "DELETE", "/api/v1/links", {"deleted": True}),
        (["archive", "add", "a"], "POST", "/api/v1/archive", {"archived": ["a"], "missing": []}),
        (["archive", "restore", "a"], "POST", "/api/v1/archive/a/restore", {"restored": True, "id": "a"}),
        (["archive", "purge", "--all"], "DELETE", "/api/v1/archive", {"purged": 0}),
    ],
)
def test_each_change_carries_a_key_and_the_caller(
    run: Run, node: FakeNode, args: list[str], method: str, path: str, reply: dict[str, object]
) -> None:
    node.answers[method, path] = (200, reply)
    assert run(*args, "--json", "--agent-id", "ai:a").json == {**reply, "schema": 1}
    assert node.last.headers["x-agent-id"] == "ai:a"
    assert len(node.last.headers["idempotency-key"]) == 32
    run(*args, "--idempotency-key", "mine")
    assert node.last.headers["idempotency-key"] == "mine"
    node.answers[method, path] = (202, {"status": "pending", "pending_id": "p1"})
    pending = run(*args)
    assert (pending.code, pending.out, pending.err[:11]) == (0, "", "pending: p1")


def test_only_what_was_given_is_sent(run: Run, node: FakeNode) -> None:
    node.answers["DELETE", "/api/v1/archive"] = (200, {"purged": 0})
    run("archive", "purge", "--older-than-days", "0")
    assert (node.last.query, node.last.body) == ({"older_than_days": "0"}, None)
    run("archive", "purge", "--all")
    assert node.last.query == {}
    node.answers["DELETE", "/api/v1/links"] = (200, {"deleted": True})
    run("link", "--remove", "a", "b")
    assert node.last.body == {"source_id": "a", "target_id": "b"}


def test_the_archive_on_a_terminal_is_a_table(run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"id": "0123456789", "namespace": "ops", "title": "t\x1b[2J", "archive_reason": "forget"}
    reply = {"archived": [{**row, "archived_at": "2026-01-01T00:00:00+00:00"}], "count": 1}
    node.answers["GET", "/api/v1/archive"] = (200, reply)
    monkeypatch.setattr("aimem.cli.output.is_tty", lambda stream: stream is sys.stdout)
    monkeypatch.setenv("NO_COLOR", "1")
    head, line = run("archive", "list").out.splitlines()
    assert head.split() == ["ID", "ARCHIVED", "REASON", "NAMESPACE", "TITLE"]
    assert line.split()[0] == "01234567"
    assert "\x1b" not in line


@pytest.mark.parametrize(
    "args",
    [
        ["link", "a"],
        ["link", "--list", "a", "b"],
        ["link", "--list", "a", "--relation", "supersedes"],
        ["link", "--remove", "--invalidate", "a", "b"],
        ["link", "--remove", "a", "b", "--valid-until", "2026-01-01T00:00:00Z"],
        ["link", "a", "b", "--relation", "likes"],
        ["forget"],
        ["forget", "--pattern", "x"],
        ["forget", "--tier", "long"],
        ["forget", "-n", ""],
        ["archive"],
        ["archive", "nope"],
        ["archive", "add"],
        ["archive", "purge"],
        ["archive", "purge", "--all", "--older-than-days", "3"],
        ["archive", "list", "--limit", "0"],
        ["import", "missing.jsonl"],
    ],
)
def test_usage_errors_ask_nothing(run: Run, node: FakeNode, args: list[str]) -> None:
    outcome = run(*args)
    assert (outcome.code, outcome.out) == (2, ""), outcome.err
    assert node.seen == []
