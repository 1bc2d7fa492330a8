"""The terms of a question by how many rows hold each: what they weigh, and which of them decide. For every word index
that ranks as FTS5 does."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from aimem.core.text import Term
from aimem.limits import MATCH_ALL_ROWS, MATCH_ROWS_BUDGET, RANKED_ROWS_BUDGET, TERM_COUNTS_KEPT

GROWN = 1.25  # what is counted is counted anew when the store has grown or shrunk by a quarter
_WEIGHT_MIN = 1e-6  # FTS5's own: for words that more than half of all rows hold


class Held(NamedTuple):
    """How many rows hold a term."""

    rows: int
    term: Term


class TermCounts:
    """How many rows hold each term, remembered while the store is about as large as it was."""

    def __init__(self) -> None:
        self._known: OrderedDict[Term, tuple[int, int]] = OrderedDict()

    def known(self, term: Term, total: int) -> int | None:
        """Rows that hold `term`, of about `total`; None when that must be counted."""
        rows, counted_of = self._known.get(term, (0, 0))
        return rows if counted_of and about_as_large(counted_of, total) else None

    def keep(self, term: Term, total: int, rows: int) -> None:
        """Remember what was counted."""
        self._known[term] = (rows, max(total, 1))
        if len(self._known) > TERM_COUNTS_KEPT:
            self._known.popitem(last=False)


def about_as_large(before: int, now: int) -> bool:
    """Whether what was counted of so many rows still tells about the rows of now."""
    return before / GROWN <= now <= before * GROWN


def deciding(held: Sequence[Held], total: int) -> list[Held]:
    """The terms to match by, of all with the rarest first, in a store of about `total` rows. In a small store all; else
    none that more than half of the rows hold, as it weighs nothing; and only while their rows fit the budget. The first
    that any row holds is always among them."""
    if total < MATCH_ALL_ROWS:
        return list(held)
    chosen: list[Held] = []
    found = 0
    for each in held:
        if found and (found + each.rows > MATCH_ROWS_BUDGET or 2 * each.rows > total):
            break
        found += each.rows
        chosen.append(each)
    return chosen


class Promising(NamedTuple):
    """Which rows are ranked of the many that hold one of the terms: all that hold one of the `rare` ones, those that
    hold two of any, and the `newest` so many of those that hold the `last`."""

    rare: list[Term]
    last: Term
    newest: int


def promising(held: Sequence[Held]) -> Promising | None:
    """Of two terms or more, with the rarest first. None where all rows that they find may be ranked."""
    if sum(each.rows for each in held) <= RANKED_ROWS_BUDGET:
        return None
    rare, left = [], RANKED_ROWS_BUDGET
    for each in held:
        if each.rows > left:
            break
        left -= each.rows
        rare.append(each.term)
    return Promising(rare, held[len(rare)].term, left)


def halves(terms: Sequence[Term]) -> list[tuple[Sequence[Term], Sequence[Term]]]:
    """Pairs of groups: what holds two of the terms holds one of each group of some pair."""
    if len(terms) < 2:
        return []
    left, right = terms[: len(terms) // 2], terms[len(terms) // 2 :]
    return [(left, right), *halves(left), *halves(right)]


def weight(rows: int, total: int) -> float:
    """What a word adds to a bm25 score where it occurs once in a text of ordinary length: its inverse document
    frequency, as FTS5 computes it."""
    return max(_WEIGHT_MIN, math.log((max(total, rows) - rows + 0.5) / (rows + 0.5)))
