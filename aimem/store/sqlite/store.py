"""The SQLite store: opens a file, and joins writer, readers and maintenance to the Store protocol."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from aimem.core.digest import Digest
from aimem.core.feed import Cursor, resolve
from aimem.core.intent import Intent, Rehearsed
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.limits import READ_HERE_MAX, REHEARSED_HERE_MAX
from aimem.store.base import (
    Change,
    Counted,
    FeedPage,
    Filter,
    Hit,
    Listener,
    Memory,
    Outcome,
    Stats,
    Swept,
    Vector,
    Words,
)
from aimem.store.grouping import tell
from aimem.store.ids import random_id
from aimem.store.sqlite import feed, reading, scanning, schema
from aimem.store.sqlite.beginning import Opened, Opening
from aimem.store.sqlite.checking import check
from aimem.store.sqlite.lexical import match, matching
from aimem.store.sqlite.opening import lock
from aimem.store.sqlite.table import Transaction, row_of
from aimem.store.sqlite.writer import Writer
from aimem.store.terms import TermCounts

K = TypeVar("K")
T = TypeVar("T")


async def open_sqlite(
    path: Path | str,
    *,
    now: Callable[[], int] = time.time_ns,
    rand: Callable[[], str] = random_id,
    allow_network_fs: bool = False,
) -> SqliteStore:
    """Open a database file, making it where there is none.

    Raises:
        Misconfigured: the file is foreign, newer than this program, or on a network file system.
        Locked: another process has it. Damaged: it can't be read or written.
        DiskFull: there is no room to make it.
    """
    opening = Opening(Path(path), now, rand, allow_network_fs)
    handle = lock(opening.path)
    try:
        return SqliteStore(opening, handle, await asyncio.to_thread(opening.run))
    except BaseException:
        os.close(handle)
        raise


class SqliteStore:
    """A Store in one file. See `store.base.Store` for what each method promises."""

    def __init__(self, opening: Opening, lock: int, opened: Opened) -> None:
        self.path = opening.path
        self.start = opened.start
        self.visible = opened.visible
        self._lock = lock
        self._listeners: list[Listener] = []
        self._rand = opening.rand
        self._now = opening.now
        self._readers = reading.Readers(self.path)
        self._writer = Writer(
            self.path, opened.connection, opened.state, origin=self.start, now=self._now, committed=self._committed
        )
        self._term_counts = TermCounts()
        self._closed = False

    @property
    def incarnation(self) -> str:
        return self._writer.state.incarnation

    @property
    def digest(self) -> Digest:
        return self._writer.state.digest

    @property
    def shared(self) -> bool:
        return False

    @property
    def schema(self) -> int:
        return schema.SCHEMA_VERSION

    @property
    def head(self) -> int:
        return self._writer.state.head

    @property
    def clock(self) -> int:
        return self._writer.state.clock

    @property
    def floor(self) -> int:
        return self._writer.state.floor

    @property
    def fsyncs(self) -> int:
        """Groups committed since the store was opened, each with one fsync."""
        return self._writer.fsyncs

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        await self._readers.close()
        os.close(self._lock)

    async def hear(self) -> None:
        """Nobody else writes here."""

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def _committed(self, changes: list[Change], shown: int) -> None:
        self.visible += shown
        tell(self._listeners, changes)

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        return await self._writer.write(intents) if intents else []

    async def sweep(self, before: int, read_by_all: int, now: int, limit: int) -> Swept:
        swept = Swept(0, 0)

        def work(transaction: Transaction) -> None:
            nonlocal swept
            tombstones = transaction.sweep_tombstones(before, read_by_all, limit)
            touches = transaction.sweep_touches(before, read_by_all, limit)
            swept = Swept(tombstones, touches + transaction.sweep_aged(now, limit))

        await self._writer.exclusively(work)
        return swept

    async def last_tombstone(self, before: int) -> int:
        return await self._readers.run(reading.last_tombstone, before)

    async def restamp(self, limit: int) -> int:
        count = 0

        def work(transaction: Transaction) -> None:
            nonlocal count
            count = transaction.restamp(limit)

        await self._writer.exclusively(work)
        return count

    async def raise_floor(self, floor: int) -> None:
        def work(transaction: Transaction) -> None:
            transaction.floor = max(transaction.floor, floor)

        await self._writer.exclusively(work)

    async def renew_incarnation(self) -> None:
        def work(transaction: Transaction) -> None:
            transaction.incarnation = self._rand()

        await self._writer.exclusively(work)

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        return await self._by_key(reading.find, refs)

    async def _by_key(self, read: Callable[[sqlite3.Connection, Sequence[K]], list[T]], keys: Sequence[K]) -> list[T]:
        """What a read finds under some keys: at once where they are few."""
        return self._readers.here(read, keys) if len(keys) <= READ_HERE_MAX else await self._readers.run(read, keys)

    async def rehearse(self, intents: Sequence[Intent]) -> list[Rehearsed]:
        state, resident = self._writer.state, self._writer.resident

        def read(connection: sqlite3.Connection) -> list[Rehearsed]:
            view = Transaction(connection, state, resident, now=self._now(), origin=self.start)
            return [view.rehearse(intent) for intent in intents]

        return self._readers.here(read) if len(intents) <= REHEARSED_HERE_MAX else await self._readers.run(read)

    async def memories(self, ids: Sequence[str]) -> list[Memory | None]:
        return await self._by_key(reading.memories, ids)

    async def under(self, kind: str, prefix: str) -> list[Record]:
        return await self._readers.run(reading.under, kind, prefix)

    async def ids_with_prefix(self, prefix: str, limit: int) -> list[str]:
        return await self._readers.run(reading.ids_with_prefix, prefix, limit)

    async def select(self, which: Filter, limit: int, offset: int) -> list[Memory]:
        return await self._readers.run(reading.select, which, limit, offset)

    async def match(self, words: Words, which: Filter, limit: int) -> list[Hit]:
        return await self._readers.run(match, words, which, limit, self._term_counts, self.visible)

    async def rows(self, which: Filter) -> list[int]:
        return await self._readers.run(reading.rows, which)

    async def by_rows(self, rows: Sequence[int]) -> list[Memory | None]:
        return await self._readers.run(reading.by_rows, rows)

    async def matching(self, words: Words | None, which: Filter, after: int, limit: int) -> list[tuple[int, str]]:
        return await self._readers.run(matching, words, which, after, limit)

    async def links(self, ids: Sequence[str]) -> list[Record]:
        return await self._by_key(reading.links, ids)

    async def archived(self, namespace: str | None, limit: int, offset: int) -> list[Record]:
        return await self._readers.run(reading.archived, namespace, limit, offset)

    async def archived_counts(self) -> list[Counted]:
        return await self._readers.run(reading.archived_counts)

    async def archived_before(self, before: int, limit: int) -> list[Ref]:
        return await self._readers.run(reading.archived_before, before, limit)

    async def namespaces(self, now: int, reach: Reach | None = None) -> list[Counted]:
        return await self._readers.run(reading.namespaces, now, reach)

    async def stats(self, now: int, reach: Reach | None = None) -> Stats:
        return await self._readers.run(reading.stats, now, reach)

    async def expired(self, before: int, limit: int) -> list[str]:
        return await self._readers.run(reading.expired, before, limit)

    async def changes(self, after: int, limit: int, size: int, kinds: tuple[str, ...] | None = None) -> FeedPage:
        found, position, more = await self._readers.run(feed.changes, after, limit, size, kinds)
        return FeedPage(found, Cursor(self.incarnation, self.start, position), more)

    async def progress(self, name: str) -> int:
        def read(connection: sqlite3.Connection) -> int:
            row = connection.execute("SELECT position FROM progress WHERE name = ?", (name,)).fetchone()
            return int(row[0]) if row else 0

        return await self._readers.run(read)

    async def positions(self, prefix: str) -> dict[str, int]:
        def read(connection: sqlite3.Connection) -> dict[str, int]:
            named = "SELECT name, position FROM progress WHERE substr(name, 1, ?) = ?"
            return dict(connection.execute(named, (len(prefix), prefix)).fetchall())

        return await self._readers.run(read)

    async def resolve_cursor(self, cursor: Cursor) -> int:
        return resolve(cursor, starts=await self.starts(), head=self.head)

    async def starts(self) -> list[tuple[str, int]]:
        def read(connection: sqlite3.Connection) -> list[tuple[str, int]]:
            return connection.execute("SELECT id, first_seq FROM start ORDER BY first_seq, opened").fetchall()

        return await self._readers.run(read)

    async def scan(self, kind: str) -> AsyncIterator[list[tuple[int, Record]]]:
        async for batch in scanning.batches(self.path, *scanning.records_of(kind)):
            yield [(values[-1] or 0, row_of(values[:-1]).record) for values in batch]

    async def scan_vectors(self) -> AsyncIterator[list[Vector]]:
        from aimem.store.sqlite.vectors import vectors  # a native library, which the keyword tier must not need

        async for batch in vectors(self.path):
            yield batch

    async def check(self) -> list[str]:
        return await self._readers.run(check)
