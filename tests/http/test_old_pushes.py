"""Requests that a node of the existing system was seen to send to its peer, replayed over a real socket, byte for byte
where it matters: raw UTF-8 in an Idempotency-Key, and one key for different changes of one memory."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aimem.core.legacy.message import LISTS, NOOP, SKIPPED
from aimem.core.timestamp import format_timestamp

from .processes import call, serving

RECORDED = [
    json.loads(line) for line in (Path(__file__).parent.parent / "data" / "v063-push.jsonl").read_text().splitlines()
]
_FLAGS = ("--collect-grace-secs", "1000000000")  # what has expired since the recording is still held


def _replay(port: int, exchange: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, str | bytes] = {"Content-Type": "application/json"}
    if (key := exchange["headers"].get("idempotency-key")) is not None:
        headers["Idempotency-Key"] = key.encode("latin-1")
    body = None if exchange["body"] is None else json.dumps(exchange["body"], ensure_ascii=False).encode()
    reply = call(port, exchange["method"], exchange["path"].removeprefix("/api/v1"), body, headers)
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json()
    return found


def _expected() -> tuple[set[str], set[str]]:
    """The ids of what is live and of what is archived after all that was recorded."""
    live, archived = set[str](), set[str]()
    now = format_timestamp(time.time_ns())
    for exchange in RECORDED:
        push = exchange["body"] or {}
        rows = push.get("memories", [])
        live |= {row["id"] for row in rows if row.get("expires_at", "9999") > now}  # a recording ages
        gone, away, back = (set(push.get(name, [])) for name in ("deletions", "archives", "restores"))
        live = (live - gone - away) | back
        archived = (archived | away) - back
    return live, archived


def test_all_that_was_recorded_is_taken_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    keys = Counter(exchange["headers"].get("idempotency-key") for exchange in RECORDED)
    assert any(count > 1 for count in keys.values())  # what a key alone would have made a repeat
    assert any("â" in key for key in keys if key)
    live, archived = _expected()
    with serving("--db", str(tmp_path / "a.db"), *_FLAGS) as (_, port):
        for exchange in RECORDED:
            reply = _replay(port, exchange)
            if exchange["method"] == "POST":
                sent = {name: len(exchange["body"].get(name, [])) for name in LISTS}
                assert reply[SKIPPED] == 0
                assert sum(value for value in reply.values() if type(value) is int) == sum(sent.values())
        digest = call(port, "GET", "/digest").json()["digest"]
        rows = call(port, "GET", "/memories?limit=1000").json()["memories"]
        assert {row["id"] for row in rows} == live
        assert {row["id"] for row in call(port, "GET", "/archive?limit=1000").json()["archived"]} == archived
        for exchange in RECORDED:
            if not (exchange["body"] or {}).get("restores"):
                _replay(port, exchange)
        assert call(port, "GET", "/digest").json()["digest"] == digest


def test_a_row_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    rows = {row["id"]: row for exchange in RECORDED for row in (exchange["body"] or {}).get("memories", [])}
    with serving("--db", str(tmp_path / "a.db"), *_FLAGS) as (_, port):
        body = json.dumps({"sender_agent_id": "host:x", "memories": list(rows.values())}, ensure_ascii=False)
        call(port, "POST", "/sync/push", body.encode(), {"Content-Type": "application/json"})
        shown = call(port, "GET", "/sync/since?limit=1000").json()["memories"]
        for row in shown:
            sent = rows.pop(row["id"])
            for name in ("title", "content", "tags", "tier", "namespace", "priority", "confidence", "metadata"):
                assert row[name] == sent[name]
            assert row["updated_at"][:26] == sent["updated_at"][:26]


def test_what_is_no_push_is_refused_as_there(tmp_path: Path) -> None:
    row = {"id": "x", "tier": "mid"}
    with serving("--db", str(tmp_path / "a.db")) as (_, port):
        for status, body in (
            (422, {"memories": []}),
            (422, {"sender_agent_id": "host:x"}),
            (422, {"sender_agent_id": "host:x", "memories": [row]}),
            (422, {"sender_agent_id": "host:x", "memories": [], "deletions": [1]}),
            (400, {"sender_agent_id": "a b", "memories": []}),
            (400, {"sender_agent_id": "host:x", "memories": [], "deletions": ["x"] * 1_001}),
        ):
            assert call(port, "POST", "/sync/push", body).status == status, body
        assert call(port, "GET", "/sync/since?since=yesterday").status == 400
        many = {"sender_agent_id": "host:x", "memories": [], "deletions": ["none"], "dry_run": True}
        assert call(port, "POST", "/sync/push", many).json()[NOOP] == 1
