"""The command line against the real thing: a database file in this process, and a node in another."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Life


def test_a_memory_s_life(aimem: Life) -> None:
    stored = aimem("push", "-T", "DNS outage", "-c", "The resolver's cache was full.", "-n", "ops", "--json").json
    id, version = stored["id"], stored["version"]
    assert aimem("get", id[:8], "--json").json["source"] == "cli"
    assert aimem("query", "resolver cache", "--json").json["memories"][0]["id"] == id
    assert aimem("query", "--words", "resolver full").out.startswith(id)
    assert aimem("query", "--words", "resolver nothing").err == "no results for: resolver nothing\n"
    assert aimem("update", id, "--tags", "dns", "--if-version", version).code == 0
    assert aimem("update", id, "--tags", "net", "--if-version", version).code == 4
    assert aimem("query", "--list", "--tags", "dns", "--min-priority", "5").out.startswith(id)
    assert aimem("promote", id).out == f"promoted to long-term: {id}\n"
    assert aimem("namespaces").out == "ops\t1\n"
    assert aimem("namespaces", "--tree").out == "ops\t1\t1\n"
    assert aimem("namespaces", "--tree", "--prefix", "nowhere").err == "no namespaces\n"
    assert aimem("namespaces", "--depth", "1").code == 2
    assert "tier long: 1\n" in aimem("stats").out
    assert aimem("status").code == 0
    assert aimem("delete", id).out == f"deleted: {id}\n"
    assert aimem("get", id).code == 3
    assert aimem("delete", id).code == 3


def test_links_are_followed(aimem: Life) -> None:
    ids = [aimem("push", "-T", title, "-c", title, "--json").json["id"] for title in "ab"]
    assert aimem("link", *ids, "--relation", "derived_from").code == 0
    row = aimem("graph", "query", ids[0][:8]).out.rstrip("\n").split("\t")
    assert row == ["1", "derived_from", ids[1], "global", "b", f"{ids[0]}->{ids[1]}"]
    assert aimem("graph", "timeline", ids[0], "--json").json["count"] == 1
    assert aimem("graph", "lineage", ids[0]).out.startswith(f"1\tderived_from\t{ids[1]}\t")
    assert aimem("graph", "query", ids[1]).err == "no links lead on\n"
    assert aimem("graph", "lineage", "nobody").code == 3


def test_the_same_key_does_a_thing_once(aimem: Life) -> None:
    line = ("push", "-T", "t", "-c", "c", "--on-conflict", "version", "--idempotency-key", "k", "--json")
    assert aimem(*line).json["id"] == aimem(*line).json["id"]
    assert aimem("namespaces").out == "global\t1\n"
    assert aimem("push", "-T", "other", "-c", "c", "--idempotency-key", "k").code == 4


def test_a_large_push_is_whole_and_can_be_repeated(aimem: Life, tmp_path: Path) -> None:
    rows = [{"title": f"t{n % 1100}", "content": f"content {n}"} for n in range(1200)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"title": "", "content": "x"}\n')
    for _ in range(2):
        outcome = aimem("push", str(file))
        assert (outcome.code, outcome.out) == (1, "stored: 1200, failed: 1\n")
        assert outcome.err.startswith(f"{file}:1201: title")
    assert aimem("namespaces").out == "global\t1100\n"
    listed = aimem("query", "--list", "--limit", "1000", "--jsonl").out.splitlines()
    held = {memory["title"]: memory["content"] for memory in map(json.loads, listed)}
    assert len(held) == 1000
    last = {row["title"]: row["content"] for row in rows}
    assert all(last[title] == content for title, content in held.items())


def test_documents_are_found_by_their_sections(aimem: Life, tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text(
        "# Certificates\nRotate them every quarter.\n# Backups\nCron makes one a night.\n"
    )
    assert aimem("push", "guide.md", "-n", "handbook").out == "stored: 2\n"
    best = aimem("query", "how often do we rotate certificates?", "--limit", "1", "--json").json["memories"][0]
    assert (best["title"], best["namespace"]) == ("guide.md: Certificates", "handbook")


def test_what_the_rules_refuse_is_usage(aimem: Life) -> None:
    assert aimem("push", "-T", "t", "-c", "c", "-n", "a//b").code == 2
    assert aimem("push", "-T", "t", "-c", "bell\x07").code == 2
    assert aimem("query", "x", "--since", "yesterday").code == 2
    assert aimem("get", "nothing-like-it").code == 3
