"""A whole store goes out as lines and comes back into an empty one, whoever it belonged to, on either sort of store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aimem.http.offline import OfflineCaller, open_offline, open_shared
from aimem.node.settings import KEYWORD, NodeSettings
from aimem.store.postgres.url import read_target

from .conftest import Checked

LINES = "application/x-ndjson"
Opened = Callable[[str], Checked]


@pytest.fixture
def opened(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Opens an empty store for a command: a `file`, or a `server`'s database; or a `node` that callers reach."""
    callers: list[OfflineCaller] = []
    database: Callable[[], str] = request.getfixturevalue("database") if "server" in request.node.name else str

    def make(sort: str) -> Checked:
        path = tmp_path / f"{len(callers)}.db"
        if sort == "server":
            callers.append(open_shared(read_target(database()), fills=True))
        elif sort == "file":
            callers.append(open_offline(path))
        else:
            callers.append(OfflineCaller(NodeSettings(path, tier=KEYWORD)))
        return Checked(callers[-1])

    yield make
    for caller in callers:
        caller.close()


def filled(store: Checked) -> str:
    """Rows of every sort that an export carries, most of them behind rules that others own. The id of one memory."""

    def by(who: str, path: str, **body: Any) -> dict[str, Any]:
        return store.ok("POST", path, body, X_Agent_Id=who)

    for agent in ("ai:bob", "ai:voter"):
        by(agent, "/agents", agent_id=agent, agent_type="ai:worker")
    rules = by("ai:bob", "/memories", title="rules", content="be kind", namespace="org/eu", tier="long")["id"]
    owners = {"write": "owner", "promote": "any", "delete": "owner", "approver": "human"}
    by("ai:bob", "/namespaces", namespace="org/eu", id=rules, governance=owners)
    later = by("ai:bob", "/memories", title="later", content="x", namespace="org/eu", scope="private")["id"]
    gone = by("ai:bob", "/memories", title="archived", content="x", namespace="org/eu")["id"]
    by("ai:bob", "/links", source_id=rules, target_id=later)
    by("ai:bob", f"/memories/{later}/grant", agent_id="ai:eve")
    by("ai:bob", "/archive", ids=[gone])
    by("ai:bob", "/notify", target_agent_id="ai:eve", title="hi", payload="there")
    (message,) = store.ok("GET", "/inbox", X_Agent_Id="ai:eve")["messages"]
    by("ai:eve", f"/inbox/{message['id']}/read")
    by("ai:bob", "/entities", canonical_name="Ada", namespace="people", aliases=["countess"])
    by("ai:bob", "/subscriptions", url="https://hooks.example.org/x", events="*")
    parks = {"write": "approve", "promote": "any", "delete": "any", "approver": {"consensus": 2}}
    by("ai:zed", "/namespaces", namespace="org/us", governance=parks)
    parked = by("ai:bob", "/memories", title="parked", content="x", namespace="org/us")
    by("ai:voter", f"/pending/{parked['pending_id']}/approve")
    return str(later)


def lines_of(store: Checked) -> bytes:
    return store.send("GET", "/export", Accept=LINES).body


def carried(store: Checked) -> dict[str, str]:
    """For each row of an export its digest, without the versions, which are new wherever it comes in."""
    found = {}
    for line in lines_of(store).splitlines():
        row = json.loads(line)
        born = row.pop("born", None)
        ((form, fields),) = row.items()
        own = {name: value for name, value in fields.items() if name not in ("version", "updated_at", "valid_from")}
        name = f"{form} {fields.get('kind', '')} {fields.get('key') or fields.get('id') or fields['target_id']}"
        found[name] = hashlib.sha256(json.dumps([own, born], sort_keys=True).encode()).hexdigest()
    return found


@pytest.mark.parametrize(("source", "target"), [("file", "file"), ("file", "server"), ("server", "server")])
def test_a_whole_store_comes_back_whole(opened: Opened, source: str, target: str) -> None:
    """Red before: whatever stood behind a rule was refused, or parked, as somebody else's."""
    first, second = opened(source), opened(target)
    later = filled(first)
    outcome = second.ok("POST", "/import", lines_of(first), Content_Type=LINES, X_Agent_Id="host:operator")
    assert (outcome["failed"], outcome["errors"], "pending" in outcome) == (0, [], False)
    assert carried(second) == carried(first)
    # what belongs to one birth of a memory fits the one that came in
    entity = {"alias": "countess", "namespace": "people"}
    assert second.ok("GET", "/entities/by_alias", query=entity)["canonical_name"] == "Ada"
    records = [json.loads(line).get("record", {}) for line in lines_of(second).splitlines()]
    (grant,) = [each for each in records if each.get("kind") == "grant"]
    rows = [json.loads(line) for line in lines_of(second).splitlines()]
    (born,) = [row["born"] for row in rows if row.get("memory", {}).get("id") == later]
    assert grant["body"]["memory_born"] == born
    # and the rules that came in are in force from then on
    note = {"title": "mine", "content": "x", "namespace": "org/eu"}
    assert second.refused(403, "POST", "/memories", note, X_Agent_Id="host:operator")["code"] == "denied"
    assert second.ok("POST", "/memories", note, X_Agent_Id="ai:bob")["id"]


@pytest.mark.parametrize("face", ["file", "node"])
def test_rules_bind_whoever_does_not_fill_an_empty_store_of_their_own(opened: Opened, face: str) -> None:
    source, target = opened("file"), opened(face)
    filled(source)
    if face == "file":
        target.ok("POST", "/memories", {"title": "t", "content": "x"})
    outcome = target.ok("POST", "/import", lines_of(source), Content_Type=LINES, X_Agent_Id="ai:mallory")
    assert {each["code"] for each in outcome["errors"]} == {"denied"}


def test_what_means_its_own_store_alone_stays_there(opened: Opened) -> None:
    """Promises of an elector, above all: no other store may answer with them. Nor is what came of a fleet that has
    moved closed to writes."""
    store = opened("file")
    version = f"{10**18:016x}-{'a' * 16}"
    for kind in ("acceptor", "moved", "arrived", "legacy_holds", "quarantine"):
        names = {"kind": kind, "key": "k", "version": version, "born": version}
        line = json.dumps({"record": {**names, "deleted": False, "body": {}}}).encode()
        outcome = store.ok("POST", "/import", line, Content_Type=LINES)
        assert (outcome["records"], outcome["failed"]) == (0, 1), kind
