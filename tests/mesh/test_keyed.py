"""API keys and a mesh go together: agents and nodes show keys of their own, and what a node missed still comes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mesh.fleet import Fleet
from tests.waiting import eventually

AGENTS, NODES = "of-agents", "of-nodes"
MESSAGES = ("/sync/push", "/sync/since?since=", "/sync/records", "/sync/feed", "/sync/ask", "/sync/elect")


@contextmanager
def keyed(folder: Path, transport: str) -> Iterator[Fleet]:
    """Three nodes, W=2, that want keys of everybody, and have met."""
    fleet = Fleet(folder, 3, transport)
    fleet.shown["X-API-Key"] = AGENTS
    try:
        for name in fleet.names:
            write_keys(fleet, name, f"{AGENTS} # roles=agent", f"{NODES} # roles=peer")
            start(fleet, name)
        fleet.wait_met()
        yield fleet
    finally:
        fleet.close()


def write_keys(fleet: Fleet, name: str, *lines: str) -> None:
    path = fleet.folder / name / "keys"
    path.touch(0o600)
    path.write_text("\n".join(lines) + "\n")


def start(fleet: Fleet, name: str) -> None:
    fleet.start(name, "--quorum-writes", "2", "--api-key-file", str(fleet.folder / name / "keys"))


def lose(fleet: Fleet, name: str) -> None:
    """A node is killed, and its disk is gone: what it holds after that it has read from its peers."""
    fleet.signal(name, signal.SIGKILL)
    for path in (fleet.folder / name).glob("aimem.db*"):
        path.unlink()


def listed(fleet: Fleet, name: str) -> dict[str, str]:
    found = fleet.call(name, "GET", "/memories?namespace=t&limit=1000").body["memories"]
    return {row["title"]: row["content"] for row in found}


@pytest.mark.parametrize("transport", ["plain", "mtls"])
def test_a_mesh_with_keys_acknowledges_and_heals(tmp_path: Path, transport: str) -> None:
    """HOLE 33: there a mesh and keys exclude each other; later without mutual TLS a node that was away gets 401, or an
    empty page, and never what it missed."""
    with keyed(tmp_path, transport) as fleet:
        assert fleet.call("n0", "GET", "/memories", X_API_Key="another").status == 401
        made = [fleet.store("n0", f"before {at}") for at in range(20)]
        assert {(each.status, each.body["quorum_acks"] >= 2) for each in made} == {(201, True)}
        lose(fleet, "n2")
        fleet.call("n1", "PUT", f"/memories/{made[0].body['id']}", {"content": "changed"})
        fleet.call("n1", "DELETE", f"/memories/{made[1].body['id']}")
        assert fleet.store("n0", "meanwhile").status == 201
        start(fleet, "n2")
        fleet.wait_met()
        fleet.wait_same()
        rows = listed(fleet, "n2")
        assert rows == listed(fleet, "n0")
        assert rows["before 0"] == "changed"
        assert "before 1" not in rows
        assert "meanwhile" in rows
        assert fleet.store("n2", "through the new one").body["quorum_acks"] >= 2


def test_messages_between_nodes_are_for_their_key_alone(tmp_path: Path) -> None:
    """HOLE 33, and 26: no key, that of an agent, and one that nobody knows open none of the ways between nodes."""
    with keyed(tmp_path, "plain") as fleet:
        refused = {
            path: [
                fleet.call("n0", "GET" if "?" in path else "POST", path, None if "?" in path else {}, **shown).status
                for shown in ({"X_API_Key": AGENTS}, {"X_API_Key": "another"})
            ]
            for path in MESSAGES
        }
        assert refused == {path: [403, 401] for path in MESSAGES}
        fleet.shown.clear()
        assert fleet.call("n0", "GET", "/sync/since?since=").status == 401
        assert fleet.call("n0", "GET", "/sync/since?since=", X_API_Key=NODES).status == 200
        assert fleet.call("n0", "GET", "/memories", X_API_Key=NODES).status == 403


def test_a_node_whose_key_the_others_do_not_know_says_so_and_takes_no_write(tmp_path: Path) -> None:
    """HOLE 33: what can't heal is never silent. With the right key, and no restart, it goes on."""
    with keyed(tmp_path, "plain") as fleet:
        made = fleet.store("n0", "before")
        assert made.status == 201
        lose(fleet, "n2")
        write_keys(fleet, "n2", f"{AGENTS} # roles=agent", "of-yesterday # roles=peer")
        start(fleet, "n2")

        def told() -> bool:
            peers = fleet.call("n2", "GET", "/status").body["mesh"]["peers"]
            return all(each["state"] != "up" and "API key" in str(each["error"]) for each in peers)

        eventually(told, "n2 does not say that its key is refused")
        got = fleet.store("n2", "into the void")
        assert (got.status, got.body["code"]) == (503, "catching_up")
        assert fleet.store("n0", "the others go on").status == 201
        write_keys(fleet, "n2", f"{AGENTS} # roles=agent", f"{NODES} # roles=peer")
        fleet.signal("n2", signal.SIGHUP)
        fleet.wait_met()
        fleet.wait_same()
        assert listed(fleet, "n2") == listed(fleet, "n0")
