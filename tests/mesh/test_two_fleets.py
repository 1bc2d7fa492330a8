"""Two fleets that were pointed at one database, and what must not be taken for that: real nodes, a real Postgres."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aimem.limits import STORE_NODE_SECS
from aimem.mesh.neighbours import NODES, Neighbours
from tests.http.processes import failed
from tests.mesh.fleet import ROOT, Fleet, running
from tests.waiting import PATIENCE_SECS, eventually

STRANGE = "and no peer of this node knows them"


@contextmanager
def two_nodes(folder: Path, prefix: str, url: str, *flags: str) -> Iterator[Fleet]:
    """A fleet of two nodes on a store."""
    stores = dict.fromkeys((f"{prefix}0", f"{prefix}1"), url)
    with running(folder / prefix, 2, "plain", stores, *flags, prefix=prefix) as made:
        yield made


def warned(fleet: Fleet, name: str) -> list[str]:
    """What a node warns of."""
    found: list[str] = fleet.call(name, "GET", "/status").body["mesh"]["quorum"]["warnings"]
    return [words for words in found if STRANGE in words]


def log_of(fleet: Fleet, name: str) -> str:
    return (fleet.folder / name / "log").read_text()


def stop(fleet: Fleet, name: str) -> None:
    process = fleet.processes.pop(name)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_SECS)


def test_both_are_told_of_each_other(tmp_path: Path, database: Callable[[], str]) -> None:
    url = database()
    with two_nodes(tmp_path, "a", url) as one:
        with two_nodes(tmp_path, "b", url) as other:
            assert re.search("aimem: a0, a1.* have this store open too", log_of(other, "b1"))  # at its start
            for fleet, name, strangers in ((other, "b0", "a0, a1"), (one, "a0", "b0, b1"), (one, "a1", "b0, b1")):
                eventually(lambda: bool(warned(fleet, name)), f"{name} warns of nobody")  # noqa: B023
                assert warned(fleet, name)[0].startswith(strangers)
                eventually(lambda: STRANGE in log_of(fleet, name), "it is not logged")  # noqa: B023
            command = [sys.executable, "-m", "aimem", "store", "check", "--store-url", url]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_SECS)
            assert [line for line in done.stdout.splitlines() if line.startswith("open on")] == [
                f"open on\t{name}" for name in ("a0", "a1", "b0", "b1")
            ]
            assert one.store("a0", "goes on").status == 201
            stop(other, "b0")
            stop(other, "b1")
        eventually(lambda: not warned(one, "a0"), "it goes on warning")


def test_a_named_fleet_lets_no_other_in_and_its_own_at_any_time(tmp_path: Path, database: Callable[[], str]) -> None:
    """The name is brought by a rolling restart, a node at a time; one that was not restarted yet goes on."""
    url = database()
    with two_nodes(tmp_path, "a", url) as one:
        for name in one.names:
            stop(one, name)
            one.start(name, "--quorum-writes", "2", "--fleet", "eu")
            one.wait_met()
            assert one.store(name, f"by {name}").status == 201
        for flags in ((), ("--check",)):
            code, words = failed("--store-url", url, "--bind", "127.0.0.1:0", "--fleet", "us", *flags)
            assert code == 78
            assert "the store is that of the fleet eu, and this node is of us" in words
            assert "a database of its own" in words
        one.signal("a1", signal.SIGKILL)  # its lease is still there
        one.start("a1", "--quorum-writes", "2")  # and it lost its new setting
        one.wait_met()
        shared = one.call("a1", "GET", "/status").body["shared_store"]
        assert shared["fleet"] == "eu"
        assert [each["hint"] for each in shared["findings"] if each["code"] == "no_fleet"] == [
            "say --fleet eu on every node of it; another fleet needs a database of its own"
        ]
        assert one.store("a1", "still let in").status == 201
        assert not any(warned(one, name) for name in one.names)
    assert failed("--store-url", url, "--fleet", "no name")[0] == 78


class Store:
    """Just enough of a store: the leases of some nodes, one of which another process may hold."""

    def __init__(self, *leases: str, free: bool = True) -> None:
        self._leases, self._free = [f"{NODES}{each}" for each in leases], free

    async def lease(self, name: str, secs: float) -> bool:
        return self._free

    async def leases(self, prefix: str) -> list[str]:
        return self._leases


def peer(node: str | None, *peers: str) -> Any:
    """A link to a peer that was met, or (None) was not."""
    identity = None if node is None else SimpleNamespace(node=node, peers=peers)
    return SimpleNamespace(peer=SimpleNamespace(identity=identity), legacy=SimpleNamespace(active=False))


@pytest.mark.parametrize(
    ("fleet", "leases", "peers", "strangers"),
    [
        (None, ["/n0", "/n1", "/x"], [peer("n1")], ["x"]),
        (None, ["/n0", "/n1", "/n2"], [peer("n1", "n2")], []),  # a peer's peer
        (None, ["/n0", "/n1", "/x"], [peer("n1"), peer(None)], []),  # that may be the one who was not met
        (None, ["/n0", "/x"], [], []),  # nodes without peers
        ("eu", ["eu/n0", "eu/n1", "eu/n2", "/x"], [peer("n1")], ["x"]),  # of one fleet by its name
        (None, ["/n1"], [peer("n1")], []),  # the own lease is not there yet
    ],
)
async def test_who_is_a_stranger(
    monkeypatch: pytest.MonkeyPatch, fleet: str | None, leases: list[str], peers: list[Any], strangers: list[str]
) -> None:
    found = await looking(monkeypatch, Store(*leases), fleet, peers)
    assert found.strangers == []  # as long as it may be the lease of one that was killed
    found._seen = dict.fromkeys(found._seen, -2 * STORE_NODE_SECS)
    await found.look()
    assert found.strangers == strangers
    assert bool(found.warnings()) is bool(strangers)


async def test_two_nodes_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed holds its lease for a while: only one that goes on holding it is another."""
    found = await looking(monkeypatch, Store("/n0", free=False), None, [])
    assert found.warnings() == []
    assert found._refused_since is not None
    found._refused_since -= 3 * STORE_NODE_SECS
    await found.look()
    assert "another process has this store open as the node n0" in found.warnings()[0]


async def looking(monkeypatch: pytest.MonkeyPatch, store: Store, fleet: str | None, peers: list[Any]) -> Neighbours:
    """The neighbours of node n0 after its first look."""
    monkeypatch.setattr("aimem.mesh.neighbours.SearchingStore", Store)
    found = Neighbours(store, "n0", fleet, SimpleNamespace(others=peers), lambda: None)  # type: ignore[arg-type]
    await found.look()
    return found
