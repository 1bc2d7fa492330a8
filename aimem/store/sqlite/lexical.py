"""Matching words: from the terms of a question to the best rows, within a bound on how many rows are looked at.

Where any term may match, terms are taken from the rarest on until their rows add up to a budget: those left out are so
common that they can't decide, and ranking every row that holds one costs half a second at a million rows.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence

from aimem.core.text import Term, match_all, match_any
from aimem.limits import MATCH_ROWS_BUDGET, TERM_COUNTS_KEPT
from aimem.store.base import Filter, Hit, Words
from aimem.store.sqlite.reading import where

_GROWN = 1.25  # counts are taken anew when the store has grown or shrunk by a quarter
_WEIGHT_MIN = 1e-6  # FTS5's own: for words that more than half of all rows hold
_FIRST_CUT = 4  # how many more rows than asked for are ranked before the filter is applied to them


class TermCounts:
    """How many rows hold each term, remembered while the store is about as large as it was."""

    def __init__(self) -> None:
        self._known: OrderedDict[Term, tuple[int, int]] = OrderedDict()

    def count(self, connection: sqlite3.Connection, term: Term, total: int) -> int:
        """Rows that hold `term`, of about `total`."""
        known = self._known.get(term)
        if known is not None and known[1] / _GROWN <= total <= known[1] * _GROWN:
            return known[0]
        (rows,) = connection.execute("SELECT count(*) FROM words WHERE words MATCH ?", (match_any([term]),)).fetchone()
        self._known[term] = (rows, total)
        if len(self._known) > TERM_COUNTS_KEPT:
            self._known.popitem(last=False)
        return int(rows)


def deciding(terms: Sequence[Term], counts: Sequence[int]) -> list[Term]:
    """The terms to match by: the rarest, while their rows fit the budget; one at least."""
    chosen: list[Term] = []
    left = MATCH_ROWS_BUDGET
    for rows, term in sorted(zip(counts, terms, strict=True)):
        if chosen and rows > left:
            break
        left -= rows
        chosen.append(term)
    return chosen


def match(
    connection: sqlite3.Connection, words: Words, which: Filter, limit: int, counts: TermCounts, total: int
) -> list[Hit]:
    """The best lexical matches that pass the filter, best first."""
    if not words.terms or limit < 1:
        return []
    terms, rows = list(words.terms), [counts.count(connection, term, total) for term in words.terms]
    weight = sum(_weight(each, total) for each in rows)
    if not words.all_of and total > MATCH_ROWS_BUDGET:
        terms = deciding(terms, rows)
    asked = _asked(words, terms)
    found = (_ranked_first if which == Filter(which.now) else _filtered_first)(connection, asked, which, limit)
    return [Hit(hit.row, hit.id, hit.score / weight) for hit in found]


def matching(
    connection: sqlite3.Connection, words: Words | None, which: Filter, after: int, limit: int
) -> list[tuple[int, str]]:
    """(row, id) of all that pass the filter and match, by row number after `after`."""
    condition, values = where(which)
    if words is not None:
        if not words.terms:
            return []
        condition += " AND r.row IN (SELECT rowid FROM words WHERE words MATCH :asked)"
        values["asked"] = _asked(words, words.terms)
    return connection.execute(
        f"SELECT r.row, r.key FROM record r WHERE {condition} AND r.row > :after ORDER BY r.row LIMIT :limit",
        {**values, "after": after, "limit": limit},
    ).fetchall()


def _asked(words: Words, terms: Sequence[Term]) -> str:
    asked = match_all(terms) if words.all_of else match_any(terms)
    return asked if words.everywhere else f"{{title content tags}} : ({asked})"


def _weight(rows: int, total: int) -> float:
    """What a word adds to a bm25 score where it occurs once in a text of ordinary length: its inverse document
    frequency, as FTS5 computes it."""
    return max(_WEIGHT_MIN, math.log((max(total, rows) - rows + 0.5) / (rows + 0.5)))


def _filtered_first(connection: sqlite3.Connection, asked: str, which: Filter, limit: int) -> list[Hit]:
    """For a filter that may pass few rows: it decides before the ranking."""
    condition, values = where(which)
    found = connection.execute(
        "SELECT r.row, r.key, -bm25(words) AS score FROM words JOIN record r ON r.row = words.rowid "
        f"WHERE words MATCH :asked AND {condition} ORDER BY score DESC, r.row DESC LIMIT :limit",
        {**values, "asked": asked, "limit": limit},
    )
    return [Hit(*each) for each in found]


def _ranked_first(connection: sqlite3.Connection, asked: str, which: Filter, limit: int) -> list[Hit]:
    """For the filter that nearly all rows pass (only what has expired does not): ranked rows are looked up until
    enough of them pass, so that the cut still comes after the filter."""
    condition, values = where(which)
    cut = limit * _FIRST_CUT
    while True:
        ranked = connection.execute(
            "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank, rowid DESC LIMIT ?", (asked, cut)
        ).fetchall()
        alive = dict(
            connection.execute(
                "SELECT r.row, r.key FROM record r "
                f"WHERE r.row IN (SELECT value FROM json_each(:rows)) AND {condition}",
                {**values, "rows": json.dumps([row for row, _ in ranked])},
            )
        )
        hits = [Hit(row, alive[row], score) for row, score in ranked if row in alive]
        if len(hits) >= limit or len(ranked) < cut:
            return hits[:limit]
        cut *= _FIRST_CUT
