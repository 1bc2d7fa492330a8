"""Matching words: from the terms of a question to the best rows, within bounds on how many rows are looked at.

Where any term may match, terms are taken from the rarest on until their rows add up to a budget: those left out are so
common that they can't decide. Ranking a row costs fifteen times what finding it does, as the length of its text is
looked up, so of the rows found those are ranked that can come out well: that hold two of the terms, or a rare one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from aimem.core.text import Term, match_all, match_any
from aimem.limits import MATCH_FILTERED_ROWS, MATCH_ROWS_BUDGET
from aimem.store.base import Filter, Hit, Words
from aimem.store.sqlite.filtering import where
from aimem.store.terms import Held, TermCounts, deciding, halves, promising, weight

_CUT_GROWS = 4  # how many times more ranked rows are looked up when too few of them passed the filter


def match(
    connection: sqlite3.Connection, words: Words, which: Filter, limit: int, counts: TermCounts, total: int
) -> list[Hit]:
    """The best lexical matches that pass the filter, best first."""
    if not words.terms or limit < 1:
        return []
    held = sorted(Held(_counted(connection, term, counts, total), term) for term in words.terms)
    whole = sum(weight(each.rows, total) for each in held)
    if not words.all_of:
        held = deciding(held, total)
    if which == Filter(which.now):
        found = _ranked_first(connection, words, held, which, limit)
    else:
        found = _filtered_first(connection, _asked(words, _terms(held)), which, limit)
    return [Hit(hit.row, hit.id, hit.score / whole) for hit in found]


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


def _counted(connection: sqlite3.Connection, term: Term, counts: TermCounts, total: int) -> int:
    """Rows that hold `term`."""
    known = counts.known(term, total)
    if known is None:
        asked = (match_any([term]),)
        (known,) = connection.execute("SELECT count(*) FROM words WHERE words MATCH ?", asked).fetchone()
        counts.keep(term, total, known)
    return int(known)


def _asked(words: Words, terms: Sequence[Term]) -> str:
    return _within(words, match_all(terms) if words.all_of else match_any(terms))


def _within(words: Words, asked: str) -> str:
    """A query of the columns that these words are looked for in."""
    return asked if words.everywhere else f"{{title content tags}} : ({asked})"


def _terms(held: Iterable[Held]) -> list[Term]:
    return [each.term for each in held]


def _filtered_first(connection: sqlite3.Connection, asked: str, which: Filter, limit: int) -> list[Hit]:
    """For a filter that may pass few rows: it decides before the ranking. A row that words found takes as long to look
    up as one that the filter passes: where these are fewer, they are found first."""
    condition, values = where(which)
    if _are_few(connection, which):
        statement = (
            "SELECT best.row, r.key, best.score FROM (SELECT rowid AS row, -bm25(words) AS score FROM words "
            f"WHERE words MATCH :asked AND +rowid IN (SELECT r.row FROM record r WHERE {condition})) best "
            "JOIN record r ON r.row = best.row"
        )
    else:
        statement = (
            "SELECT r.row, r.key, -bm25(words) AS score FROM words JOIN record r ON r.row = words.rowid "
            f"WHERE words MATCH :asked AND {condition}"
        )
    found = connection.execute(
        f"{statement} ORDER BY score DESC, r.row DESC LIMIT :limit", {**values, "asked": asked, "limit": limit}
    )
    return [Hit(*each) for each in found]


def _are_few(connection: sqlite3.Connection, which: Filter) -> bool:
    """Whether the filter names namespaces that hold few rows."""
    if which.namespaces is None:
        return False
    (held,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM record INDEXED BY record_namespace WHERE visible = 1 "
        "AND namespace IN (SELECT value FROM json_each(:names)) LIMIT :most)",
        {"names": json.dumps(list(which.namespaces)), "most": MATCH_FILTERED_ROWS + 1},
    ).fetchone()
    return int(held) <= MATCH_FILTERED_ROWS


def _ranked_first(
    connection: sqlite3.Connection, words: Words, held: Sequence[Held], which: Filter, limit: int
) -> list[Hit]:
    """For the filter that nearly all rows pass (only what has expired does not): ranked rows are looked up until
    enough of them pass, so that the cut still comes after the filter."""
    condition, values = where(which)
    ranked, cut = _some_ranked(words, held), limit + limit // 4 + 1
    while True:
        found = connection.execute(
            "SELECT best.row, r.key, best.score "
            f"FROM ({ranked.statement} ORDER BY score DESC, row DESC LIMIT :cut) best "
            f"LEFT JOIN record r ON r.row = best.row AND {condition} ORDER BY best.score DESC, best.row DESC",
            {**values, **ranked.values, "cut": cut},
        ).fetchall()
        hits = [Hit(*each) for each in found if each[1] is not None]
        if len(hits) >= limit:
            return hits[:limit]
        if len(found) == cut:
            cut *= _CUT_GROWS
        elif ranked.whole:
            return hits
        else:
            ranked = _all_ranked(words, held)


class _Ranked(NamedTuple):
    """A statement that gives rows with their scores, its values, and whether it gives all rows that match."""

    statement: str
    values: dict[str, Any]
    whole: bool = False


def _all_ranked(words: Words, held: Sequence[Held]) -> _Ranked:
    statement = "SELECT rowid AS row, -bm25(words) AS score FROM words WHERE words MATCH :asked"
    return _Ranked(statement, {"asked": _asked(words, _terms(held))}, whole=True)


def _some_ranked(words: Words, held: Sequence[Held]) -> _Ranked:
    """All rows where they are few. Else those that hold two of the terms, and of those that hold one of the rarest so
    many as may be ranked, the newest where more hold the last of these; of a single term, the newest of the budget."""
    every = _all_ranked(words, held)
    few = None if words.all_of else promising(held)
    if few is None:
        return every
    if len(held) == 1:
        statement = f"SELECT * FROM ({every.statement} ORDER BY rowid DESC LIMIT :most)"
        return _Ranked(statement, {**every.values, "most": MATCH_ROWS_BUDGET})
    two = [f"(({match_any(left)}) AND ({match_any(right)}))" for left, right in halves(_terms(held))]
    asked = " OR ".join([*two, *([f"({match_any(few.rare)})"] if few.rare else [])])
    statement = (
        f"{every.statement} AND +rowid IN (SELECT rowid FROM words WHERE words MATCH :few UNION ALL "
        "SELECT * FROM (SELECT rowid FROM words WHERE words MATCH :last ORDER BY rowid DESC LIMIT :newest))"
    )
    more = {"few": _within(words, asked), "last": _within(words, match_any([few.last])), "newest": few.newest}
    return _Ranked(statement, {**every.values, **more})
