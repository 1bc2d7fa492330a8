"""The recorded traffic of the existing system's node, sent to ours: same statuses, same names, same types.

Fields may be added, none may be missing. What differs on purpose is data with a reason, and stays only while it
differs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimem.net.reply import Reply
from tests.waiting import eventually

from .processes import call, serving

DATA = Path(__file__).parent.parent / "data"

Shape = dict[str, set[str]]  # the JSON types at each path
_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}


def shape(value: Any) -> Shape:
    found: Shape = defaultdict(set)
    for path, kind in _walk("$", value):
        found[path].add(kind)
    return found


def _walk(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield path, "object"
        for name, inner in value.items():
            yield from _walk(f"{path}.{name}", inner)
    elif isinstance(value, list):
        yield path, "array"
        for inner in value:
            yield from _walk(f"{path}[]", inner)
    else:
        yield path, _TYPES[type(value)]


def differences(recorded: dict[str, Any], reply: Reply) -> Iterator[str]:
    """Where our reply is not what the recording has: `status`, `content_type`, or paths into the JSON."""
    if reply.status != recorded["status"]:
        yield "status"
    if reply.headers.get("content-type") != recorded.get("content_type"):
        yield "content_type"
    if not reply.headers.get("content-type", "").startswith("application/json"):
        return
    ours = shape(reply.json())
    for path, kinds in shape(recorded["reply"]).items():
        if not kinds <= ours.get(path, set()):
            yield path


class Ids:
    """Ids in later requests come from earlier replies: the recording's are replaced by ours, beginnings too."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}

    def learn(self, recorded: Any, ours: Any) -> None:
        """Pair up the ids of two replies, wherever they stand."""
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for name in ("id", "pending_id"):
                if isinstance(recorded.get(name), str) and isinstance(ours.get(name), str):
                    self._ours.setdefault(recorded[name], ours[name])
            for name, inner in recorded.items():
                self.learn(inner, ours.get(name))
        if isinstance(recorded, list) and isinstance(ours, list):
            by_title = {each["title"]: each for each in ours if isinstance(each, dict) and "title" in each}
            for inner in recorded:
                if isinstance(inner, dict) and inner.get("title") in by_title:
                    self.learn(inner, by_title[inner["title"]])

    def translate(self, text: str) -> str:
        for theirs, ours in self._ours.items():
            text = text.replace(theirs, ours).replace(theirs[:8], ours[:8])
        return text


def send(port: int, request: dict[str, Any], ids: Ids) -> Reply:
    body = request.get("body")
    if isinstance(body, dict) and str(body.get("content", "")).startswith("<65537 times"):
        body["content"] = "x" * 65_537
    path = ids.translate(request["path"])
    headers = {"Content-Type": "", **request["headers"]}
    content = (
        body.encode()
        if isinstance(body, str)
        else None
        if body is None
        else json.loads(ids.translate(json.dumps(body)))
    )
    return call(port, request["method"], path.removeprefix("/api/v1"), content, headers)


def until_embedded(port: int) -> None:
    """The existing system embeds before it answers, ours after."""

    def embedded() -> bool:
        health = call(port, "GET", "/health").json()
        return bool(health["embedder_ready"] and not health["embedding_backlog"])

    eventually(embedded)


WAITS = (36, 37, 38, 53)  # recalls and the look for a duplicate
THIRD = "ai:third"


def decided_by_another(port: int, request: dict[str, Any], ids: Ids) -> dict[str, Any]:
    """In the recording the requester votes on her own request, which ours refuses: a third registered agent does."""
    if not request["path"].endswith("/approve") or request["headers"].get("X-Agent-Id") != "ai:mara":
        return request
    agent = {"agent_id": THIRD, "agent_type": "ai:generic"}
    headers = {"Content-Type": "application/json"}
    send(port, {"method": "POST", "path": "/api/v1/agents", "headers": headers, "body": agent}, ids)
    return {**request, "headers": {**request["headers"], "X-Agent-Id": THIRD}}


@pytest.mark.parametrize("shared", [False, True], ids=["file", "shared store"])
def test_the_recorded_exchanges_have_the_same_statuses_names_and_types(
    tmp_path: Path, request: pytest.FixtureRequest, shared: bool
) -> None:
    where = ("--store-url", request.getfixturevalue("database")()) if shared else ("--db", str(tmp_path / "a.db"))
    lines = (DATA / "v063-api.jsonl").read_text().splitlines()
    ids, found = Ids(), set()
    with serving(*where, "--tier", "semantic") as (_, port):
        for number, line in enumerate(lines):
            recorded = json.loads(line)
            if number in WAITS:
                until_embedded(port)
            reply = send(port, decided_by_another(port, recorded["request"], ids), ids)
            if reply.headers.get("content-type", "").startswith("application/json"):
                ids.learn(recorded["reply"], reply.json())
            found |= {(number, path) for path in differences(recorded, reply)}
    entries = json.loads((DATA / "v063-differences.json").read_text())
    listed = {(number, each["path"]) for each in entries for number in each["exchanges"]}
    assert found - listed == set(), "differs, and is not listed"
    assert listed - found == set(), "is listed, and does not differ"
