"""A database that the real program left: every kind of row of it arrives, with what it said."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aimem.core.kinds import (
    AGENT,
    ALIAS,
    DECISION,
    EMBEDDING,
    LINK,
    MEMORY,
    PENDING,
    POLICY,
    STANDARD,
    SUBSCRIPTION,
    VECTOR,
    VOTE,
    compound_key,
    link_key,
)
from aimem.core.record import canonical
from aimem.core.timestamp import format_timestamp, parse_timestamp
from aimem.core.wire import memory_json
from tests.store.old_database import NOW, REAL, OldDatabase, into, migrated, records


@pytest.fixture(scope="module")
def old() -> Any:
    connection = sqlite3.connect(f"{REAL.as_uri()}?mode=ro&immutable=1", uri=True)
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


async def test_every_kind_of_row_arrives(tmp_path: Path) -> None:
    async with migrated(tmp_path / "x.db", REAL) as (store, report):
        found = Counter(kind for kind, _ in await records(store))
        assert await store.check() == []
    assert {name: (count.read, count.written) for name, count in report.kinds.items()} == {
        "memories": (197, 197),
        "entities": (2, 2),
        "messages": (1, 1),
        "archived": (7, 7),
        "superseded": (0, 0),
        "accesses": (15, 15),
        "embeddings": (183, 183),
        "links": (36, 36),
        "aliases": (4, 4),
        "standards": (5, 5),
        "policies": (4, 4),  # one of the five standards is a text without a policy
        "pending": (7, 7),
        "votes": (3, 3),
        "decisions": (2, 2),
        "subscriptions": (2, 2),
        "agents": (4, 4),
    }
    assert found == {
        MEMORY: 204,
        "touch": 15,
        EMBEDDING: 183,
        LINK: 36,
        ALIAS: 4,
        AGENT: 4,
        STANDARD: 5,
        POLICY: 4,
        PENDING: 7,
        VOTE: 3,
        DECISION: 2,
        SUBSCRIPTION: 2,
    }
    assert (report.failed, report.not_taken, report.repaired) == (0, [], [])


async def test_a_memory_is_shown_as_the_old_program_showed_it(tmp_path: Path, old: sqlite3.Connection) -> None:
    rows = old.execute("SELECT * FROM memories").fetchall()
    async with migrated(tmp_path / "x.db", REAL) as (store, _):
        shown = [
            memory_json(found.record, found.use) for found in await store.memories([r["id"] for r in rows]) if found
        ]
    assert len(shown) == len(rows)
    for row, memory in zip(rows, shown, strict=True):
        del memory["version"]
        expected = {name: row[name] for name in row.keys() if row[name] is not None}  # noqa: SIM118
        for name in ("embedding", "scope_idx", "agent_id_idx"):
            expected.pop(name, None)
        if "expires_at" in expected:  # kept as its caller wrote it there, as UTC here
            expected["expires_at"] = format_timestamp(parse_timestamp(expected["expires_at"]))
        assert memory == {**expected, "tags": json.loads(row["tags"]), "metadata": json.loads(row["metadata"])}


async def test_the_archive_keeps_when_and_why(tmp_path: Path, old: sqlite3.Connection) -> None:
    async with migrated(tmp_path / "x.db", REAL) as (store, _):
        found = await records(store, MEMORY)
    for row in old.execute("SELECT * FROM archived_memories"):
        body = found[MEMORY, row["id"]].body
        assert body["archived"] == {"at": parse_timestamp(row["archived_at"]), "reason": row["archive_reason"]}
        assert (body["tier"], body["title"]) == (row["tier"], row["title"])
        assert body["updated_at"] == parse_timestamp(row["updated_at"])


async def test_links_keep_their_validity(tmp_path: Path, old: sqlite3.Connection) -> None:
    async with migrated(tmp_path / "x.db", REAL) as (store, _):
        found = await records(store, LINK)
    rows = old.execute("SELECT * FROM memory_links").fetchall()
    assert sum(row["valid_until"] is not None for row in rows) == 1
    for row in rows:
        body = found[LINK, link_key(row["source_id"], row["target_id"], row["relation"])].body
        for name in ("created_at", "valid_from", "valid_until"):
            assert body.get(name) == (parse_timestamp(row[name]) if row[name] else None)


async def test_the_control_plane_arrives(tmp_path: Path) -> None:
    async with migrated(tmp_path / "x.db", REAL) as (store, _):
        found = await records(store)
    assert found[POLICY, "finance"].body["policy"]["approver"] == {"consensus": 2}
    assert found[STANDARD, "research/notes"].body["parent"] == "research"
    assert found[STANDARD, "research/notes"].body["owner"] == "ai:mara"
    waiting, approved = "01e33425-d7a9-4df6-a79d-1de05277a046", "9b9a744f-3a67-46e0-87ee-c51f5477c3ef"
    assert found[PENDING, waiting].body["approver"] == {"consensus": 2}
    assert found[PENDING, waiting].body["payload"]["content"] == "invoice 0 to the harbour"
    assert found[VOTE, compound_key(waiting, "ai:mara", "approve")].body["pending_id"] == waiting
    assert (DECISION, waiting) not in found
    assert found[DECISION, approved].body["outcome"] == "approved"
    assert found[DECISION, approved].body["wrote"] == []
    assert found[VOTE, compound_key(approved, "rack-a/approvers", "approve")].body["voter"] == "rack-a/approvers"
    assert found[AGENT, "rack-a/approvers"].body["capabilities"] == ["store", "recall"]
    hook = found[SUBSCRIPTION, "75bb502c-47a0-4f8c-a348-b186299abc17"].body
    assert hook["secret_lost"] is True
    assert len(hook["secret_hash"]) == 64
    assert found[ALIAS, compound_key("9fe6f263-e0f5-404a-ad4d-8f4e53ef9aa2", "T-7")].body["alias"] == "T-7"


async def test_old_vectors_are_kept_apart_from_ours(tmp_path: Path, old: sqlite3.Connection) -> None:
    async with migrated(tmp_path / "x.db", REAL) as (store, _):
        found = await records(store, EMBEDDING, VECTOR)
    rows = old.execute("SELECT id, embedding FROM memories WHERE embedding IS NOT NULL").fetchall()
    assert {kind for kind, _ in found} == {EMBEDDING}
    for row in rows:
        record = found[EMBEDDING, f"{row['id']}/all-MiniLM-L6-v2"]
        body = record.body
        assert record.raw == canonical(body)
        assert base64.b64decode(body["data"]) == row["embedding"]
        assert body["dims"] == 384


@pytest.mark.parametrize("bad", [0, 127, 128, 200, 299])
async def test_a_text_that_is_no_utf8_costs_no_other_row(tmp_path: Path, bad: int) -> None:
    path = tmp_path / "old.db"
    with OldDatabase(path) as made:
        for number in range(300):
            made.memory(f"{number:03}", title=f"no. {number}")
        made.connection.execute("UPDATE memories SET title = CAST(x'ff41' AS TEXT) WHERE id = ?", (f"{bad:03}",))
    async with migrated(tmp_path / "x.db", path) as (store, report):
        found = await records(store, MEMORY)
    assert (report.kinds["memories"].read, report.kinds["memories"].written) == (300, 300)
    titles = [f"no. {number}" if number != bad else "\ufffdA" for number in range(300)]
    assert [record.body["title"] for _, record in sorted(found.items())] == titles
    assert [note.what.partition(":")[0] for note in report.repaired] == [f"{bad:03}"]


async def test_running_again_changes_nothing(tmp_path: Path) -> None:
    async with migrated(tmp_path / "x.db", REAL) as (store, first):
        head = store.head
        again = await into(store, [REAL], now=NOW + 10**12)
        assert (again.digest, store.head) == (first.digest, head)
    assert all(count.written == 0 and count.present == count.read for count in again.kinds.values())


async def test_nothing_is_dropped_in_silence(tmp_path: Path) -> None:
    """Values that break the rules are repaired with a note, and rows that mean nothing here are named."""
    path = tmp_path / "old.db"
    with OldDatabase(path) as made:
        made.memory("bad-time", updated_at="yesterday", created_at="2026-01-02 03:04:05")
        made.memory("bad-json", metadata="{broken", tags="nope")
        made.memory("bad-numbers", priority="high", confidence=7.5, tier="eternal", expires_at="soon")
        made.memory("surrogate", metadata='{"x": "\\ud800"}')
        made.memory("bytes", content=b"caf\xe9")
        made.memory(None)
        made.connection.execute("UPDATE memories SET title = CAST(x'ff41' AS TEXT) WHERE id = 'bad-time'")
        made.add("namespace_meta", namespace="shut", standard_id="bad-json", updated_at="2026-01-01T00:00:00Z")
        made.add("sync_state", agent_id="a", peer_id="b", last_seen_at="x", last_pulled_at="y")
        made.connection.execute("CREATE TABLE notes_of_mine (x)")
        made.add("notes_of_mine", x=1)
    async with migrated(tmp_path / "x.db", path) as (store, report):
        found = await records(store)
        assert await store.check() == []
    memories = {key: record.body for (kind, key), record in found.items() if kind == MEMORY}
    assert set(memories) == {"bad-time", "bad-json", "bad-numbers", "surrogate", "bytes"}
    assert found[MEMORY, "bad-time"].version.time == parse_timestamp("2026-01-02T03:04:05Z")
    assert memories["bad-time"]["title"] == "\ufffdA"
    assert memories["bad-json"]["metadata"] == {"unreadable": "{broken"}
    assert "expires_at" not in memories["bad-numbers"]
    assert (memories["bad-numbers"]["tier"], memories["bad-numbers"]["confidence"]) == ("mid", 1.0)
    assert memories["bytes"]["content"] == "caf\ufffd"
    assert found[POLICY, "shut"].body == {"namespace": "shut", "unreadable": "{broken"}
    repaired = {note.what.partition(":")[0] for note in report.repaired}
    assert repaired == {*memories, "shut"}
    assert {note.kind for note in report.not_taken} == {"memories", "sync_state", "notes_of_mine"}
    assert report.failed == 1  # the row without an id; the two tables are left on purpose
    assert report.kinds["memories"].not_taken == 1


async def test_touches_come_with_the_memory_and_can_promote_it(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with OldDatabase(path) as made:
        made.memory("used", tier="mid", access_count=7, last_accessed_at="2026-06-01T00:00:00+00:00")
    async with migrated(tmp_path / "x.db", path) as (store, _):
        (found,) = await store.memories(["used"])
    assert found is not None
    assert (found.use.accesses, found.use.last) == (7, parse_timestamp("2026-06-01T00:00:00Z"))
    assert found.record.body["tier"] == "long"  # five recalls make a mid memory long, here as there


def test_a_node_serves_what_was_migrated(tmp_path: Path) -> None:
    from aimem.cli.main import main

    target = tmp_path / "x.db"
    assert main(["migrate", "--from", str(REAL), "--to", str(target)]) == 0
    assert main(["--db", str(target), "get", "9fe6f263-e0f5-404a-ad4d-8f4e53ef9aa2"]) == 0
    assert sorted(os.listdir(tmp_path)) == ["x.db", "x.db.lock"]
