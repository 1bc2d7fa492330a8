"""How a shared store searches by vector: a table of cases."""

from __future__ import annotations

import pytest

from aimem.core.searching import EXACT, Search, counted_up_to, exact_of_all, falls_short, plan

CASES = {
    "an empty store": (0, 0, 50, EXACT),
    "few rows in all": (20_000, 20_000, 50, EXACT),
    "all of many": (100_000, 100_000, 50, Search(True, 150, 150)),
    "all of many, the ten nearest": (100_000, 100_000, 10, Search(True, 30, 100)),
    "all of very many": (500_000, 500_000, 10, Search(True, 30, 200)),
    "all of nearly so many": (499_999, 499_999, 10, Search(True, 30, 100)),
    "a namespace of .1 %": (1_000, 1_000_000, 50, EXACT),
    "a namespace of 1 %": (10_000, 1_000_000, 50, EXACT),
    "more than few, and a fair share": (42_000, 1_000_000, 10, Search(True, 30, 200)),
    "more than few, yet a small share": (42_000, 2_000_000, 10, EXACT),
    "a small share too large to compute": (300_000, 20_000_000, 10, Search(True, 30, 200)),
    "more asked for than the server can keep in view": (10**6, 10**6, 800, Search(True, 2_400, 1_000)),
}


@pytest.mark.parametrize(("passing", "total", "k", "expected"), CASES.values(), ids=CASES)
def test_the_way_that_fits(passing: int, total: int, k: int, expected: Search) -> None:
    assert plan(passing, total, k, has_graph=True) == expected


@pytest.mark.parametrize(("passing", "total", "k", "expected"), CASES.values(), ids=CASES)
def test_counting_on_changes_nothing(passing: int, total: int, k: int, expected: Search) -> None:
    assert plan(min(passing, counted_up_to(total) + 1), total, k, has_graph=True) == expected


def test_without_a_graph_all_is_computed() -> None:
    assert plan(10**6, 10**6, 10, has_graph=False) == EXACT


@pytest.mark.parametrize(
    ("search", "found", "short"),
    [
        (Search(True, 30, 100), 9, True),
        (Search(True, 30, 100), 10, False),
        (exact_of_all(10), 9, True),
        (exact_of_all(10), 10, False),
        (EXACT, 9, False),
    ],
)
def test_what_did_not_look_at_all_that_pass_may_fall_short(search: Search, found: int, short: bool) -> None:
    assert falls_short(search, found, 10) == short
