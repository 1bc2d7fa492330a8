"""Reads of all records of a kind, in batches, on a connection of their own.

A scan sees one committed state, however long it takes; other reads never wait for it.
"""

from __future__ import annotations

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


# The pairs come out of the index on keys alone; then the bodies are read in the order in which they lie in the file.
# Without the LIMIT, SQLite may drop the order; without the plus, it would look up every memory for every vector.
VECTORS = f"""
SELECT pair.memory, v.key, CAST(v.body AS BLOB)
FROM (
    SELECT r.row AS vector, m.row AS memory
    FROM record r CROSS JOIN record m ON m.kind = '{MEMORY}' AND m.key = r.key
    WHERE r.kind = '{VECTOR}' AND +m.row IN (SELECT row FROM record WHERE visible = 1)
    ORDER BY vector LIMIT -1
) pair CROSS JOIN record v ON v.row = pair.vector
WHERE v.deleted = 0
"""
"""The live vectors of all visible memories: the memory's row, its key, the body."""


async def batches(path: Path, select: str, values: tuple[Any, ...] = ()) -> AsyncIterator[list[Any]]:
    """The rows of a SELECT.

    Raises:
        Damaged, StorageFailed: when the file can't be read.
    """
    connection = await aiosqlite.connect(path)
    try:
        await connection.execute("PRAGMA query_only = 1")
        await connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        await connection.create_function("source_key", 2, source_key, deterministic=True)
        rows = await connection.execute(select, values)
        while batch := await rows.fetchmany(SCAN_BATCH):
            yield list(batch)
    except sqlite3.Error as error:
        raise meaning(error, path) from error
    finally:
        await connection.close()
