"""Does everything that derives from the records still say what they say? Slow and complete; reads only."""

from __future__ import annotations

import sqlite3

from aimem.core.text import indexed_text
from aimem.store.checking import SHOWN_MAX, Walk
from aimem.store.sqlite.schema import WORDS
from aimem.store.sqlite.table import COLUMNS, row_of
from aimem.store.state import unpack


def check(connection: sqlite3.Connection) -> list[str]:
    """What is wrong, in words; empty when all is well."""
    wrong = [f"file: {text}" for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
    walk = Walk()
    for values in connection.execute(f"SELECT {COLUMNS} FROM record"):
        walk.past(row_of(values))
    head, packed = connection.execute("SELECT head, digest FROM state").fetchone()
    return wrong + walk.faults(unpack(packed), head) + _check_words(connection)


def _check_words(connection: sqlite3.Connection) -> list[str]:
    """The word index holds exactly the visible memories: compared through its own tokens, one row at a time."""
    wrong = []
    try:
        connection.execute("PRAGMA query_only = 0")
        connection.execute(f"CREATE VIRTUAL TABLE temp.fresh USING {WORDS}")
        for values in connection.execute(f"SELECT {COLUMNS} FROM record WHERE visible = 1"):
            row = row_of(values)
            connection.execute(
                "INSERT INTO temp.fresh (rowid, title, content, tags, context) VALUES (?, ?, ?, ?, ?)",
                (row.row, *indexed_text(row.record)),
            )
        connection.execute("CREATE VIRTUAL TABLE temp.fresh_terms USING fts5vocab (temp, fresh, instance)")
        connection.execute("CREATE VIRTUAL TABLE temp.held_terms USING fts5vocab (main, words, instance)")
        for left, right, what in (("fresh", "held", "misses"), ("held", "fresh", "holds too much:")):
            rows = connection.execute(
                f"SELECT DISTINCT doc FROM (SELECT * FROM temp.{left}_terms EXCEPT "
                f"SELECT * FROM temp.{right}_terms) LIMIT ?",
                (SHOWN_MAX,),
            )
            wrong += [f"words: the index {what} words of row {doc}" for (doc,) in rows]
    finally:
        for name in ("fresh_terms", "held_terms", "fresh"):
            connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
        connection.execute("PRAGMA query_only = 1")
    return wrong
