"""What is known of the words of the whole store, by which a match is weighed: how many rows hold a term (its document
frequency), and how long a text is on average. Which rows match is a matter of `lexical`.

How many rows have a word is counted while the store is small; beyond, the server's statistics tell it of common words,
and only rare ones are counted. What is known is remembered until the store has another size: it may be a little old.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from aimem.core.text import Term
from aimem.limits import COUNTED_EXACTLY_ROWS, TERM_STATISTICS_SECS
from aimem.store.postgres.session import Connection, one
from aimem.store.postgres.tsquery import term_lexemes, term_query
from aimem.store.terms import Held, TermCounts, about_as_large


class Statistics:
    """What is known, of one store."""

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
            asked = {f"t{i}": term_query(term, everywhere=everywhere) for i, term in enumerate(unknown)}
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
            shares = [self._common.get(each) for each in term_lexemes(term)]
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
