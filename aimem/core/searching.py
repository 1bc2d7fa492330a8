"""How a shared store is to search by vector: the program decides, as the server's own estimates choose wrongly.

A graph (HNSW) finds the nearest of all in few steps. Under a filter it goes on until enough of what it meets passes: it
returns too few, or takes longer than computing every vector that passes, unless a fair share of all does. So few rows,
and a small share, are computed; measured at a million rows (a namespace of 1 %): the graph 21 ms and .92 of the ten
nearest, computing 8 to 25 ms and all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from aimem.limits import EXACT_SEARCH_ROWS_MAX, EXACT_SEARCH_TRIED_MAX

SHARE_MIN = 0.03  # of all rows, from which on a graph meets enough that pass
OVERFETCH = 3  # the graph's own order is roughly right: of so many times what is asked for, the true best are kept
EF_MIN, EF_LARGE, EF_MAX = 100, 200, 1_000  # rows that a graph keeps in view: 1,000 is the server's bound
EF_OF_SEVERAL = 40  # of each of several graphs at least: together they see enough, and more takes twice as long
_LARGE = 500_000  # from here on the smaller view finds under .98 of the ten nearest


class Search(NamedTuple):
    """By `graph` or by computing. `inner`: so many of the nearest are found first, and then it is seen which of them
    pass; 0: all that pass are computed. What the graph finds is put in order anew; it has `ef` rows in view."""

    graph: bool
    inner: int = 0
    ef: int = 0


EXACT = Search(graph=False)


def plan(passing: int, total: int, k: int, *, has_graph: bool) -> Search:
    """How to find `k` of the rows that pass a filter: about `passing` of `total`."""
    if not has_graph or passing <= EXACT_SEARCH_ROWS_MAX:
        return EXACT
    if passing <= EXACT_SEARCH_TRIED_MAX and passing < SHARE_MIN * total:
        return EXACT
    inner = OVERFETCH * k
    return Search(True, inner, min(max(inner, EF_LARGE if total >= _LARGE else EF_MIN), EF_MAX))


def counted_up_to(total: int) -> int:
    """Of more than so many rows that pass, of `total`, it does not matter to `plan` how many more."""
    return max(EXACT_SEARCH_ROWS_MAX, min(EXACT_SEARCH_TRIED_MAX, int(SHARE_MIN * total)))


def exact_of_all(k: int) -> Search:
    """How to find the `k` nearest without a graph where nearly all rows that are computed pass."""
    return Search(graph=False, inner=OVERFETCH * k)


def falls_short(search: Search, found: int, k: int) -> bool:
    """Whether all that pass are to be computed after all: of the nearest, fewer passed than were asked for."""
    return search.inner > 0 and found < k
