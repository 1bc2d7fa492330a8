"""Backup and restore as processes, beside a node that takes writes."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aimem.core.digest import Digest
from aimem.store.sqlite import snapshots
from aimem.store.sqlite.table import COLUMNS, row_of
from tests.http.processes import ROOT, call, serving
from tests.store.conftest import Disk


def aimem(*args: object) -> tuple[int, str]:
    """Run a command as cron does: without environment, terminal or input. Exit code and all that it said."""
    line = [sys.executable, "-m", "aimem", *map(str, args)]
    done = subprocess.run(
        line, cwd=ROOT, env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with two memories."""
    path = tmp_path / "a.db"
    for title in ("one", "two"):
        assert aimem("--db", path, "push", "-T", title, "-c", "text")[0] == 0
    return path


@pytest.fixture
def backup(database: Path, tmp_path: Path) -> Path:
    """A backup of it."""
    assert aimem("backup", "--db", database, "--to", tmp_path / "to") == (0, "")
    (made,) = snapshots.snapshots(tmp_path / "to")
    return made


def test_under_write_load_it_is_one_moment_of_the_node_and_serves(tmp_path: Path) -> None:
    database, folder, restored = tmp_path / "a.db", tmp_path / "to", tmp_path / "b.db"
    stop = threading.Event()

    def load(port: int) -> None:
        at = 0
        while not stop.is_set():
            at += 1
            assert call(port, "POST", "/memories", {"title": f"t{at}", "content": "c"}).status == 201

    with serving("--db", str(database)) as (_, port):
        assert call(port, "POST", "/memories", {"title": "first", "content": "c"}).status == 201
        writer = threading.Thread(target=load, args=(port,))
        writer.start()
        try:
            done = aimem("backup", "--db", database, "--to", folder)
        finally:
            stop.set()
            writer.join()
        assert done == (0, "")
    (made,) = snapshots.snapshots(folder)
    manifest = snapshots.read_manifest(made)
    # Nothing was written twice, so the node's state at a head is what has a seq up to it.
    held = sqlite3.connect(database)
    rows = [row_of(values) for values in held.execute(f"SELECT {COLUMNS} FROM record")]
    held.close()
    assert Digest.of(row.record for row in rows if row.seq <= manifest.head).root() == manifest.digest
    assert aimem("restore", folder, "--db", restored) == (0, "")
    with serving("--db", str(restored)) as (_, port):
        assert json.loads(call(port, "GET", "/digest").body)["digest"] == manifest.digest


def test_a_restored_database_is_a_new_incarnation(backup: Path, tmp_path: Path) -> None:
    """B-32."""
    (tmp_path / "b.db-wal").write_bytes(b"of another database")
    assert aimem("restore", backup, "--db", tmp_path / "b.db") == (0, "")
    assert not (tmp_path / "b.db-wal").exists()
    held = sqlite3.connect(tmp_path / "b.db")
    (incarnation,) = held.execute("SELECT incarnation FROM state").fetchone()
    held.close()
    assert incarnation != snapshots.read_manifest(backup).incarnation


def test_only_the_newest_are_kept_and_leftovers_go(database: Path, backup: Path) -> None:
    (backup.parent / f"{snapshots.WORKING}x.db").touch()
    (backup.parent / "aimem-1.manifest.json").touch()
    for _ in range(2):
        assert aimem("backup", "--db", database, "--to", backup.parent, "--keep", 2) == (0, "")
    found = snapshots.snapshots(backup.parent)
    assert (len(found), backup in found) == (2, False)
    assert len(list(backup.parent.iterdir())) == 5  # with the lock file


def test_two_at_once(database: Path, tmp_path: Path) -> None:
    with snapshots.locked(Path(f"{database}.backup.lock"), "held"):
        code, said = aimem("backup", "--db", database, "--to", tmp_path / "to")
    assert code == 75
    assert "another backup" in said


def test_a_truncated_backup_is_refused(backup: Path, tmp_path: Path) -> None:
    backup.write_bytes(backup.read_bytes()[:-4096])
    code, said = aimem("restore", backup, "--db", tmp_path / "b.db")
    assert code == 8
    assert "truncated" in said
    assert not (tmp_path / "b.db").exists()


def test_a_changed_backup_is_refused(backup: Path, tmp_path: Path) -> None:
    raw = bytearray(backup.read_bytes())
    raw[-1] ^= 1
    backup.write_bytes(raw)
    code, said = aimem("restore", backup, "--db", tmp_path / "b.db")
    assert (code, "SHA-256" in said) == (8, True)
    assert not (tmp_path / "b.db").exists()


def test_nothing_is_overwritten(database: Path, backup: Path) -> None:
    before = database.read_bytes()
    code, said = aimem("restore", backup, "--db", database)
    assert (code, "mv " in said, database.read_bytes() == before) == (78, True, True)
    with serving("--db", str(database)):
        assert aimem("restore", backup, "--db", database)[0] == 75


def test_what_a_killed_backup_leaves_is_cleaned_by_the_next(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "to"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from aimem.store.sqlite import backup, snapshots\n"
        "snapshots.check_integrity = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]), 3)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, database, folder], cwd=ROOT)
    assert killed.returncode == -9
    assert snapshots.snapshots(folder) == []
    assert list(folder.glob(f"{snapshots.WORKING}*"))
    assert aimem("backup", "--db", database, "--to", folder) == (0, "")
    assert len(snapshots.snapshots(folder)) == 1
    assert not list(folder.glob(f"{snapshots.WORKING}*"))


def test_a_full_disk_leaves_nothing_half_done_and_room_heals(database: Path, small_disk: Disk) -> None:
    small_disk.resize("64k")
    code, said = aimem("backup", "--db", database, "--to", small_disk.path)
    assert (code, "no room" in said) == (75, True)
    assert [path.name for path in small_disk.path.iterdir()] == [".aimem-backup.lock"]
    small_disk.resize("6m")
    assert aimem("backup", "--db", database, "--to", small_disk.path) == (0, "")
    assert len(snapshots.snapshots(small_disk.path)) == 1


def test_a_restore_that_finds_no_room_leaves_no_database_and_room_heals(backup: Path, small_disk: Disk) -> None:
    small_disk.resize("64k")
    restored = small_disk.path / "b.db"
    code, said = aimem("restore", backup, "--db", restored)
    assert (code, "no room" in said) == (75, True)
    assert [path.name for path in small_disk.path.iterdir()] == ["b.db.lock"]
    small_disk.resize("6m")
    assert aimem("restore", backup, "--db", restored) == (0, "")
    assert aimem("--db", restored, "namespaces")[1] == "global\t2\n"


def test_a_database_of_schema_1_opens_and_goes_back_by_its_backup(tmp_path: Path) -> None:
    """Upgrade and rollback as aimem(7) tells them, with a file that an earlier program wrote."""
    database, folder, restored = tmp_path / "a.db", tmp_path / "to", tmp_path / "b.db"
    shutil.copyfile(ROOT / "tests" / "data" / "schema-1.db", database)
    assert aimem("backup", "--db", database, "--to", folder) == (0, "")
    (made,) = snapshots.snapshots(folder)
    assert snapshots.read_manifest(made).schema == 1
    with serving("--db", str(database)) as (_, port):
        assert call(port, "POST", "/memories", {"title": "after", "content": "c"}).status == 201
    assert aimem("restore", made, "--db", restored) == (0, "")
    with serving("--db", str(restored)) as (_, port):
        found = json.loads(call(port, "GET", "/memories").body)["memories"]
        assert sorted(memory["title"] for memory in found) == ["one", "two"]
        assert json.loads(call(port, "GET", "/digest").body)["digest"] == snapshots.read_manifest(made).digest
