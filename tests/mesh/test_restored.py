"""A backup of a node that serves, put back into the mesh that went on meanwhile."""

from __future__ import annotations

import signal
from pathlib import Path

from aimem.cli.main import main
from tests.mesh.fleet import Fleet, running


def titles(fleet: Fleet, name: str) -> set[str]:
    return {row["title"] for row in fleet.call(name, "GET", "/memories?namespace=t&limit=1000").body["memories"]}


def test_a_restored_node_brings_nothing_back_and_fetches_what_it_missed(tmp_path: Path) -> None:
    with running(tmp_path, 3) as fleet:
        ids = {f"row {at}": fleet.store("n0", f"row {at}").body["id"] for at in range(40)}
        fleet.wait_same()
        database, backups = fleet.folder / "n2" / "aimem.db", tmp_path / "backups"
        assert main(["backup", "--config", "", "--db", str(database), "--to", str(backups)]) == 0
        gone = {f"row {at}" for at in range(10)}
        for title in gone:
            assert fleet.call("n2", "DELETE", f"/memories/{ids[title]}").status == 200
        changed = fleet.call("n2", "PUT", f"/memories/{ids['row 10']}", {"content": "after the backup"})
        assert changed.body["quorum_acks"] >= 2
        later = fleet.store("n2", "later")
        assert later.body["quorum_acks"] >= 2

        fleet.signal("n2", signal.SIGKILL)
        for path in database.parent.glob("aimem.db*"):
            path.unlink()
        assert main(["restore", str(backups), "--config", "", "--db", str(database)]) == 0
        fleet.start("n2", "--quorum-writes", "2")
        fleet.wait_met()
        fleet.wait_same()

        expected = ids.keys() - gone | {"later"}
        for name in fleet.names:
            assert titles(fleet, name) == expected
            held = fleet.call(name, "GET", f"/memories/{ids['row 10']}").body["memory"]
            assert held["content"] == "after the backup"
        assert fleet.store("n2", "row 0").status == 201  # a title that was deleted is free, there too
        fleet.wait_same()
        assert all("row 0" in titles(fleet, name) for name in fleet.names)
