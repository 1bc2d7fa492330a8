"""Live, read-only, damaged and foreign sources, targets that can't be had, and kills."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aimem.cli.main import main
from aimem.errors import Busy
from aimem.store.migrate import copying
from aimem.store.sqlite.opening import lock
from tests.store.old_database import NOW, REAL, OldDatabase, digest_of, migrated
from tests.waiting import PATIENCE_SECS

_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
print("ready", flush=True)
for number in range(1_000_000):
    connection.execute("INSERT INTO entity_aliases VALUES (?, ?, '2026-01-01T00:00:00Z')", (f"{number:09d}", "x" * 500))
    connection.execute("UPDATE memories SET priority = 1 + priority % 9")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
"""

_IDLE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for line in sys.stdin:
    connection.execute("UPDATE memories SET priority = 1 + priority % 9 WHERE rowid < 50 OR rowid > 1950")
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    connection.execute("UPDATE memories SET priority = (SELECT priority FROM memories WHERE rowid = 1)")
    print("done", flush=True)
"""
_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
input()
"""


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file of a folder, with its content and time of change."""
    return {
        each.name: (hashlib.sha256(each.read_bytes()).hexdigest(), each.stat().st_mtime_ns) for each in folder.iterdir()
    }


def run(*args: object) -> int:
    return main(["migrate", *map(str, args)])


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A database of two thousand memories."""
    path = tmp_path / "old" / "many.db"
    path.parent.mkdir()
    with OldDatabase(path) as made:
        made.connection.execute("BEGIN")
        for number in range(2_000):
            made.memory(
                f"{random.Random(number).getrandbits(64):016x}", content=f"{number} " * 100, embedding=b"1234" * 20
            )
        made.connection.execute("COMMIT")
    return path


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that can't be written."""
    place = tmp_path / "read-only"
    place.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True).returncode == 0
    )
    if not mounted and os.geteuid() == 0:
        pytest.skip("root ignores permissions, and no file system could be mounted")
    yield place
    if mounted:
        subprocess.run(["umount", place], check=True)
    else:
        place.chmod(0o700)


def test_rows_still_in_the_log_are_taken_and_nothing_appears(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    with OldDatabase(folder / "old.db") as made:
        made.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made.memory("in the log")
        shutil.copytree(folder, tmp_path / "crashed")  # what a killed program leaves: file and log
    os.unlink(tmp_path / "crashed" / "old.db-shm")
    before = state_of(tmp_path / "crashed")
    assert run("--from", tmp_path / "crashed" / "old.db", "--to", tmp_path / "x.db") == 0
    assert main(["--db", str(tmp_path / "x.db"), "get", "in the log"]) == 0
    assert state_of(tmp_path / "crashed") == before


def test_a_read_only_folder(tmp_path: Path, read_only: Path) -> None:
    shutil.copy(REAL, read_only / "old.db")
    if subprocess.run(["mount", "-o", "remount,ro", read_only], capture_output=True).returncode:
        read_only.chmod(0o500)
    before = state_of(read_only)
    assert run("--from", read_only / "old.db", "--to", tmp_path / "x.db") == 0
    assert state_of(read_only) == before


def test_beside_a_live_writer(tmp_path: Path, many: Path) -> None:
    """Whatever the instant, the copy is one committed state: all rows of one update, and no page of another."""
    with subprocess.Popen([sys.executable, "-c", _WRITER, many], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            names = {each.name for each in many.parent.iterdir()}
            for number in range(6):
                copy = copying.copy_aside(many, _folder(tmp_path / f"copy{number}"))
                connection = sqlite3.connect(copy)
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("SELECT count(DISTINCT priority) FROM memories").fetchall() == [(1,)]
                connection.close()
            assert run("--from", many, "--to", tmp_path / "x.db") == 0
            assert writer.poll() is None
            assert {each.name for each in many.parent.iterdir()} - names <= {"many.db-wal", "many.db-shm"}
        finally:
            writer.kill()


@pytest.mark.parametrize("moment", ["", "-wal"])
def test_a_checkpoint_in_the_middle_of_the_copy(
    tmp_path: Path, many: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Between file and log, and after both: the writer goes on and moves its log into the file, if it is let."""
    copyfile = shutil.copyfile
    with subprocess.Popen([sys.executable, "-c", _IDLE, many], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
        try:
            assert idle.stdin is not None
            assert idle.stdout is not None

            def step() -> None:
                idle.stdin.write(b"\n")  # type: ignore[union-attr]
                idle.stdin.flush()  # type: ignore[union-attr]
                assert idle.stdout.readline() == b"done\n"  # type: ignore[union-attr]

            def copy_and_step(source: str, target: str) -> None:
                copyfile(source, target)
                if source == f"{many}{moment}":
                    step()

            step()
            monkeypatch.setattr(shutil, "copyfile", copy_and_step)
            connection = sqlite3.connect(copying.copy_aside(many, _folder(tmp_path / "copy")))
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("SELECT count(DISTINCT priority) FROM memories").fetchall() == [(1,)]
            connection.close()
        finally:
            idle.kill()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_source_that_is_locked_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "COPY_LOCK_SECS", 0.05)
    path = tmp_path / "old.db"
    shutil.copy(REAL, path)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(Busy):
                copying.copy_aside(path, _folder(tmp_path / "copy"))
        finally:
            holder.kill()


@pytest.mark.parametrize("part", [0.4, 0.7])
def test_a_source_that_is_cut_off(tmp_path: Path, many: Path, capsys: pytest.CaptureFixture[str], part: float) -> None:
    os.truncate(many, int(many.stat().st_size * part) // 4096 * 4096)
    assert run("--from", many, "--to", tmp_path / "x.db", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    count = report["kinds"]["memories"]
    assert 0 < count["written"] < 2_000
    assert report["failed"] > 0
    assert any("can't be read" in note["what"] for note in report["not_taken"])
    assert run("--from", many, "--to", tmp_path / "x.db") == 1  # and again: nothing is half done


def test_pages_that_were_overwritten(tmp_path: Path, many: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each row is either taken or named."""
    connection = sqlite3.connect(many)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    size = many.stat().st_size
    with open(many, "r+b") as file:
        for at in range(size // 2 // 4096 * 4096, size // 2 + 6 * 4096, 4096):
            file.seek(at)
            file.write(b"\xee" * 4096)
    assert run("--from", many, "--to", tmp_path / "x.db", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    count = report["kinds"]["memories"]
    assert count["read"] == 2_000
    assert 0 < count["not_taken"] < 100
    assert len({note["what"] for note in report["not_taken"] if note["kind"] == "memories"}) == count["not_taken"]
    assert report["not_taken"][0]["kind"] == "file"


@pytest.mark.parametrize(
    ("schema", "named"), [(17, "schema 17 (ai-memory 0.6.3.1)"), (42, "0.7.0"), (9, "schema 9"), (99, "schema 99")]
)
def test_schemas_that_are_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], schema: int, named: str
) -> None:
    """B-37."""
    with OldDatabase(tmp_path / "old.db") as made:
        made.connection.execute("UPDATE schema_version SET version = ?", (schema,))
    assert run("--from", tmp_path / "old.db", "--to", tmp_path / "x.db") == 78
    assert named in capsys.readouterr().err
    assert not (tmp_path / "x.db").exists()


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.db").write_text("this is no database, however long it may be " * 50)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE other (x)").connection.close()
    shutil.copy(REAL, tmp_path / "old.db")
    target = tmp_path / "x.db"
    assert run("--from", tmp_path / "nothing.db", "--to", target) == 3
    assert run("--from", tmp_path / "text.db", "--to", target) == 78
    assert run("--from", tmp_path / "other.db", "--to", target) == 78
    assert run("--from", tmp_path, "--to", target) == 78
    assert run("--from", REAL, "--to", tmp_path / "no folder" / "x.db") == 78
    assert run("--from", REAL, "--to", tmp_path / "old.db") == 78  # the target is the old program's
    assert run("--from", tmp_path / "old.db", "--to", tmp_path / "old.db") == 2
    assert run("--from", REAL) == 2
    assert not target.exists()
    assert hashlib.sha256((tmp_path / "old.db").read_bytes()).digest() == hashlib.sha256(REAL.read_bytes()).digest()
    assert not list(tmp_path.glob("*.migrating"))


def test_a_target_that_is_in_use(tmp_path: Path) -> None:
    handle = lock(tmp_path / "x.db")
    assert run("--from", REAL, "--to", tmp_path / "x.db") == 75
    os.close(handle)
    assert run("--from", REAL, "--to", tmp_path / "x.db") == 0


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--from", REAL, "--to", tmp_path / "x.db", "--dry-run", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dry_run"] is True
    assert report["kinds"]["memories"]["read"] == 197
    assert list(tmp_path.iterdir()) == []


def test_a_migration_that_is_killed_goes_on(tmp_path: Path, many: Path) -> None:
    """HOLE 23: two thousand rows and not the first thousand, killed at random instants, run again until it ends: the
    digest of one that was left in peace."""
    undisturbed = digest_of(tmp_path / "whole.db", many)
    target, dice, kills = tmp_path / "x.db", random.Random(7), 0
    command = [sys.executable, "-m", "aimem", "migrate", "--from", str(many), "--to", str(target), "--json"]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        try:
            out, _ = process.communicate(timeout=dice.uniform(0.05, 0.6) if kills < 8 else PATIENCE_SECS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        if kills:
            break
    assert process.returncode == 0
    assert json.loads(out)["digest"] == undisturbed
    assert json.loads(out)["kinds"]["memories"]["read"] == 2_000
    assert sorted(each.name for each in tmp_path.glob("x.db*")) == ["x.db", "x.db.lock"]


async def test_the_copy_is_private_and_goes(tmp_path: Path) -> None:
    left = tmp_path / "x.db.migrating" / "0"
    left.mkdir(parents=True)
    (left / "old.db").write_text("left by one that was killed")
    async with migrated(tmp_path / "x.db", REAL, now=NOW):
        assert not left.exists()
