"""The shapes of replies, against what clients of the existing system and of its Python package read."""

from __future__ import annotations

import json
from typing import Any

from aimem.core.automatic import Use, with_expiry
from aimem.core.budget import pack
from aimem.core.kinds import MEMORY
from aimem.core.memory import clean_create
from aimem.core.record import Record
from aimem.core.version import Version
from aimem.core.wire import (
    bulk_error,
    bulk_reply,
    created_reply,
    list_reply,
    memory_json,
    memory_reply,
    recall_reply,
    scored,
    search_reply,
)
from aimem.errors import Invalid

NOW = 1_790_000_000 * 10**9
BORN = Version(NOW, "a" * 16)
LATER = Version(NOW + 1_500_000_000, "b" * 16)


def memory(*, version: Version = BORN, extra: dict[str, Any] | None = None, **fields: Any) -> Record:
    raw = {"title": "Pump check", "content": "41.2 bar", "agent_id": "ai:mara", **fields}
    body = clean_create(raw, NOW, anonymous="anonymous:x")
    return Record.make(MEMORY, "d98594df", version, BORN, {**body, **(extra or {})})


def test_a_new_memory() -> None:
    assert memory_json(memory(tags=["pump"], metadata={"shift": 4}, scope="team")) == {
        "id": "d98594df",
        "tier": "mid",
        "namespace": "global",
        "title": "Pump check",
        "content": "41.2 bar",
        "tags": ["pump"],
        "priority": 5,
        "confidence": 1.0,
        "source": "api",
        "access_count": 0,
        "created_at": "2026-09-21T14:13:20+00:00",
        "updated_at": "2026-09-21T14:13:20+00:00",
        "expires_at": "2026-09-28T14:13:20+00:00",
        "metadata": {"shift": 4, "scope": "team", "agent_id": "ai:mara"},
        "version": str(BORN),
    }


def test_nothing_is_null() -> None:
    shown = memory_json(memory(tier="long"))
    assert "expires_at" not in shown
    assert "last_accessed_at" not in shown


def test_counters_and_extensions() -> None:
    week = 7 * 86_400 * 10**9
    shown = memory_json(memory(), Use(accesses=3, last=NOW + 1, expires=NOW + week + 10**9))
    assert shown["access_count"] == 3
    assert shown["last_accessed_at"] == "2026-09-21T14:13:20.000000001+00:00"
    assert shown["expires_at"] == "2026-09-28T14:13:21+00:00"
    assert memory_json(memory(), Use(expires=NOW))["expires_at"] == "2026-09-28T14:13:20+00:00"
    assert memory_json(memory(), Use(accesses=2_000_000))["access_count"] == 1_000_000
    extended = memory_json(with_expiry(memory(), NOW + week + 10**9))
    assert extended["expires_at"] == "2026-09-28T14:13:21+00:00"


def test_times_are_those_of_birth_and_version_unless_imported() -> None:
    shown = memory_json(memory(version=LATER))
    assert (shown["created_at"], shown["updated_at"]) == ("2026-09-21T14:13:20+00:00", "2026-09-21T14:13:21.500+00:00")
    shown = memory_json(memory(version=LATER, extra={"created_at": 0, "updated_at": 10**9}))
    assert (shown["created_at"], shown["updated_at"]) == ("1970-01-01T00:00:00+00:00", "1970-01-01T00:00:01+00:00")
    assert shown["version"] == str(LATER)


def test_one_memory_is_wrapped_and_flat() -> None:
    shown = memory_json(memory())
    reply = memory_reply(shown, [])
    assert reply["memory"] == shown
    assert reply["links"] == []
    assert reply["title"] == "Pump check"


def test_created_says_what_stands() -> None:
    assert created_reply(memory()) == {
        "id": "d98594df",
        "tier": "mid",
        "namespace": "global",
        "title": "Pump check",
        "agent_id": "ai:mara",
        "version": str(BORN),
    }
    assert created_reply(memory(), ["x"])["potential_contradictions"] == ["x"]


def test_pages() -> None:
    shown = memory_json(memory())
    assert list_reply([shown]) == {"memories": [shown], "count": 1}
    assert search_reply([shown], "bar") == {"results": [shown], "memories": [shown], "count": 1, "query": "bar"}


def test_recall() -> None:
    shown = scored(memory_json(memory()), 0.83349)
    assert shown["score"] == 0.833
    assert recall_reply([shown], "keyword", pack([12], None), None) == {
        "memories": [shown],
        "count": 1,
        "tokens_used": 12,
        "mode": "keyword",
    }
    reply = recall_reply([shown], "hybrid", pack([12, 30], 20), 20)
    assert (reply["budget_tokens"], reply["tokens_used"]) == (20, 12)
    assert reply["meta"] == {
        "budget_tokens_used": 12,
        "budget_tokens_remaining": 8,
        "memories_dropped": 1,
        "budget_overflow": False,
    }
    assert recall_reply([shown], "hybrid", pack([30], 20), 20)["meta"]["budget_tokens_remaining"] == 0


def test_bulk() -> None:
    error = bulk_error(1, {"title": ""}, Invalid("title is empty").body())
    assert error == {"index": 1, "title": "", "error": "title is empty", "code": "invalid"}
    assert bulk_error(0, [], {"error": "e"})["title"] is None
    assert bulk_error(0, {"title": 5}, {"error": "e"})["title"] is None
    assert bulk_reply(["a", "b"], [error]) == {"created": 2, "ids": ["a", "b"], "errors": [error]}


def test_every_reply_is_json() -> None:
    json.dumps(memory_reply(memory_json(memory()), []), allow_nan=False)
