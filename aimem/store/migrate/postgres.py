"""A Postgres of the existing system as a source: its tables hold the same rows as its files, under types of their own.

All is read in one snapshot, by a transaction that can't write: one committed state, whatever is written meanwhile. The
keys of a table come through a cursor, sorted as bytes, whatever order the database has for text: so those of one id in
several databases meet. The rows follow a page at a time by their place in the table, which stands for as long as the
snapshot does. So memory is bounded, nothing is clamped, and a row that the server can't read costs no other.

Imports psycopg.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Loader

from aimem.core.legacy import memories
from aimem.core.legacy.values import KNOWN_BY
from aimem.errors import AimemError, Misconfigured
from aimem.limits import MIGRATE_READ_ROWS
from aimem.store.migrate.tables import ARCHIVED, LEFT_OUT, MEMORIES, TABLES, Lost, Row, Table
from aimem.store.postgres.connections import conninfo, refusal
from aimem.store.postgres.failures import told
from aimem.store.postgres.session import UNBOUNDED
from aimem.store.postgres.url import Target

SCHEMA = 15
_SETTINGS = "SELECT set_config('datestyle', 'ISO', false), set_config('extra_float_digits', '1', false)"
_COLUMNS = (
    "SELECT name, a.attname, y.typname, y.oid FROM unnest(%s::text[]) name "
    "JOIN pg_attribute a ON a.attrelid = to_regclass(name) JOIN pg_type y ON y.oid = a.atttypid "
    "WHERE a.attnum > 0 AND NOT a.attisdropped"
)


class _Text(Loader):
    """JSON as the text that the rules read."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


class _Time(Loader):
    """An instant as RFC 3339 has it; what that has no words for (`infinity`, years before Christ) as it is."""

    def load(self, data: Buffer) -> str:
        text = bytes(data).decode()
        return f"{text[:-3].replace(' ', 'T')}Z" if text.endswith("+00") else text


class _Vector(Loader):
    """A vector as their files have it: float32, low byte first."""

    def load(self, data: Buffer) -> bytes:
        values = [float(each) for each in bytes(data)[1:-1].split(b",")]
        return struct.pack(f"<{len(values)}f", *values)


class PostgresSource:
    """A `Source`. See the module."""

    def __init__(self, name: str, connection: psycopg.Connection[Row]) -> None:
        self.name = name
        self.counts: dict[str, int] = {}
        self.rest: dict[str, tuple[int, str]] = {}
        self.lacks = ["times are to the microsecond: of a row that is also in a file of that fleet, both are versions"]
        self._connection = connection
        self._columns: dict[str, set[str]] = {}
        self._look()

    def faults(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def rows(self, table: Table, lost: Lost) -> Iterator[Row]:
        """All rows of a table in the order of its key.

        Raises:
            StoreUnreachable, Misconfigured, Busy, Damaged: it can't be read any further.
        """
        with _faults_told(self.name):
            cursor, order = f"keys_of_{table.name}", ", ".join(f'{key} COLLATE "C"' for key in table.key)
            keys = f"SELECT t.ctid, concat_ws(' ', {', '.join(table.key)}) FROM {table.name} t ORDER BY {order}"
            self._all(f"DECLARE {cursor} NO SCROLL CURSOR FOR {keys}")
            while places := self._all(f"FETCH {MIGRATE_READ_ROWS} FROM {cursor}"):
                yield from self._page(table, places, lost)
            self._all(f"CLOSE {cursor}")

    def _page(self, table: Table, places: Sequence[Row], lost: Lost) -> Iterator[Row]:
        """The rows at these places, each with its key."""
        try:
            found = self._at(table, [place for place, _ in places])
        except psycopg.InternalError:
            found = {}
            for place, key in places:
                try:
                    found |= self._at(table, [place])
                except psycopg.InternalError as error:
                    lost(f"{key}: can't be read ({error.diag.message_primary})", 1)
        for place, _ in places:
            if place in found:
                yield found[place]

    def _at(self, table: Table, places: list[str]) -> dict[str, Row]:
        """The rows at these places, by place. The transaction outlives a failure."""
        known = self._columns[table.name]
        columns = [each if not each.startswith("t.") or each[2:] in known else "NULL" for each in table.columns]
        query = f"SELECT t.ctid, {', '.join(columns)} FROM {table.name} t {table.joined} WHERE t.ctid = ANY(%s::tid[])"
        with self._connection.transaction():
            return {row[0]: row[1:] for row in self._all(query, places)}

    def _all(self, statement: str, *values: Any) -> list[Row]:
        cursor = self._connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def _look(self) -> None:
        """See what there is, and count it."""
        adapters = self._connection.adapters
        for name, loader in (("json", _Text), ("jsonb", _Text), ("timestamptz", _Time), ("timestamp", _Time)):
            adapters.register_loader(name, loader)
        for table, column, of, oid in self._all(_COLUMNS, [*(table.name for table in TABLES), *LEFT_OUT]):
            self._columns.setdefault(table, set()).add(column)
            if of in ("vector", "halfvec"):
                adapters.register_loader(oid, _Vector)
        self._check()
        for table in TABLES:
            self.counts[table.name] = self._count(table.name)
        for name, reason in LEFT_OUT.items():
            if reason and name in self._columns and (count := self._count(name)):
                self.rest[name] = (count, reason)

    def _check(self) -> None:
        """Refuse a schema that is not the one that we know, and say what of it is missing."""
        ((version, encoding),) = self._all(
            "SELECT max(version), current_setting('server_encoding') FROM schema_version"
        )
        if version != SCHEMA:
            raise Misconfigured(
                f"{self.name} has schema {version} of ai-memory; of its Postgres this program takes {SCHEMA} "
                "(ai-memory 0.6.3)"
            )
        if encoding != "UTF8":
            raise Misconfigured(
                f"{self.name} is {encoding}, not UTF8", hint="restore a dump of it in a database with ENCODING 'UTF8'"
            )
        for table in TABLES:
            missing = [each[2:] for each in table.columns if each.startswith("t.")]
            missing = [each for each in missing if each not in self._columns.get(table.name, ())]
            needed = {*memories.COLUMNS} if table in (MEMORIES, ARCHIVED) else {key[2:] for key in table.key}
            if needed.intersection(missing):
                what = ", ".join(f"{table.name}.{each}" for each in missing)
                raise Misconfigured(f"{self.name} is not as ai-memory made it: it has no {what}")
            self.lacks += [f"it has no {table.name}.{each}" for each in missing if each != "embedding"]

    def _count(self, table: str) -> int:
        ((count,),) = self._all(f"SELECT count(*) FROM {table}")
        return int(count)


@contextlib.contextmanager
def _faults_told(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise Misconfigured(
            f"the role may not read {name}: {error.diag.message_primary}",
            hint="as the tables' owner: GRANT SELECT ON ALL TABLES IN SCHEMA public TO <role>",
        ) from error
    except psycopg.Error as error:
        raise told(error, name) from error


def open_source(target: Target) -> PostgresSource | None:
    """The source in a database; None where it holds a store of ours, or nothing of the existing system.

    Raises:
        Misconfigured: nobody can connect this way, or it is of a schema that we do not know.
        StoreUnreachable: the server does not answer.
    """
    try:
        connection: psycopg.Connection[Row] = psycopg.connect(conninfo(target, "any"), autocommit=True)
    except psycopg.Error as error:
        refused: AimemError = refusal(error, target)
        raise refused from error
    source = None
    try:
        with _faults_told(target.shown):
            if _is_theirs(connection):
                connection.execute(UNBOUNDED, (False,))
                connection.execute(_SETTINGS)
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                source = PostgresSource(target.shown, connection)
    finally:
        if source is None:
            connection.close()
    return source


def _is_theirs(connection: psycopg.Connection[Row]) -> bool:
    found = connection.execute(
        "SELECT bool_and(to_regclass(name) IS NOT NULL) AND to_regclass('record') IS NULL FROM unnest(%s::text[]) name",
        (list(KNOWN_BY),),
    ).fetchone()
    return found == (True,)
