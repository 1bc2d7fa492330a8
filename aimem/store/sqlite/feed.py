"""The change feed: records by their place in it, of all kinds or of some."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from aimem.core.record import Record
from aimem.limits import FEED_RARE_ROWS
from aimem.store.sqlite.table import COLUMNS, row_of

_OF_KINDS = "kind IN (SELECT value FROM json_each(:kinds))"
_PASSED_PER_LOOKUP = 8  # rows passed over by their place while one is looked up by its kind


def changes(
    connection: sqlite3.Connection, after: int, limit: int, size: int, kinds: tuple[str, ...] | None
) -> tuple[list[tuple[int, Record]], int, bool]:
    """The feed after `after`: the changes, the position after them, and whether the bounds cut it."""
    head = connection.execute("SELECT head FROM state").fetchone()[0]
    found: list[tuple[int, Record]] = []
    for values in _in_order(connection, after, limit, head, kinds):
        row = row_of(values)
        size -= len(row.record.raw)
        if found and (len(found) >= limit or size < 0):
            return found, found[-1][0], True
        found.append((row.seq, row.record))
    return found, max(head, after), False


def _in_order(
    connection: sqlite3.Connection, after: int, limit: int, head: int, kinds: tuple[str, ...] | None
) -> Iterable[tuple[Any, ...]]:
    """`COLUMNS` of what stands behind `after`, by its place: more than `limit`, or all of it."""
    asked = {"after": after, "kinds": json.dumps(kinds), "most": limit + 1}
    if kinds is None or not _are_rare(connection, (head - after) // _PASSED_PER_LOOKUP, kinds):
        # The plus keeps SQLite from choosing the index on kinds, which reads and sorts all of a kind for every page.
        condition = "" if kinds is None else f"AND +{_OF_KINDS}"
        return connection.execute(f"SELECT {COLUMNS} FROM record WHERE seq > :after {condition} ORDER BY seq", asked)
    rows = connection.execute(
        f"SELECT row FROM record INDEXED BY record_key WHERE {_OF_KINDS} AND seq > :after ORDER BY seq LIMIT :most",
        asked,
    ).fetchall()
    return (connection.execute(f"SELECT {COLUMNS} FROM record WHERE row = ?", row).fetchone() for row in rows)


def _are_rare(connection: sqlite3.Connection, most: int, kinds: tuple[str, ...]) -> bool:
    """Whether so few rows are of these kinds, wherever they stand, that looking each up beats passing over the others:
    a store of a million memories holds a few votes, and every start asks for them."""
    most = min(most, FEED_RARE_ROWS)
    if most < 1:
        return False
    (counted,) = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM record INDEXED BY record_key WHERE {_OF_KINDS} LIMIT :most)",
        {"kinds": json.dumps(kinds), "most": most + 1},
    ).fetchone()
    return int(counted) <= most
