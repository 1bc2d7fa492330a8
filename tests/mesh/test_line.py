"""Three nodes in a line, of which the ends do not know each other: what one end writes goes on by way of the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.fleet import Fleet
from tests.waiting import eventually

LINE = {"n0": ("n1",), "n1": ("n0", "n2"), "n2": ("n1",)}


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Fleet]:
    """Nodes that catch up when they are poked, and else never: so it is the pokes that carry a change on."""
    fleet = Fleet(tmp_path, 3)
    try:
        for name, others in LINE.items():
            listed = ",".join(f"https://127.0.0.1:{fleet.ports[other]}" for other in others)
            fleet.start(name, "--quorum-peers", listed, "--quorum-writes", "2", "--catchup-interval-secs", "0")
        eventually(lambda: all(met(fleet, name, len(others)) for name, others in LINE.items()), "they do not meet")
        yield fleet
    finally:
        fleet.close()


def met(fleet: Fleet, name: str, others: int) -> bool:
    peers = fleet.call(name, "GET", "/status").body["mesh"]["peers"]
    return len(peers) == others and all(peer["state"] == "up" and peer["caught_up"] for peer in peers)


def test_what_one_end_writes_is_at_the_other_by_pokes_alone(line: Fleet) -> None:
    for writer, reader in (("n0", "n2"), ("n2", "n0")):
        stored = line.store(writer, f"of {writer}")
        assert stored.status == 201
        assert stored.body["quorum_acks"] == 2
        path = f"/memories/{stored.body['id']}"
        eventually(lambda: line.call(reader, "GET", path).status == 200, "the store does not arrive")  # noqa: B023
        changed = line.call(writer, "PUT", path, {"content": "changed"})
        eventually(
            lambda: line.call(reader, "GET", path).body["version"] == changed.body["version"],  # noqa: B023
            "the update does not arrive",
        )
        line.call(writer, "DELETE", path)
        eventually(lambda: line.call(reader, "GET", path).status == 404, "the delete does not arrive")  # noqa: B023
    line.store("n1", "of the middle")
    line.wait_same()


def test_both_ends_write_one_memory_and_all_three_hold_the_same(line: Fleet) -> None:
    """Their lists differ, so order is by clock: one of them wins, everywhere."""
    for _ in range(5):
        for name in ("n0", "n2"):
            assert line.call(name, "POST", "/memories", {"title": "one", "content": f"by {name}"}).status == 201
    line.wait_same()
    (found,) = {tuple(row["content"] for row in line.call(name, "GET", "/memories").body["memories"]) for name in LINE}
    assert len(found) == 1
