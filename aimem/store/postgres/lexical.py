"""Matching words: which rows a search by words finds, and which of them are ranked.

How common a term is tells `term_statistics`, what a row is worth `bm25`. Both as in SQLite, so that the same question
finds the same memories in every store.

Where any term may match, terms are taken from the rarest on until their rows add up to a budget, and of the rows found
those are ranked that hold two of the terms or a rare one, as in SQLite. The word index finds these by itself within a
millisecond or two; ranking and looking up each of 6,500 rows that hold a term took 55 (at 100,000 rows, idle).

In namespaces that hold few of all rows, these are taken from the index alone (see `namespaces`), and their words are
read; where the words are rarer, only of rows that the word index names too. The server by itself looks each row up
twice, as a record and for its words: in a namespace of 10,000 among a million that took 82 ms, this takes 14 (two busy
cores).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimem.limits import EXACT_SEARCH_ROWS_MAX, RANKED_OF_ONE_WORD, RANKED_UNDER_FILTER
from aimem.store.base import Filter, Hit, Words
from aimem.store.postgres.bm25 import Score, bm25
from aimem.store.postgres.filtering import where
from aimem.store.postgres.nearest import Sizes
from aimem.store.postgres.session import Connection, rows
from aimem.store.postgres.term_statistics import Statistics
from aimem.store.postgres.text import told
from aimem.store.postgres.tsquery import query
from aimem.store.terms import Held, Promising, deciding, halves, promising, weight

_MORE = 1.3  # times as many rows as are wanted of the newest are expected behind the number where they are looked for
_CUT_GROWS = 4  # how many times more ranked rows are looked up when too few of them passed the filter
_WITHIN = "SELECT r.row FROM record r WHERE r.visible AND r.namespace = ANY(%(namespaces)s::text[])"
"""What the index of namespaces tells."""
_OF_BOTH = f"{_WITHIN} INTERSECT SELECT w.row FROM words w WHERE HOLD"
_HOLD_MOST = 3  # times as many rows as are within: to learn the number of one takes 1.3 us, to read its words 4


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
    score = bm25(terms, weights, words, await statistics.mean_size(connection, total))
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

    def __init__(self, connection: Connection, words: Words, held: Sequence[Held], which: Filter, score: Score) -> None:
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
        self._values = {**values, **score.values, "asked": query(words, self._terms)}

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
        two = [f"({query(words, left)}) & ({query(words, right)})" for left, right in halves(self._terms)]
        self._values["few"] = " | ".join([*two, *([query(words, few.rare)] if few.rare else [])])
        if not self.free:
            return self._passing("few")
        self._values["last"] = query(words, [few.last])
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
        values["asked"] = query(words, words.terms)
    found = await rows(
        connection,
        f"SELECT r.row, r.key FROM record r WHERE {condition} AND r.row > %(after)s ORDER BY r.row LIMIT %(limit)s",
        {**values, "after": after, "limit": limit},
    )
    return [(row, told(key)) for row, key in found]
