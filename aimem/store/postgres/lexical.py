"""Matching words: the stems that SQLite's index has, scored as FTS5 scores them.

The server's `ts_rank` knows neither how rare a word is nor how long the text: it serves here to tell how often a word
comes. It gives a single word that comes n times 1 + 1/4 + .. + 1/n^2, over the sum of all (pi^2 / 6); what lacks is
about 1 / (n + 1/2), so n is exact when rounded. Words that follow each other are counted place by place.

Where any term may match, terms are taken from the rarest on until their rows add up to a budget, as in SQLite; ranking
every row that a common word has took seconds. How many rows have a word is counted while the store is small; beyond,
the server's statistics tell it of common words, and only rare ones are counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from aimem.core.text import Term, stems
from aimem.limits import COUNTED_EXACTLY_ROWS, MATCH_ROWS_BUDGET, TERM_STATISTICS_SECS
from aimem.store.base import Filter, Hit, Words
from aimem.store.postgres.filtering import where
from aimem.store.postgres.session import Connection, one, rows
from aimem.store.postgres.text import told
from aimem.store.postgres.words import lexeme
from aimem.store.terms import Held, TermCounts, about_as_large, deciding, weight

_K1, _B = 1.2, 0.75  # of bm25, as FTS5 has them
_ALL = 1.64493406685  # pi^2 / 6, with the digits that the server has
_TIMES = f"round(1 / ({_ALL} - {_ALL} * ts_rank(%(where)s::float4[], w.found, TERM)) - 0.5)"
_PLACES = (
    "CASE WHEN w.found @@ TERM THEN (SELECT count(*) FROM unnest(TEXT) one, unnest(one.positions) place "
    "WHERE one.lexeme = FIRST AND NEXT) ELSE 0 END"
)
_NEXT = "EXISTS (SELECT 1 FROM unnest(TEXT) other WHERE other.lexeme = LEXEME AND place + {} = ANY(other.positions))"
_EVERYWHERE, _TEXT = "{1,1,1,1}", "{0,1,1,1}"  # weights of context, tags, content and title


class Statistics:
    """What is known of the words of the whole store: how many rows each has, and how long a text is."""

    def __init__(self) -> None:
        self._counts = TermCounts(), TermCounts()
        self._common: dict[str, float] = {}
        self._looked: float | None = None
        self._mean = (1.0, 0)

    async def count(
        self, connection: Connection, terms: Sequence[Term], total: int, *, everywhere: bool = True
    ) -> list[Held]:
        """Rows that hold each of the terms, of about `total`."""
        counts = self._counts[everywhere]
        unknown = [term for term in terms if counts.known(term, total) is None]
        if unknown and total > COUNTED_EXACTLY_ROWS:
            unknown = await self._estimate(connection, unknown, total, counts)
        if unknown:
            asked = {f"t{i}": _query(term, everywhere=everywhere) for i, term in enumerate(unknown)}
            each = (f"(SELECT count(*) FROM words WHERE found @@ %({name})s::tsquery)" for name in asked)
            found = await one(connection, f"SELECT {', '.join(each)}", asked)
            for term, rows_of in zip(unknown, found or (), strict=True):
                counts.keep(term, total, int(rows_of))
        return [Held(counts.known(term, total) or 0, term) for term in terms]

    async def mean_size(self, connection: Connection, total: int) -> float:
        """Words that a text has on average."""
        mean, counted_of = self._mean
        if not counted_of or not about_as_large(counted_of, total):
            part = "" if total <= COUNTED_EXACTLY_ROWS else "TABLESAMPLE SYSTEM (1)"
            found = await one(connection, f"SELECT avg(size)::float8 FROM words {part}")
            mean = float(found[0]) if found and found[0] else 1.0
            self._mean = (mean, total)
        return mean

    async def _estimate(
        self, connection: Connection, terms: Sequence[Term], total: int, counts: TermCounts
    ) -> list[Term]:
        """Keep what the server's statistics tell. Terms that they say nothing of are left: a word of each is rare, so
        that counting is cheap."""
        now = time.monotonic()
        if self._looked is None or now - self._looked > TERM_STATISTICS_SECS:
            self._common, self._looked = await _common(connection), now
        left = []
        for term in terms:
            shares = [self._common.get(lexeme(stem)) for stem in stems(" ".join(term))]
            known = [share for share in shares if share is not None]
            if known and len(known) == len(shares):
                counts.keep(term, total, int(min(known) * total))
            else:
                left.append(term)
        return left


async def _common(connection: Connection) -> dict[str, float]:
    """The share of rows that hold each common lexeme, as of the last ANALYZE."""
    found = await one(
        connection,
        "SELECT most_common_elems::text::text[], most_common_elem_freqs FROM pg_stats "
        "WHERE schemaname = (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'words'::regclass) "
        "AND tablename = 'words' AND attname = 'found'",
    )
    # Behind the frequencies stand their least and greatest.
    return dict(zip(found[0], map(float, found[1]), strict=False)) if found and found[0] else {}


class _Score(NamedTuple):
    """How often each term comes in a text, and what each is worth then: expressions, and their values."""

    often: list[str]
    parts: list[str]
    values: dict[str, Any]

    @property
    def source(self) -> str:
        """Computed once a row, not wherever it is used: that is what OFFSET 0 does."""
        return f"CROSS JOIN LATERAL (SELECT {', '.join(self.often)} OFFSET 0) often"


async def match(
    connection: Connection, words: Words, which: Filter, limit: int, statistics: Statistics, total: int
) -> list[Hit]:
    """The best lexical matches that pass the filter, best first. `total` is about how many rows there are."""
    if not words.terms or limit < 1:
        return []
    held = sorted(await statistics.count(connection, words.terms, total))
    whole = sum(weight(each.rows, total) for each in held)
    if not words.all_of and total > MATCH_ROWS_BUDGET:
        held = deciding(held)
    # As in SQLite: the share is of what words weigh everywhere, and each counts as it weighs where it is looked for.
    terms = [each.term for each in held]
    counted = await statistics.count(connection, terms, total, everywhere=words.everywhere)
    weights = [weight(each.rows, total) for each in counted]
    score = _score(held, weights, words, await statistics.mean_size(connection, total))
    condition, values = where(which)
    values = {**values, **score.values, "asked": _asked(words, terms), "limit": limit}
    source = "words w JOIN record r ON r.row = w.row"
    matching = f"w.found @@ %(asked)s::tsquery AND {condition}"
    if not words.all_of and sum(each.rows for each in held) > MATCH_ROWS_BUDGET:  # one common word: of its newest
        values["newest"] = MATCH_ROWS_BUDGET
        matching = f"w.row IN (SELECT w.row FROM {source} WHERE {matching} ORDER BY w.row DESC LIMIT %(newest)s)"
    found = await rows(
        connection,
        f"SELECT w.row, r.key, ({' + '.join(score.parts)})::float8 AS score FROM {source} {score.source} "
        f"WHERE {matching} ORDER BY score DESC, w.row DESC LIMIT %(limit)s",
        values,
    )
    return [Hit(row, told(key), worth / whole) for row, key, worth in found]


async def matching(
    connection: Connection, words: Words | None, which: Filter, after: int, limit: int
) -> list[tuple[int, str]]:
    """(row, key) of all that pass the filter and match, by row number after `after`."""
    condition, values = where(which)
    if words is not None:
        if not words.terms:
            return []
        condition += " AND r.row IN (SELECT w.row FROM words w WHERE w.found @@ %(asked)s::tsquery)"
        values["asked"] = _asked(words, words.terms)
    found = await rows(
        connection,
        f"SELECT r.row, r.key FROM record r WHERE {condition} AND r.row > %(after)s ORDER BY r.row LIMIT %(limit)s",
        {**values, "after": after, "limit": limit},
    )
    return [(row, told(key)) for row, key in found]


def _query(term: Term, *, everywhere: bool) -> str:
    """A `tsquery` of the words of a term, which must follow each other. Stems are letters and digits."""
    weights = "" if everywhere else ":ABC"
    return " <-> ".join(f"'{lexeme(stem)}'{weights}" for stem in stems(" ".join(term)))


def _asked(words: Words, terms: Sequence[Term]) -> str:
    parts = [query for term in terms if (query := _query(term, everywhere=words.everywhere))]
    return (" & " if words.all_of else " | ").join(f"({part})" for part in parts)


def _score(held: Sequence[Held], weights: Sequence[float], words: Words, mean: float) -> _Score:
    """bm25 of the row `w` in hand."""
    score = _Score([], [], {"where": _EVERYWHERE if words.everywhere else _TEXT, "mean": max(mean, 1.0)})
    for i, each in enumerate(held):
        parts = [lexeme(stem) for stem in stems(" ".join(each.term))]
        single = len(parts) == 1
        often = _TIMES if single else _followed(len(parts), i, words)
        score.often.append(f"{often} AS f{i}".replace("TERM", f"%(term{i})s::tsquery"))
        score.values.update({f"part{i}_{number}": part for number, part in enumerate(parts)})
        score.parts.append(f"%(weight{i})s * f{i} / (f{i} + {_K1} * ({1 - _B} + {_B} * w.size / %(mean)s))")
        score.values[f"term{i}"] = _query(each.term, everywhere=single or words.everywhere)
        score.values[f"weight{i}"] = weights[i] * (_K1 + 1)
    return score


def _followed(count: int, number: int, words: Words) -> str:
    """How often the `count` words of a term follow each other."""
    following = (_NEXT.format(place).replace("LEXEME", f"%(part{number}_{place})s") for place in range(1, count))
    text = "w.found" if words.everywhere else "ts_filter(w.found, '{a,b,c}')"
    places = _PLACES.replace("NEXT", " AND ".join(following)).replace("FIRST", f"%(part{number}_0)s")
    return places.replace("TEXT", text)
