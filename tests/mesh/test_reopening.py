"""An action whose electors are gone for good, on real nodes: it hangs, is reopened, and is decided once."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from aimem.cli.main import main
from tests.mesh.fleet import Fleet, running
from tests.waiting import eventually

ROW = {"title": "pay", "content": "to the harbour", "namespace": "gov"}


def incarnation(fleet: Fleet, name: str) -> str:
    return str(fleet.call(name, "GET", "/status").body["incarnation"])


def command(fleet: Fleet, *words: str) -> int:
    config = fleet.folder / "n0" / "aimem.toml"
    return main(["pending", *words, "--config", str(config), "--to", fleet.urls[0], "--agent-id", "boss"])


def replace(fleet: Fleet, name: str, aside: Path, back: Path | None = None) -> None:
    """Put a node's database aside, and start the node on an empty one, or on what was put aside before."""
    fleet.signal(name, signal.SIGKILL)
    for source, target in ((fleet.folder / name, aside), (back, fleet.folder / name)):
        for path in source.glob("aimem.db*") if source is not None else ():
            target.mkdir(exist_ok=True)
            path.rename(target / path.name)
    fleet.start(name, "--quorum-writes", "2")


def rows(fleet: Fleet, name: str) -> list[str]:
    found = fleet.call(name, "GET", "/memories?namespace=gov&limit=100").body["memories"]
    return [each["id"] for each in found if each["title"] == "pay"]


def test_electors_that_are_gone_for_good_hold_up_nothing_and_bring_nothing_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, 3) as fleet:
        policy = {"namespace": "gov", "governance": {"write": "approve", "approver": {"consensus": 1}}}
        assert fleet.call("n0", "POST", "/namespaces", policy, X_Agent_Id="boss").status < 300
        for agent in ("ai:a", "ai:b"):
            body = {"agent_id": agent, "agent_type": "ai:generic"}
            assert fleet.call("n0", "POST", "/agents", body, X_Agent_Id=agent).status < 300
        parked = fleet.call("n0", "POST", "/memories", ROW, X_Agent_Id="ai:asker")
        assert parked.status == 202
        pending = str(parked.body["pending_id"])
        fleet.wait_same()
        electors = fleet.call("n0", "GET", f"/pending/{pending}").body["electors"]
        lost = [incarnation(fleet, name) for name in ("n1", "n2")]
        assert sorted(electors) == sorted([incarnation(fleet, "n0"), *lost])

        for name in ("n1", "n2"):
            replace(fleet, name, tmp_path / f"gone-{name}")
        fleet.wait_met()
        fleet.wait_same()
        told = fleet.call("n0", "POST", f"/pending/{pending}/approve", None, X_Agent_Id="ai:a")
        assert (told.status, sorted(told.body["electors"])) == (202, sorted(electors))
        shown = fleet.call("n0", "GET", f"/pending/{pending}").body
        assert (shown["waits_for"], sorted(shown["silent"])) == ("a majority of its electors", sorted(lost))
        assert fleet.call("n0", "GET", "/status").body["pending"] == {"waiting": 1, "without_majority": 1}

        assert command(fleet, "reopen", pending) == 75
        refused = capsys.readouterr().err
        assert all(each in refused for each in lost)
        assert command(fleet, "reopen", pending, *[word for each in lost for word in ("--lost", each)], "--json") == 0
        said = capsys.readouterr()
        reply: dict[str, Any] = json.loads(said.out)
        again = str(reply["pending_id"])
        assert (reply["outcome"], reply["lost"], reply["schema"]) == ("reopened", lost, 1)
        assert reply["quorum_acks"] >= 2
        assert "not ruled out: that the lost electors" in said.err

        done = fleet.call("n1", "POST", f"/pending/{again}/approve", None, X_Agent_Id="ai:b")
        assert (done.status, done.body["executed"]) == (200, True)
        fleet.wait_same()

        replace(fleet, "n1", tmp_path / "new-n1", back=tmp_path / "gone-n1")  # it was only put aside
        fleet.wait_met()
        assert incarnation(fleet, "n1") in lost
        fleet.wait_same()
        for name in fleet.names:
            assert rows(fleet, name) == [done.body["memory_id"]]
            assert fleet.call(name, "GET", f"/pending/{pending}").body["status"] == "reopened"
        eventually(lambda: fleet.call("n0", "GET", "/status").body["pending"]["waiting"] == 0, "something still waits")
