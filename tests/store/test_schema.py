"""A file of an older schema, brought up to date, is what it would be had this program written it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from aimem.core.kinds import MEMORY, SUPERSEDED
from aimem.core.merge import superseded_copy
from aimem.core.record import Record, canonical
from aimem.core.version import parse_version
from aimem.store.sqlite.store import open_sqlite

DATA = Path(__file__).parent.parent / "data"


async def test_copies_of_lost_writes_are_in_the_archive_of_a_migrated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    shutil.copyfile(DATA / "schema-1.db", path)
    connection = sqlite3.connect(path)
    copy = _superseded(connection)
    connection.close()
    store = await open_sqlite(path)
    try:
        assert [record.ref for record in await store.archived(copy.body["namespace"], 10, 0)] == [copy.ref]
        assert await store.archived_before(copy.version.time + 1, 10) == [copy.ref]
        assert await store.archived_before(copy.version.time, 10) == []
    finally:
        await store.close()


def _superseded(connection: sqlite3.Connection) -> Record:
    """Put a copy of a memory's earlier write into a file, as the program of schema 1 did."""
    key, version, born, body = connection.execute(
        "SELECT key, version, born, body FROM record WHERE kind = ? AND deleted = 0", (MEMORY,)
    ).fetchone()
    loser = Record(MEMORY, key, parse_version(version), parse_version(born), body.encode())
    copy = superseded_copy(loser)
    assert copy.kind == SUPERSEDED
    (seq,) = connection.execute("SELECT head + 1 FROM state").fetchone()
    connection.execute(
        "INSERT INTO record (kind, key, seq, version, born, deleted, body, hash, extra, visible)"
        " VALUES (?, ?, ?, ?, ?, 0, ?, ?, '', 0)",
        (copy.kind, copy.key, seq, str(copy.version), str(copy.born), canonical(copy.body).decode(), copy.hash),
    )
    connection.execute("UPDATE state SET head = ?", (seq,))
    connection.commit()
    return copy


async def test_a_store_tells_the_schema_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    shutil.copyfile(DATA / "schema-1.db", path)
    store = await open_sqlite(path)
    try:
        with closing(sqlite3.connect(path)) as connection:
            (on_disk,) = connection.execute("PRAGMA user_version").fetchone()
        assert store.schema == on_disk > 1
    finally:
        await store.close()
