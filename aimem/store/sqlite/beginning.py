"""From a file to a connection that writes: made or migrated, its state read, and a new opening of the store begun."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aimem.core.digest import Digest
from aimem.errors import Damaged
from aimem.store.sqlite import opening, schema
from aimem.store.sqlite.faults import meaning
from aimem.store.state import State, pack, unpack

log = logging.getLogger(__name__)

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 0",  # the writer does it, and hears of what goes wrong
    "cache_size = -65536",
    "busy_timeout = 100",  # ms; only a checkpoint can meet somebody: writers must not stand behind a long reader
)


class Opened(NamedTuple):
    """An open file: what it holds beside its records, the id of this opening, and how many memories are visible."""

    connection: sqlite3.Connection
    state: State
    start: str
    visible: int


class Opening:
    """The steps from a path to a connection that writes. The caller has the lock."""

    def __init__(self, path: Path, now: Callable[[], int], rand: Callable[[], str], allow_network_fs: bool) -> None:
        self.path = path.absolute()
        self.now = now
        self.rand = rand
        self.allow_network_fs = allow_network_fs

    def run(self) -> Opened:
        """Open the file, making it where there is none. Raises as `open_sqlite`."""
        version = opening.inspect(self.path, allow_network_fs=self.allow_network_fs)
        try:
            connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            try:
                return self._prepare(connection, version)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise meaning(error, self.path) from error

    def _prepare(self, connection: sqlite3.Connection, version: int | None) -> Opened:
        if version is None:
            schema.claim(connection)  # before there is a log: a start that is cut off here leaves a file that is ours
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        start = self.rand()
        connection.execute("BEGIN IMMEDIATE")
        try:
            (held,) = connection.execute("PRAGMA user_version").fetchone()  # the header may lag behind the log
            if held == 0:
                self._create(connection)
            elif held > schema.SCHEMA_VERSION:
                raise opening.newer(self.path, held)
            elif held < schema.SCHEMA_VERSION:
                schema.migrate(connection, held)
            state = self._load(connection)
            connection.execute(
                "INSERT INTO start (id, first_seq, opened) VALUES (?, ?, ?)", (start, state.head + 1, self.now())
            )
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if version is None and self.path.stat().st_size == 0:
                self.path.unlink()
            raise
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        (visible,) = connection.execute("SELECT count(*) FROM record WHERE visible = 1").fetchone()
        return Opened(connection, state, start, visible)

    def _create(self, connection: sqlite3.Connection) -> None:
        schema.create(connection)
        connection.execute(
            "INSERT INTO state VALUES (1, ?, ?, 0, 0, 0, ?)", (self.rand(), opening.identity(self.path), pack(Digest()))
        )

    def _load(self, connection: sqlite3.Connection) -> State:
        """The committed state; under a new incarnation when this is no longer the file that wrote it."""
        row = connection.execute("SELECT incarnation, identity, head, clock, floor, digest FROM state").fetchone()
        if row is None:
            raise Damaged(f"{self.path} has lost its state", hint="restore the last backup")
        incarnation, identity, head, clock, floor, digest = row
        here = opening.identity(self.path)
        if here != identity:
            log.warning("%s was copied or restored: it goes on under a new incarnation", self.path)
            incarnation = self.rand()
            connection.execute("UPDATE state SET incarnation = ?, identity = ?", (incarnation, here))
        return State(incarnation, head, clock, floor, unpack(digest))
