"""A file of the existing system, open for reading: is it one that we know, and what rows has it?

Rows come in the order of their key, so those of one id in several databases meet. Where a page is damaged, the rest is
read row by row: first the ids that the key's index still has, else every row number that can be found. What could not
be read is told to `lost`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import methodcaller
from pathlib import Path
from typing import Any

from aimem.core.legacy.values import KNOWN_BY
from aimem.errors import Damaged, Misconfigured
from aimem.limits import MIGRATE_READ_ROWS, SALVAGE_GAP_MAX
from aimem.store.migrate.copying import copy_aside
from aimem.store.migrate.tables import LEFT_OUT, TABLES, Lost, Row, Table
from aimem.store.migrate.whole import Check

SCHEMA = 16
_MADE_BY = {17: "0.6.3.1", 18: "0.6.3.1", 19: "0.6.3.1", 20: "0.6.4", 42: "0.7.0"}
_any_text = methodcaller("decode", "utf-8", "surrogateescape")
_OURS = "memories_fts"  # its word index is made anew; `sqlite_...` are SQLite's own


class FileSource:
    """A `Source`: one opened copy. Its connections close with it; in the `other` one it is checked as a whole."""

    lacks = ()

    def __init__(self, path: Path, connection: sqlite3.Connection, other: sqlite3.Connection) -> None:
        self.name = str(path)
        self.counts: dict[str, int] = {}
        self.rest: dict[str, tuple[int, str]] = {}
        self._connection = connection
        self._look()
        connection.text_factory = str
        self._check = Check(other)

    def faults(self) -> list[str]:
        return self._check.faults()

    def close(self) -> None:
        """Close the copy."""
        self._check.close()
        self._connection.close()

    def rows(self, table: Table, lost: Lost) -> Iterator[Row]:
        """All rows of a table in the order of its key, from a damaged file all that can be read."""
        last: Row | None = None
        try:
            for row in self._select(table, f"ORDER BY {', '.join(table.key)}", ()):
                yield row
                last = row[: len(table.key)]
        except sqlite3.DatabaseError:
            yield from self._salvaged(table, last, lost)

    def _select(self, table: Table, ending: str, values: Sequence[Any]) -> Iterator[Row]:
        columns, given = ", ".join(table.columns), 0
        query = f"SELECT {columns} FROM {table.name} t {table.joined} {ending}"
        try:
            cursor = self._connection.execute(query, values)
            while rows := cursor.fetchmany(MIGRATE_READ_ROWS):
                yield from rows
                given += len(rows)
        except sqlite3.OperationalError as error:
            if hasattr(error, "sqlite_errorcode"):
                raise
            self._connection.text_factory = _any_text  # one is no UTF-8: the rest takes half as long again to read
            yield from islice(self._select(table, ending, values), given, None)

    def _salvaged(self, table: Table, last: Row | None, lost: Lost) -> Iterator[Row]:
        """What can be read after key `last`."""
        self._connection.text_factory = _any_text
        try:
            numbers: Iterable[tuple[int, str]] = self._numbers_by_key(table)
        except sqlite3.DatabaseError:
            numbers = self._numbers_by_search(table, lost)
        for number, name in numbers:
            try:
                found = list(self._select(table, "WHERE t.rowid = ?", (number,)))
            except sqlite3.DatabaseError as error:
                lost(f"{name or f'row {number}'}: can't be read ({error})", 1)
                continue
            for row in found:
                if last is None or _after(row[: len(table.key)], last):
                    yield row

    def _numbers_by_key(self, table: Table) -> list[tuple[int, str]]:
        """Row numbers with their keys, from the key's index alone: it holds both."""
        keys = " || ' ' || ".join(table.key)
        index = f"sqlite_autoindex_{table.name}_1"
        query = f"SELECT t.rowid, {keys} FROM {table.name} t INDEXED BY {index} ORDER BY {', '.join(table.key)}"
        return self._connection.execute(query).fetchall()

    def _numbers_by_search(self, table: Table, lost: Lost) -> Iterator[tuple[int, str]]:
        """Row numbers from the table's tree, stepping over what is damaged in it."""
        number, step, gap = 0, 1, 0
        query = f"SELECT rowid FROM {table.name} NOT INDEXED WHERE rowid >= ? ORDER BY rowid LIMIT 1"
        while gap <= SALVAGE_GAP_MAX:
            try:
                found = self._connection.execute(query, (number,)).fetchone()
            except sqlite3.DatabaseError:
                number, gap, step = number + step, gap + step, step * 2
                continue
            if gap:
                lost(f"rows {number - gap} to {number - 1}: their pages can't be read", 0)
            if found is None:
                return
            yield found[0], ""
            number, step, gap = found[0] + 1, 1, 0
        lost(f"rows from {number - gap} on: their pages can't be read", 0)

    def _look(self) -> None:
        """Count everything."""
        for table in TABLES:
            self.counts[table.name] = self._count(table.name) or 0
        query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        for (name,) in self._connection.execute(query).fetchall():
            if name in self.counts or name.startswith((_OURS, "sqlite_")):
                continue
            reason = LEFT_OUT.get(name, "no table of that program's schema 16")
            if reason and (count := self._count(name)) != 0:
                self.rest[name] = (count or 0, reason)

    def _count(self, table: str) -> int | None:
        """How many rows; None when that can't be read."""
        try:
            quoted = table.replace('"', '""')
            (count,) = self._connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()
        except sqlite3.DatabaseError:
            return None
        return int(count)


def _after(key: Row, last: Row) -> bool:
    return tuple(map(sort_key, key)) > tuple(map(sort_key, last))


def sort_key(value: Any) -> tuple[int, Any]:
    """The order of SQLite for values of any type: nothing, numbers, text, bytes."""
    if value is None:
        return 0, 0
    if isinstance(value, int | float):
        return 1, value
    return (2, value) if isinstance(value, str) else (3, value)


def open_source(path: Path, folder: Path) -> FileSource:
    """A source, read from a copy in `folder`, which must be private.

    Raises:
        Misconfigured: not a database of the existing system, or one of a schema that we do not know.
        NotFound: there is no such file. Damaged: not even its tables can be listed. Busy: see `copying`.
    """
    copy = copy_aside(path, folder)
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.text_factory = _any_text
        _make_readable(connection)
        _check(path, connection)
        other = sqlite3.connect(copy, isolation_level=None, check_same_thread=False)
        _make_readable(other)
        return FileSource(path, connection, other)
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise Misconfigured(
                f"{path} is not an SQLite database, or it is encrypted", hint="decrypt it with the old program first"
            ) from error
        raise Damaged(f"{path} is damaged: {error}", hint="migrate an older copy of it") from error
    except BaseException:
        connection.close()
        raise


def _make_readable(connection: sqlite3.Connection) -> None:
    """Have SQLite read a file that is shorter than its header says: it refuses that but for a repair."""
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        connection.execute("PRAGMA writable_schema = 1")


def _check(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse what is not a database of the existing system in the schema that we know."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables.issuperset(KNOWN_BY):
        raise Misconfigured(
            f"{path} is not a database of ai-memory", hint="give the old program's database with --from"
        )
    row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    version = row[0] if row else None
    if version == SCHEMA:
        return
    maker = f" (ai-memory {_MADE_BY[version]})" if version in _MADE_BY else ""
    older = isinstance(version, int) and version < SCHEMA
    raise Misconfigured(
        f"{path} has schema {version}{maker} of ai-memory; this program takes {SCHEMA} (ai-memory 0.6.3)",
        hint="start ai-memory 0.6.3 on a copy of it once: it brings it up to date" if older else None,
    )
