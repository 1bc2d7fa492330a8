"""Matching words: the stems that SQLite's index has, scored as FTS5 scores them.

The server's `ts_rank` knows neither how rare a word is nor how long the text: it serves here to tell how often a word
comes. It gives a single word that comes n times 1 + 1/4 + .. + 1/n^2, over the sum of all (pi^2 / 6); what lacks is
about 1 / (n + 1/2), so n is exact when rounded. Words that follow each other are counted place by place.

Where any term may match, terms are taken from the rarest on until their rows add up to a budget, and of the rows found
those are ranked that hold two of the terms or a rare one, as in SQLite. The word index finds these by itself within a
millisecond or two; ranking and looking up each of 6,500 rows that hold a term took 55 (at 100,000 rows, idle). How many
rows have a word is counted while the store is small; beyond, the server's statistics tell it of common words, and only
rare ones are counted.

In namespaces that hold few of all rows, these are taken from the index alone (see `namespaces`), and their words are
read; where the words are rarer, only of rows that the word index names too. The server by itself looks each row up
twice, as a record and for its words: in a namespace of 10,000 among a million that took 82 ms, this takes 14 (two busy
cores).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from aimem.core.text import Term, stems
from aimem.limits import (
    COUNTED_EXACTLY_ROWS,
    EXACT_SEARCH_ROWS_MAX,
    RANKED_OF_ONE_WORD,
    RANKED_UNDER_FILTER,
    TERM_STATISTICS_SECS,
)
from aimem.store.base import Filter, Hit, Words
from aimem.store.postgres.filtering import where
from aimem.store.postgres.nearest import Sizes
from aimem.store.postgres.session import Connection, one, rows
from aimem.store.postgres.text import told
from aimem.store.postgres.words import lexeme
from aimem.store.terms import Held, Promising, TermCounts, about_as_large, deciding, halves, promising, weight

_K1, _B = 1.2, 0.75  # of bm25, as FTS5 has them
_ALL = 1.64493406685  # pi^2 / 6, with the digits that the server has
_TIMES = f"round(1 / ({_ALL} - {_ALL} * ts_rank(%(where)s::float4[], w.found, TERM)) - 0.5)"
_PLACES = (
    "CASE WHEN w.found @@ TERM THEN (SELECT count(*) FROM unnest(TEXT) one, unnest(one.positions) place "
    "WHERE one.lexeme = FIRST AND NEXT) ELSE 0 END"
)
_NEXT = "EXISTS (SELECT 1 FROM unnest(TEXT) other WHERE other.lexeme = LEXEME AND place + {} = ANY(other.positions))"
_MORE = 1.3  # times as many rows as are wanted of the newest are expected behind the number where they are looked for
_CUT_GROWS = 4  # how many times more ranked rows are looked up when too few of them passed the filter
_EVERYWHERE, _TEXT = "{1,1,1,1}", "{0,1,1,1}"  # weights of context, tags, content and title
_WITHIN = "SELECT r.row FROM record r WHERE r.visible AND r.namespace = ANY(%(namespaces)s::text[])"
"""What the index of namespaces tells."""
_OF_BOTH = f"{_WITHIN} INTERSECT SELECT w.row FROM words w WHERE HOLD"
_HOLD_MOST = 3  # times as many rows as are within: to learn the number of one takes 1.3 us, to read its words 4


class Statistics:
    """What is known of the words of the whole store: how many rows each has, and how long a text is."""

    def __init__(self) -> None:
        self._counts = TermCounts(), TermCounts()
        self._common: dict[str, float] = {}
        self._looked: float | None = None
        self._mean = (1.0, 0)
        self.last_row = 0  # the number of the newest row, when the mean was taken

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
            found = await one(connection, f"SELECT avg(size)::float8, (SELECT max(row) FROM words) FROM words {part}")
            mean = float(found[0]) if found and found[0] else 1.0
            self.last_row = found[1] or 0 if found else 0
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
    connection: Connection,
    words: Words,
    which: Filter,
    limit: int,
    statistics: Statistics,
    sizes: Sizes,
    total: int,
) -> list[Hit]:
    """The best lexical matches that pass the filter, best first. `total` is about how many rows there are."""
    if not words.terms or limit < 1:
        return []
    held = sorted(await statistics.count(connection, words.terms, total))
    whole = sum(weight(each.rows, total) for each in held)
    if not words.all_of:
        held = deciding(held, total)
    # As in SQLite: the share is of what words weigh everywhere, and each counts as it weighs where it is looked for.
    terms = [each.term for each in held]
    counted = await statistics.count(connection, terms, total, everywhere=words.everywhere)
    weights = [weight(each.rows, total) for each in counted]
    score = _score(held, weights, words, await statistics.mean_size(connection, total))
    ranking = _Ranking(connection, words, held, which, score)
    ranking.last_row = statistics.last_row
    if ranking.few is not None and not ranking.free:
        passing, found = await sizes.passing(connection, which, total), sum(each.rows for each in held)
        ranking.narrow = passing * found <= RANKED_UNDER_FILTER * total
        if which.namespaces is not None and passing <= EXACT_SEARCH_ROWS_MAX < total:  # they were counted
            ranking.within = _OF_BOTH if found <= _HOLD_MOST * passing else _WITHIN
    best = await ranking.best(limit)
    return [Hit(row, told(key), worth / whole) for row, key, worth in best]


class _Ranking:
    """One ranking: of the rows that hold a term and pass the filter, those that can come out well are ranked."""

    def __init__(
        self, connection: Connection, words: Words, held: Sequence[Held], which: Filter, score: _Score
    ) -> None:
        self._connection = connection
        self._words = words
        self._held = held
        self._terms = [each.term for each in held]
        self.few = None if words.all_of else promising(held)
        self.free = which == Filter(which.now)
        self.last_row = 0  # the number of the newest row, or of one that was it
        self.narrow = False  # so few pass that all that hold a term may be ranked
        self.within = ""  # gives the rows among which to look; HOLD: the words find it
        self._score = score
        self._condition, values = where(which)
        self._values = {**values, **score.values, "asked": _asked(words, self._terms)}

    async def best(self, limit: int) -> list[tuple[Any, ...]]:
        """(row, key, score), best first."""
        if self.few is None or self.narrow:
            return await self._ranked(self._passing("asked"), limit)
        if len(self._terms) == 1:
            return await self._ranked(self._newest("asked", self._held[0], RANKED_OF_ONE_WORD), limit)
        found = await self._ranked(self._promising(self.few), limit)
        return found if len(found) == limit else await self._ranked(self._passing("asked"), limit)

    async def _ranked(self, source: str, limit: int) -> list[tuple[Any, ...]]:
        """The best of the rows of a source. With a filter that nearly all pass (what has expired does not), it is
        applied behind the ranking, to more than are asked for: a look-up costs as much as ranking a row."""
        cut = limit + limit // 4 + 1 if self.free else limit
        while True:
            found = await rows(
                self._connection,
                f"SELECT best.row, r.key, best.score FROM (SELECT w.row, ({' + '.join(self._score.parts)})::float8 "
                f"AS score FROM ({source}) w {self._score.source} ORDER BY score DESC, w.row DESC LIMIT %(cut)s) best "
                f"LEFT JOIN record r ON r.row = best.row AND {self._condition} ORDER BY score DESC, best.row DESC",
                {**self._values, "cut": cut},
            )
            passed = [each for each in found if each[1] is not None]
            if len(passed) >= limit or len(found) < cut:
                return passed[:limit]
            cut *= _CUT_GROWS

    def _passing(self, asked: str) -> str:
        """All rows that a query finds."""
        narrow = "" if self.free else f"JOIN record r ON r.row = w.row AND {self._condition}"
        hold = f"w.found @@ %({asked})s::tsquery"
        if self.within:
            hold = f"w.row = ANY(ARRAY({self.within.replace('HOLD', hold)})) AND {hold}"
        return f"SELECT w.row, w.size, w.found FROM words w {narrow} WHERE {hold}"

    def _newest(self, asked: str, held: Held, most: int) -> str:
        """The newest of the rows that hold a term. Without a filter, of those behind a row number where there should be
        enough, and where there are not, of those before it: to go back through all rows from the last one on took the
        server most of the time of a match."""
        self._values["most"] = most
        source, newest = self._passing(asked), "ORDER BY w.row DESC LIMIT %(most)s"
        if not self.free:
            return f"{source} {newest}"
        self._values["since"] = int(self.last_row * (1 - _MORE * most / max(held.rows, 1)))
        return (
            f"WITH late AS MATERIALIZED ({source} AND w.row > %(since)s::bigint), "
            f"kept AS (SELECT * FROM late w {newest}) SELECT * FROM kept UNION ALL "
            f"({source} AND w.row <= %(since)s::bigint {newest} - (SELECT count(*) FROM kept))"
        )

    def _promising(self, few: Promising) -> str:
        """As SQLite chooses them. Under a filter without the newest that hold another term: finding them may mean
        going through all rows."""
        words = self._words
        two = [f"({_asked(words, left)}) & ({_asked(words, right)})" for left, right in halves(self._terms)]
        self._values["few"] = " | ".join([*two, *([_asked(words, few.rare)] if few.rare else [])])
        if not self.free:
            return self._passing("few")
        self._values["last"] = _asked(words, [few.last])
        newest = self._newest("last", self._held[len(few.rare)], few.newest)
        return f"{self._passing('few')} UNION ALL SELECT * FROM ({newest}) w WHERE NOT w.found @@ %(few)s::tsquery"


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
