"""Does everything that derives from the records still say what they say? Slow and complete; reads only."""

from __future__ import annotations

import sqlite3

from aimem.core.digest import Digest, stage
from aimem.core.kinds import MEMORY
from aimem.core.pairs import Pair, by_age, pair_of
from aimem.core.record import Record
from aimem.core.text import indexed_text
from aimem.store.sqlite.schema import WORDS
from aimem.store.sqlite.table import COLUMNS, row_of
from aimem.store.state import unpack

_SHOWN_MAX = 20  # complaints of one sort; more say nothing new


def check(connection: sqlite3.Connection) -> list[str]:
    """What is wrong, in words; empty when all is well."""
    wrong = [f"file: {text}" for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
    deltas: dict[int, int] = {}
    claims: dict[Pair, list[Record]] = {}
    shown: set[str] = set()
    head = 0
    for values in connection.execute(f"SELECT {COLUMNS} FROM record"):
        row = row_of(values)
        record = Record(
            row.record.kind,
            row.record.key,
            row.record.version,
            row.record.born,
            row.record.raw,
            deleted=row.record.deleted,
            extra=row.record.extra,
        )
        head = max(head, row.seq)
        stage(deltas, None, record)
        if record.hash != row.record.hash:
            wrong.append(f"hash: {record.ref} does not match its body")
        if record.kind == MEMORY and (pair := pair_of(record)) is not None:
            claims.setdefault(pair, []).append(record)
        if row.visible:
            shown.add(record.key)
    wrong += _check_state(connection, deltas, head)
    wrong += _check_pairs(claims, shown)
    wrong += _check_words(connection)
    return wrong


def _check_state(connection: sqlite3.Connection, deltas: dict[int, int], head: int) -> list[str]:
    stored_head, packed = connection.execute("SELECT head, digest FROM state").fetchone()
    counted = Digest()
    counted.apply(deltas)
    wrong = [] if counted.sums == unpack(packed).sums else ["digest: it is not that of the records"]
    if head > stored_head:
        wrong.append(f"feed: a record has seq {head}, past the head {stored_head}")
    return wrong


def _check_pairs(claims: dict[Pair, list[Record]], shown: set[str]) -> list[str]:
    holders = {by_age(records)[0].key for records in claims.values()}
    return [
        f"pairs: {key} is {'hidden, but holds its pair' if key in holders else 'shown, but does not hold its pair'}"
        for key in sorted(holders ^ shown)[:_SHOWN_MAX]
    ]


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
                (_SHOWN_MAX,),
            )
            wrong += [f"words: the index {what} words of row {doc}" for (doc,) in rows]
    finally:
        for name in ("fresh_terms", "held_terms", "fresh"):
            connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
        connection.execute("PRAGMA query_only = 1")
    return wrong
