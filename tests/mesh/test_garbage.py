"""Bodies that are no messages, to a real node over a real file: 400 with words, never a 500, and it lives on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aimem.errors import Unreachable
from aimem.http.router import Router
from aimem.http.routes import ROUTES
from aimem.mesh.mesh import Mesh
from aimem.mesh.messages import ASK, DIGEST, FEED, FETCH, HEADS, HELD, HELLO, PATHS, POKE, RECORDS
from aimem.mesh.settings import MeshSettings
from aimem.net.message import Peer, Request
from aimem.node.node import Node
from aimem.node.settings import KEYWORD, NodeSettings

FROM = {"node": "n1", "start": "0" * 16, "incarnation": "1" * 16, "clock": 1, "protocol": 1, "peers": []}
STAMP = f"{5:016x}-{'a' * 16}"
RECORD = {"kind": "memory", "key": "k", "version": STAMP, "born": STAMP, "deleted": False, "body": {}}


class Nobody:
    """A transport to peers that are not there."""

    async def post(self, url: str, path: str, body: bytes, *, timeout: float, lane: str) -> bytes:
        raise Unreachable("nobody is there")

    async def exchange(
        self, method: str, url: str, path: str, body: bytes, *, timeout: float, lane: str
    ) -> tuple[int, bytes]:
        raise Unreachable("nobody is there")

    def address(self, url: str) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing is held."""


class Served:
    """A node with one peer, asked as its server would ask it."""

    def __init__(self, path: Path) -> None:
        self.runner = asyncio.Runner()
        self.router = Router(ROUTES)
        mesh = MeshSettings("n0", ("http://127.0.0.1:1",), writes=1)
        self.node = self.runner.run(
            Node.open(
                NodeSettings(db=path / "a.db", tier=KEYWORD),
                make_fleet=lambda store, lane, background: Mesh(store, lane, mesh, Nobody(), time.time_ns, background),
            )
        )

    def send(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        request = Request("POST", path, "", {"content-type": "application/json"}, Peer("::1"), "r")
        request.body = body
        response = self.runner.run(self.router.answer(self.node, request))
        assert isinstance(response.body, bytes)
        return response.status, json.loads(response.body)

    def close(self) -> None:
        self.runner.run(self.node.close())
        self.runner.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("garbage"))
    yield made
    made.close()


def message(fields: Any, **envelope: Any) -> bytes:
    return json.dumps({"from": {**FROM, **envelope}, **fields}).encode()


ENVELOPES: dict[str, dict[str, Any]] = {
    "clock is text": {"clock": "1"},
    "clock is no number": {"clock": None},
    "clock is a fraction": {"clock": 1.5},
    "clock is true": {"clock": True},
    "clock is before all time": {"clock": -1},
    "clock is after all time": {"clock": 1 << 63},
    "clock is endless": {"clock": 10**400},
    "node is empty": {"node": ""},
    "node has a slash": {"node": "a/b"},
    "node is a lone surrogate": {"node": "\ud800"},
    "start is a lone surrogate": {"start": "\ud800"},
    "incarnation has a slash": {"incarnation": "a/b"},
    "incarnation is very long": {"incarnation": "a" * 100_000},
    "peers are no list": {"peers": 7},
    "peers are no names": {"peers": [7]},
    "protocol is from far ahead": {"protocol": 9},
    "protocol is text": {"protocol": "1"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=ENVELOPES)
def test_an_envelope_that_is_none(served: Served, path: str, envelope: dict[str, Any]) -> None:
    """HOLE 6, 29."""
    status, said = served.send(path, message({"records": [], "questions": []}, **envelope))
    assert status == 400
    assert said["error"]


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "no object": b"[]",
    "deep": b'{"from":' * 100_000,
    "no sender": b"{}",
    "not a number": b'{"from": NaN}',
    "a very long number": b'{"from": {"clock": ' + b"9" * 10_000 + b"}}",
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_message(served: Served, path: str, body: bytes) -> None:
    """HOLE 6."""
    status, said = served.send(path, body)
    assert status == 400
    assert said["error"]


FIELDS: list[tuple[str, Any]] = [
    (ASK, {}),
    (ASK, {"questions": 7}),
    (ASK, {"questions": [7]}),
    (ASK, {"questions": [["memory", "k", 7]]}),
    (ASK, {"questions": [["memory", "k", "version"]]}),
    (ASK, {"questions": [["memory", "\ud800", None]]}),
    (ASK, {"questions": [[["n", "t"], {"k": None}]]}),
    (ASK, {"questions": [[["n", "\ud800"], {}]]}),
    (ASK, {"questions": [["memory", "k", None]] * 501}),
    (RECORDS, {"records": {}}),
    (RECORDS, {"records": [RECORD] * 501}),
    (FEED, {"cursor": 7}),
    (FEED, {"cursor": "a.b"}),
    (FEED, {"cursor": "a.b.-1"}),
    (FETCH, {"refs": [["memory"]]}),
    (FETCH, {"refs": [["memory", 7]]}),
    (FETCH, {"refs": [["memory", "\ud800"]]}),
    (FETCH, {"refs": [["quarantine", "k"]]}),
    (HELD, {"refs": [["memory", "\ud800"]]}),
    (HELD, {"refs": None}),
    (HEADS, {"buckets": 7}),
    (HEADS, {"buckets": [256]}),
    (HEADS, {"buckets": [-1]}),
    (HEADS, {"buckets": ["1"]}),
    (HEADS, {"buckets": [10**30]}),
    (HEADS, {"buckets": [True]}),
]


@pytest.mark.parametrize(("path", "fields"), FIELDS)
def test_fields_that_are_none(served: Served, path: str, fields: Any) -> None:
    status, said = served.send(path, message(fields))
    assert status == 400, said
    assert said["error"]


BAD: dict[str, dict[str, Any]] = {
    "surrogate in its key": {"key": "\ud800"},
    "surrogate in its kind": {"kind": "\ud800"},
    "surrogate in its body": {"body": {"title": "\ud800"}},
    "surrogate in a name": {"\ud800": 1},
    "version of no form": {"version": 7},
    "version before all time": {"version": f"-{5:015x}-{'a' * 16}"},
    "version after all time": {"version": f"{'f' * 16}-{'a' * 16}", "kind": "agent"},
    "own kind": {"kind": "quarantine"},
    "touch of no memory": {"kind": "touch", "body": {"count": 1 << 70, "last": 1, "rank": 0, "expires": 0}},
    "created after all time": {
        "body": {
            "namespace": "n",
            "title": "t",
            "content": "c",
            "tier": "mid",
            "tags": [],
            "priority": 5,
            "metadata": {},
            "created_at": 1 << 70,
            "expires_at": "soon",
        }
    },
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_record_that_is_none_is_refused_by_itself(served: Served, bad: dict[str, Any]) -> None:
    good = {**RECORD, "kind": "agent", "key": "ai:x"}
    status, said = served.send(RECORDS, message({"records": [{**RECORD, **bad}, good]}))
    assert status == 200, said
    first, last = said["results"]
    assert first[0] == "refused"
    assert last == "applied" or last[0] == "superseded"


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([STAMP, "memory", "link", 1 << 64]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = ("questions", "records", "cursor", "refs", "buckets")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PATHS),
    fields=st.dictionaries(st.sampled_from(NAMES), ANY, max_size=3),
    envelope=st.dictionaries(st.sampled_from(sorted(FROM)), ANY, max_size=2),
    record=st.dictionaries(st.sampled_from(sorted(RECORD)), ANY, max_size=3),
)
def test_whatever_comes_is_answered(
    served: Served, path: str, fields: dict[str, Any], envelope: dict[str, Any], record: dict[str, Any]
) -> None:
    for sent in ({**fields}, {"records": [{**RECORD, **record}]}):
        status, _ = served.send(path, message(sent, **envelope))
        assert status in (200, 400, 403)
    status, _ = served.send(HELLO, message({}))
    assert status == 200


def test_the_node_lives_on(served: Served) -> None:
    for path in (HELLO, POKE, DIGEST):
        assert served.send(path, message({}))[0] == 200
    assert served.runner.run(served.node.check()) == []
