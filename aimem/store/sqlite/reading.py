"""Reads: plain functions of a read connection, and the threads that run them.

Each function sees one committed state. The connections are their own and can't write, so reads never wait for the
writer and the writer never waits for them.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aimem.core.automatic import NO_USE, TIERS, use_of
from aimem.core.identity_words import covers
from aimem.core.kinds import LINK, MEMORY
from aimem.core.pairs import pair_of, plain_id
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.limits import READERS
from aimem.store.base import Counted, Filter, Memory, Stats
from aimem.store.sqlite.faults import meaning
from aimem.store.sqlite.filtering import where
from aimem.store.sqlite.table import COLUMNS, links_of, row_of, touches_of_all
from aimem.store.transaction import Row, pair_text

Connection = sqlite3.Connection
T = TypeVar("T")

_HOUR_NS = 3_600 * 10**9
_COUNTED = "FROM record r INDEXED BY record_namespace"
_FIELDS = ", ".join(f"r.{name}" for name in COLUMNS.split(", "))


class Readers:
    """Threads with a read connection each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._open: list[Connection] = []
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="aimem-reader")

    async def run(self, read: Callable[..., T], *arguments: Any) -> T:
        """What `read(connection, *arguments)` returns, on one committed state.

        Raises:
            Damaged, StorageFailed: when the file can't be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, read, arguments)

    def here(self, read: Callable[..., T], *arguments: Any) -> T:
        """As `run`, at once in the calling thread: for a few reads by key, which take less than handing them over."""
        return self._read(read, arguments)

    def _read(self, read: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        try:
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                return read(connection, *arguments)
            finally:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise meaning(error, self._path) from error

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = connect(self._path)
            self._local.connection = connection
            self._open.append(connection)
        return connection

    async def close(self) -> None:
        """Wait for running reads, then close the connections."""
        await asyncio.to_thread(self._pool.shutdown)
        for connection in self._open:
            connection.close()


def connect(path: Path) -> Connection:
    """A connection that can only read."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA cache_size = -16384")
    connection.create_function("covers", 2, covers, deterministic=True)
    return connection


def find(connection: Connection, refs: Sequence[Ref]) -> list[Record | None]:
    """The records under these addresses."""
    return [row.record if (row := _row(connection, *ref)) else None for ref in refs]


def _row(connection: Connection, kind: str, key: str) -> Row | None:
    values = connection.execute(f"SELECT {COLUMNS} FROM record WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return row_of(values) if values else None


def _memories(connection: Connection, rows: Sequence[Row | None]) -> list[Memory | None]:
    """Rows with what their touches add up to, which is read for all of them at once."""
    touches = touches_of_all(connection, [row.record.key for row in rows if row is not None])
    return [None if row is None else _memory(row, touches.get(row.record.key)) for row in rows]


def _memory(row: Row, touches: Sequence[Record] | None) -> Memory:
    return Memory(row.row, row.record, use_of(row.record, touches) if touches else NO_USE)


def memories(connection: Connection, ids: Sequence[str]) -> list[Memory | None]:
    """The visible memories under these ids, or holding their pair."""
    return _memories(connection, [_visible(connection, each) for each in ids])


def _visible(connection: Connection, memory_id: str) -> Row | None:
    row = _row(connection, MEMORY, memory_id)
    if row is None or row.visible:
        return row
    pair = pair_of(row.record)
    if pair is None:
        return None
    others = connection.execute(f"SELECT {COLUMNS} FROM record WHERE pair = ? AND visible = 1", (pair_text(pair),))
    for values in others:
        return row_of(values)
    return _row(connection, MEMORY, plain_id(pair))


def by_rows(connection: Connection, rows: Sequence[int]) -> list[Memory | None]:
    """The visible memories under these row numbers."""
    found = connection.execute(
        f"SELECT {COLUMNS} FROM record WHERE row IN (SELECT value FROM json_each(?)) AND visible = 1",
        (json.dumps(list(rows)),),
    )
    held = {row.row: row for row in map(row_of, found)}
    return _memories(connection, [held.get(number) for number in rows])


def under(connection: Connection, kind: str, prefix: str) -> list[Record]:
    """The live records of a kind whose keys begin with the parts of `prefix`."""
    found = connection.execute(
        f"SELECT {COLUMNS} FROM record WHERE kind = ? AND key >= ? AND key < ? AND deleted = 0 ORDER BY key",
        (kind, f"{prefix}/", f"{prefix}0"),  # "0" follows "/"
    )
    return [row_of(values).record for values in found]


def ids_with_prefix(connection: Connection, prefix: str, limit: int) -> list[str]:
    """Ids of visible memories that start with `prefix`."""
    found = connection.execute(
        "SELECT key FROM record WHERE kind = ? AND key >= ? AND key < ? AND visible = 1 ORDER BY key LIMIT ?",
        (MEMORY, prefix, prefix + "\U0010ffff", limit),
    )
    return [key for (key,) in found]


def select(connection: Connection, which: Filter, limit: int, offset: int) -> list[Memory]:
    """Visible memories by priority and time of last write, both descending."""
    condition, values = where(which)
    found = connection.execute(
        f"SELECT {_FIELDS} FROM record r WHERE {condition} ORDER BY r.priority DESC, r.updated DESC, r.key "
        "LIMIT :limit OFFSET :offset",
        {**values, "limit": limit, "offset": offset},
    ).fetchall()
    return [each for each in _memories(connection, list(map(row_of, found))) if each is not None]


def rows(connection: Connection, which: Filter) -> list[int]:
    """Row numbers of all visible memories that pass the filter."""
    condition, values = where(which)
    return [row for (row,) in connection.execute(f"SELECT r.row FROM record r WHERE {condition}", values)]


def namespaces(connection: Connection, now: int, reach: Reach | None = None) -> list[Counted]:
    """Namespaces with their live, unexpired memories."""
    condition, values = where(Filter(now, reach=reach))
    found = connection.execute(
        f"SELECT r.namespace, count(*) AS n {_COUNTED} WHERE {condition} GROUP BY r.namespace ORDER BY n DESC, 1",
        values,
    )
    return [Counted(*each) for each in found]


def stats(connection: Connection, now: int, reach: Reach | None = None) -> Stats:
    """Figures of the whole store, or of what is in reach."""
    condition, values = where(Filter(now, reach=reach))
    tiers = connection.execute(
        f"SELECT r.tier, count(*) AS n {_COUNTED} WHERE {condition} GROUP BY r.tier ORDER BY n DESC, 1", values
    )
    by_tier = [Counted(TIERS[tier], number) for tier, number in tiers]
    expiring = connection.execute(
        f"SELECT count(*) FROM record r WHERE {condition} AND r.expires <= :soon", {**values, "soon": now + _HOUR_NS}
    )
    between = f"(SELECT r.key FROM record r WHERE {condition})"
    near = "" if reach is None else f"AND target IN {between} AND json_extract(body, '$.source_id') IN {between}"
    links = connection.execute(
        f"SELECT count(*) FROM record WHERE kind = :kind AND deleted = 0 {near}", {**values, "kind": LINK}
    )
    pages = connection.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
    return Stats(
        total=sum(each.memories for each in by_tier),
        by_tier=by_tier,
        by_namespace=namespaces(connection, now, reach),
        expiring=expiring.fetchone()[0],
        links=links.fetchone()[0],
        size=pages.fetchone()[0],
    )


def links(connection: Connection, ids: Sequence[str]) -> list[Record]:
    """Live links of these memories, both of whose ends are visible."""
    found = {row.record.key: row.record for memory_id in ids for row in links_of(connection, memory_id)}
    ends = {end for link in found.values() for end in (link.body["source_id"], link.body["target_id"])}
    shown = {end for end in ends if (row := _row(connection, MEMORY, end)) is not None and row.visible}
    kept = [link for link in found.values() if {link.body["source_id"], link.body["target_id"]} <= shown]
    return sorted(kept, key=lambda link: (link.body["created_at"], link.key))


def archived(connection: Connection, namespace: str | None, limit: int, offset: int) -> list[Record]:
    """What the archive holds, the latest first."""
    condition = "archived IS NOT NULL" + (" AND namespace = :namespace" if namespace is not None else "")
    found = connection.execute(
        f"SELECT {COLUMNS} FROM record WHERE {condition} ORDER BY archived DESC, key LIMIT :limit OFFSET :offset",
        {"limit": limit, "offset": offset, **({"namespace": namespace} if namespace is not None else {})},
    )
    return [row_of(values).record for values in found]


def archived_counts(connection: Connection) -> list[Counted]:
    """Namespaces with what the archive holds of them."""
    found = connection.execute(
        "SELECT namespace, count(*) AS n FROM record WHERE archived IS NOT NULL GROUP BY namespace ORDER BY n DESC, 1"
    )
    return [Counted(*each) for each in found]


def archived_before(connection: Connection, before: int, limit: int) -> list[Ref]:
    """What went to the archive before `before`, the earliest first."""
    found = connection.execute(
        "SELECT kind, key FROM record WHERE archived < ? ORDER BY archived, key LIMIT ?", (before, limit)
    )
    return [Ref(*each) for each in found]


def expired(connection: Connection, before: int, limit: int) -> list[str]:
    """Ids of live, unarchived memories that expire before `before`."""
    found = connection.execute("SELECT key FROM record WHERE expires < ? ORDER BY expires LIMIT ?", (before, limit))
    return [key for (key,) in found]


def last_tombstone(connection: Connection, before: int) -> int:
    """The highest `seq` of a tombstone that was stored before `before`."""
    # The plus keeps SQLite from looking for the highest by way of all rows, the latest first.
    (seq,) = connection.execute("SELECT max(+seq) FROM record WHERE stored < ? AND deleted = 1", (before,)).fetchone()
    return int(seq or 0)
