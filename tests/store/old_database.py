"""Databases of the existing system, with the rows that a test wants: the tables are those of the real one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp
from aimem.store.migrate.report import Report
from aimem.store.migrate.running import migrate
from aimem.store.moving.opening import opened_files
from aimem.store.sqlite.store import SqliteStore, open_sqlite

REAL = Path(__file__).parent.parent / "data" / "v063.db"
SECOND = 10**9
NOW = 1_795_500_000 * SECOND  # past, but later than anything in the real database

_MEMORY = {
    "tier": "long",
    "namespace": "ops",
    "content": "what it says",
    "created_at": format_timestamp(NOW - 1000 * SECOND),
    "updated_at": format_timestamp(NOW - 1000 * SECOND),
}


class OldDatabase:
    """One in the making. Closed at the end of the `with`, in WAL mode as the old program leaves it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        real = sqlite3.connect(f"{REAL.as_uri()}?mode=ro&immutable=1", uri=True)
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'memories_fts_*'"
        for (statement,) in real.execute(query):
            self.connection.execute(statement)
        real.close()
        self.add("schema_version", version=16)

    def __enter__(self) -> OldDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def add(self, table: str, **values: Any) -> None:
        """Add a row."""
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        self.connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))

    def memory(self, key: Any, at: int = NOW - 1000 * SECOND, **values: Any) -> None:
        """Add a memory that was last written at `at` (ns)."""
        author = {"metadata": json.dumps({"agent_id": values.pop("author")})} if "author" in values else {}
        said = {**_MEMORY, "title": f"title of {key}", "updated_at": format_timestamp(at), **author, **values}
        self.add("memories", id=key, **said)

    def archived(self, key: str, at: int, **values: Any) -> None:
        """Add an archived memory."""
        said = {**_MEMORY, "title": f"title of {key}", "archived_at": format_timestamp(at), **values}
        self.add("archived_memories", id=key, **said)


async def into(store: SqliteStore, sources: Sequence[Path], now: int = NOW) -> Report:
    """Migrate into an open store."""
    with opened_files(sources, store.path) as found:
        return await migrate(found.old, store, now=now, shown=lambda rows: None)


@asynccontextmanager
async def migrated(target: Path, *sources: Path, now: int = NOW) -> AsyncIterator[tuple[SqliteStore, Report]]:
    """A store with what the sources hold, and the report of it."""
    store = await open_sqlite(target, now=lambda: now)
    try:
        yield store, await into(store, sources, now)
    finally:
        await store.close()


async def records(store: SqliteStore, *kinds: str) -> dict[tuple[str, str], Record]:
    """All records of these kinds, or of all kinds, by address."""
    page = await store.changes(0, 10_000, 1 << 30, kinds or None)
    return {(record.kind, record.key): record for _, record in page.changes}


def digest_of(target: Path, *sources: Path, now: int = NOW) -> str:
    """The digest of what the sources become in a new store."""

    async def run() -> str:
        async with migrated(target, *sources, now=now) as (store, report):
            assert await store.check() == []
            assert report.digest == store.digest.root()
            return report.digest

    return asyncio.run(run())
