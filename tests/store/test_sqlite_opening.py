"""Opening a SQLite file: what is refused, with which words and exit code, and that a refused file stays as it was."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aimem.errors import AimemError, Damaged, Locked, Misconfigured
from aimem.store.base import Filter
from aimem.store.sqlite import opening, schema
from aimem.store.sqlite.store import SqliteStore, open_sqlite
from tests.store.conftest import Disk, storing

FOREIGN = Path(__file__).parent.parent / "data" / "v063.db"


async def filled(path: Path, count: int = 3) -> None:
    store = await open_sqlite(path)
    await store.write([storing(f"note {number}") for number in range(count)])
    await store.close()


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file of a folder but locks, with its content."""
    return {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in folder.iterdir()
        if not each.name.endswith(".lock")
    }


async def refusal(path: Path, **options: Any) -> AimemError:
    before = fingerprint(path.parent)
    with pytest.raises(AimemError) as caught:
        await open_sqlite(path, **options)
    assert fingerprint(path.parent) == before
    return caught.value


async def test_a_new_file_holds_what_was_written(tmp_path: Path) -> None:
    await filled(tmp_path / "a.db")
    store = await open_sqlite(tmp_path / "a.db")
    assert {m.record.body["title"] for m in await store.select(Filter(time.time_ns()), 10, 0)} == {
        "note 0",
        "note 1",
        "note 2",
    }
    assert await store.check() == []
    await store.close()


async def test_a_database_of_the_old_program_is_refused_with_the_command_that_takes_it(tmp_path: Path) -> None:
    shutil.copy(FOREIGN, tmp_path / "ai-memory.db")
    error = await refusal(tmp_path / "ai-memory.db")
    assert isinstance(error, Misconfigured)
    assert error.exit_code == 78
    assert error.hint == f"aimem migrate --from {tmp_path}/ai-memory.db --to {tmp_path}/aimem.db"


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "x.db")
    other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    error = await refusal(tmp_path / "x.db")
    assert isinstance(error, Misconfigured)
    assert "another program's" in error.message


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("just text, long enough to be read as a header " * 10)
    error = await refusal(tmp_path / "notes.txt")
    assert isinstance(error, Misconfigured)
    assert "not a database" in error.message


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """B-37."""
    await filled(tmp_path / "a.db")
    newer = sqlite3.connect(tmp_path / "a.db")
    newer.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    newer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    newer.close()
    error = await refusal(tmp_path / "a.db")
    assert error.exit_code == 78
    assert f"schema {schema.SCHEMA_VERSION + 1}" in error.message


async def test_an_older_schema_is_migrated_in_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(tmp_path / "a.db")
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    monkeypatch.setattr(opening, "SCHEMA_VERSION", schema.SCHEMA_VERSION)
    steps = {schema.SCHEMA_VERSION - 1: "CREATE TABLE extra (x);\nINSERT INTO extra VALUES (1);\nBROKEN;\n"}
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    with pytest.raises(AimemError):
        await open_sqlite(tmp_path / "a.db")
    look = sqlite3.connect(tmp_path / "a.db")
    assert look.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    assert look.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION - 1,)
    look.close()
    steps[schema.SCHEMA_VERSION - 1] = "CREATE TABLE extra (x);\nINSERT INTO extra VALUES (1);\n"
    store = await open_sqlite(tmp_path / "a.db")
    assert store.visible == 3
    await store.close()
    look = sqlite3.connect(tmp_path / "a.db")
    assert look.execute("SELECT x FROM extra").fetchall() == [(1,)]
    assert look.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    look.close()


async def test_a_second_process_is_refused_while_one_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = await open_sqlite(path)
    script = (
        "import asyncio, sys\n"
        "from aimem.errors import AimemError\n"
        "from aimem.store.sqlite.store import open_sqlite\n"
        "try: asyncio.run(open_sqlite(sys.argv[1]))\n"
        "except AimemError as error: print(error.message); sys.exit(error.exit_code)\n"
    )
    root = Path(__file__).parent.parent.parent
    other = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, cwd=root)
    assert other.returncode == Locked.exit_code, other.stderr
    assert "in use by another aimem process" in other.stdout
    await store.close()
    again = await open_sqlite(path)
    await again.close()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """B-32."""
    with pytest.raises(Misconfigured, match="does not exist"):
        await open_sqlite(tmp_path / "nowhere" / "a.db")


async def test_a_read_only_file_system_is_refused(small_disk: Disk) -> None:
    await filled(small_disk.path / "a.db")
    small_disk.remount("ro")
    error = await refusal(small_disk.path / "a.db")
    assert isinstance(error, Damaged)
    assert "can't be written" in error.message
    assert error.exit_code == 1


async def test_a_network_file_system_is_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = opening._file_system(tmp_path)
    monkeypatch.setattr(opening, "_NETWORK", frozenset({real}))
    error = await refusal(tmp_path / "a.db")
    assert isinstance(error, Misconfigured)
    assert f"network file system ({real})" in error.message
    store = await open_sqlite(tmp_path / "a.db", allow_network_fs=True)
    await store.close()


async def test_the_file_system_of_a_folder_is_that_of_its_own_mount(small_disk: Disk) -> None:
    assert opening._file_system(small_disk.path) == "tmpfs"


async def test_a_damaged_file_is_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await filled(path, 200)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3_996)
    error = await refusal(path)
    assert isinstance(error, Damaged)
    assert error.hint is not None
    assert "backup" in error.hint


async def test_a_page_overwritten_later_fails_the_reads_that_meet_it_and_is_found_by_the_check(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await filled(path, 2_000)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(10, size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(64))
    try:
        store = await open_sqlite(path)
    except Damaged:
        return
    with pytest.raises(Damaged):
        await store.select(Filter(time.time_ns()), 1_000, 0)
    await store.close()


async def incarnation(path: Path) -> str:
    store: SqliteStore = await open_sqlite(path)
    name = store.incarnation
    await store.close()
    return name


async def test_an_incarnation_lasts_while_the_file_stays_the_file_that_it_was(tmp_path: Path) -> None:
    await filled(tmp_path / "a.db")
    first = await incarnation(tmp_path / "a.db")
    assert await incarnation(tmp_path / "a.db") == first


async def test_a_copy_of_a_file_is_a_new_incarnation(tmp_path: Path) -> None:
    await filled(tmp_path / "a.db")
    first = await incarnation(tmp_path / "a.db")
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    assert await incarnation(tmp_path / "b.db") != first
    assert await incarnation(tmp_path / "a.db") == first


async def test_a_file_put_back_under_its_old_name_is_a_new_incarnation(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await filled(path)
    first = await incarnation(path)
    shutil.copy(path, tmp_path / "backup")
    path.unlink()
    shutil.copy(tmp_path / "backup", path)
    assert await incarnation(path) != first
