"""Reads of all records of a kind, in batches, on a connection of their own.

A scan sees one committed state, however long it takes; other reads never wait for it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite

from aimem.core.kinds import MEMORY, VECTOR, kind_of, source_key
from aimem.limits import SCAN_BATCH
from aimem.store.sqlite.faults import meaning
from aimem.store.sqlite.table import COLUMNS

_CACHE_KIB = 16_384


def records_of(kind: str) -> tuple[str, tuple[Any, ...]]:
    """All live records of a kind: `COLUMNS`, and the row of the visible memory that each was made from, or NULL."""
    own = kind == VECTOR or not kind_of(kind).derived  # its key is the memory's, without asking Python
    source = "r.key" if own else "source_key(r.kind, r.key)"
    select = (
        f"SELECT {COLUMNS}, "
        f"(SELECT m.row FROM record m WHERE m.kind = ? AND m.key = {source} AND m.visible = 1) "
        "FROM record r WHERE kind = ? AND deleted = 0"
    )
    return select, (MEMORY, kind)


async def batches(path: Path, select: str, values: tuple[Any, ...] = ()) -> AsyncIterator[list[Any]]:
    """The rows of a SELECT. Raises as `connected`."""
    async with connected(path) as connection:
        await connection.create_function("source_key", 2, source_key, deterministic=True)
        rows = await connection.execute(select, values)
        while batch := await rows.fetchmany(SCAN_BATCH):
            yield list(batch)


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """A connection that can only read, and its thread. All that is read sees the state of the first statement.

    Raises:
        Damaged, StorageFailed: when the file can't be read.
    """
    connection = await aiosqlite.connect(path, isolation_level=None)
    try:
        await connection.execute("PRAGMA query_only = 1")
        await connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        await connection.execute("BEGIN")
        yield connection
    except sqlite3.Error as error:
        raise meaning(error, path) from error
    finally:
        await connection.close()
