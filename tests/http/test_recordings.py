"""The recorded traffic of the existing system's node, sent to ours: same statuses, same names, same types.

Fields may be added, none may be missing. What differs on purpose is data with a reason, and stays only while it
differs. Only the exchanges whose routes are served so far are sent.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aimem.net.reply import Reply

from .processes import call, serving

DATA = Path(__file__).parent.parent / "data"
SENT = (*range(42), 50, 51)

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
    ours = shape(reply.json())
    for path, kinds in shape(recorded["reply"]).items():
        if not kinds <= ours.get(path, set()):
            yield path


class Ids:
    """Ids in later requests come from earlier replies: the recording's are replaced by ours, beginnings too."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}

    def learn(self, recorded: Any, ours: dict[str, Any]) -> None:
        if isinstance(recorded, dict) and isinstance(recorded.get("id"), str):
            self._ours[recorded["id"]] = ours["id"]

    def translate(self, path: str) -> str:
        for theirs, ours in self._ours.items():
            path = path.replace(theirs, ours).replace(theirs[:8], ours[:8])
        return path


def send(port: int, request: dict[str, Any], ids: Ids) -> Reply:
    body = request.get("body")
    if isinstance(body, dict) and str(body.get("content", "")).startswith("<65537 times"):
        body["content"] = "x" * 65_537
    path = ids.translate(request["path"]).removeprefix("/api/v1")
    headers = {"Content-Type": "", **request["headers"]}
    return call(port, request["method"], path, body.encode() if isinstance(body, str) else body, headers)


def test_the_recorded_exchanges_have_the_same_statuses_names_and_types(tmp_path: Path) -> None:
    lines = (DATA / "v063-api.jsonl").read_text().splitlines()
    ids, found = Ids(), set()
    with serving("--db", str(tmp_path / "a.db")) as (_, port):
        for number in SENT:
            recorded = json.loads(lines[number])
            reply = send(port, recorded["request"], ids)
            ids.learn(recorded["reply"], reply.json())
            found |= {(number, path) for path in differences(recorded, reply)}
    listed = {
        (number, each["path"])
        for each in json.loads((DATA / "v063-differences.json").read_text())
        for number in each["exchanges"]
        if each["reason"]
    }
    assert found - listed == set(), "differs, and is not listed"
    assert listed - found == set(), "is listed, and does not differ"
