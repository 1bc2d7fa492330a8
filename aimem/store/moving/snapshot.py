"""One of our SQLite files as a source, read from a copy: a node may be writing it, and it stays as it is."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from aimem.core.feed import Cursor, resolve
from aimem.core.record import Record, Ref
from aimem.errors import Damaged
from aimem.limits import MIGRATE_BATCH_BYTES, MIGRATE_BATCH_RECORDS
from aimem.store.migrate.copying import copy_aside
from aimem.store.moving.source import Page
from aimem.store.sqlite import feed, opening, reading, schema
from aimem.store.sqlite.faults import meaning
from aimem.store.state import unpack


def is_ours(path: Path) -> bool:
    """Whether a file says that it is a database of this program."""
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return len(header) == 72 and int.from_bytes(header[68:], "big") == schema.APPLICATION_ID


class Snapshot:
    """A `Source`. See the module."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.name = str(path)
        self._path = path
        self._connection = connection
        row = connection.execute("SELECT incarnation, head, floor, clock, digest FROM state").fetchone()
        if row is None:
            raise Damaged(f"{path} has lost its state", hint="restore its last backup, and migrate that")
        self.incarnation: str = row[0]
        self.head: int = row[1]
        self.floor: int = row[2]
        self.clock: int = row[3]
        self.digest = unpack(row[4]).root()
        self._starts = connection.execute("SELECT id, first_seq FROM start ORDER BY first_seq, opened").fetchall()

    async def resolve(self, cursor: Cursor) -> int:
        if cursor.incarnation != self.incarnation:
            return 0
        return resolve(cursor, starts=self._starts, head=self.head)

    async def page(self, after: int) -> Page:
        with self._faults_told():
            found, seq, more = feed.changes(self._connection, after, MIGRATE_BATCH_RECORDS, MIGRATE_BATCH_BYTES, None)
        last = self._starts[-1][0] if self._starts else "none"
        return Page([record for _, record in found], Cursor(self.incarnation, last, seq), more)

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        with self._faults_told():
            return reading.find(self._connection, refs)

    async def positions(self, prefix: str) -> dict[str, int]:
        with self._faults_told():
            named = "SELECT name, position FROM progress WHERE substr(name, 1, ?) = ?"
            return dict(self._connection.execute(named, (len(prefix), prefix)).fetchall())

    def close(self) -> None:
        """Close the copy."""
        self._connection.close()

    @contextlib.contextmanager
    def _faults_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise meaning(error, self._path) from error


def open_snapshot(path: Path, folder: Path) -> Snapshot:
    """A source, read from a copy in `folder`, which must be private. An older schema is brought up to date there.

    Raises:
        Misconfigured: newer than this program. Damaged: it can't be read. NotFound, Busy: see `copying`.
    """
    copy = copy_aside(path, folder)
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > schema.SCHEMA_VERSION:
            raise opening.newer(path, version)
        if 0 < version < schema.SCHEMA_VERSION:
            connection.execute("BEGIN")
            schema.migrate(connection, version)
            connection.execute("COMMIT")
        return Snapshot(path, connection)
    except sqlite3.Error as error:
        connection.close()
        raise meaning(error, path) from error
    except BaseException:
        connection.close()
        raise
