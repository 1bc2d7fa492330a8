"""Matching words by the stems that the index holds: how many of a question's terms a memory has."""

from __future__ import annotations

from collections.abc import Sequence

from aimem.core.text import Term, stems
from aimem.store.base import Filter, Hit, Words
from aimem.store.postgres.filtering import where
from aimem.store.postgres.session import Connection, rows
from aimem.store.postgres.text import told
from aimem.store.postgres.words import lexeme


class Statistics:
    """What is known of the words of the whole store."""


async def match(
    connection: Connection, words: Words, which: Filter, limit: int, statistics: Statistics, total: int
) -> list[Hit]:
    """The matches that hold most of the terms."""
    terms = [query for term in words.terms if (query := _query(term, words))]
    if not terms:
        return []
    condition, values = where(which)
    score = " + ".join(f"(w.found @@ %(term{index})s::tsquery)::int" for index in range(len(terms)))
    values |= {f"term{index}": term for index, term in enumerate(terms)}
    found = await rows(
        connection,
        f"SELECT w.row, r.key, ({score})::float8 AS score FROM words w JOIN record r ON r.row = w.row "
        f"WHERE w.found @@ %(asked)s::tsquery AND {condition} ORDER BY score DESC, w.row DESC LIMIT %(limit)s",
        {**values, "asked": _joined(words, terms), "limit": limit},
    )
    return [Hit(row, told(key), score / len(terms)) for row, key, score in found]


async def matching(
    connection: Connection, words: Words | None, which: Filter, after: int, limit: int
) -> list[tuple[int, str]]:
    """(row, id) of all that pass the filter and match, by row number after `after`."""
    condition, values = where(which)
    if words is not None:
        terms = [query for term in words.terms if (query := _query(term, words))]
        if not terms:
            return []
        condition += " AND r.row IN (SELECT w.row FROM words w WHERE w.found @@ %(asked)s::tsquery)"
        values["asked"] = _joined(words, terms)
    found = await rows(
        connection,
        f"SELECT r.row, r.key FROM record r WHERE {condition} AND r.row > %(after)s ORDER BY r.row LIMIT %(limit)s",
        {**values, "after": after, "limit": limit},
    )
    return [(row, told(key)) for row, key in found]


def _query(term: Term, words: Words) -> str:
    weights = "" if words.everywhere else ":ABC"
    return " <-> ".join(f"'{lexeme(stem)}'{weights}" for stem in stems(" ".join(term)))


def _joined(words: Words, terms: Sequence[str]) -> str:
    return (" & " if words.all_of else " | ").join(f"({term})" for term in terms)
