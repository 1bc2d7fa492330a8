"""Which memories lie beside each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aimem.core.beside import Place, best_beside
from aimem.core.ranking import BESIDE_DAYS, BESIDE_REACH
from aimem.core.timestamp import DAY_SECS, SECOND_NS

DAY_NS = DAY_SECS * SECOND_NS
PLACES = st.dictionaries(
    st.integers(0, 30), st.builds(Place, st.sampled_from(["a", "b"]), st.integers(0, 3).map(lambda day: day * DAY_NS))
)


def test_the_best_of_those_within_reach_counts_and_not_its_own() -> None:
    places = {row: Place("chat", row) for row in range(20)}
    assert best_beside(places, {10: 0.5}) == {
        row: 0.5 for row in range(10 - BESIDE_REACH, 11 + BESIDE_REACH) if row != 10
    }
    assert best_beside(places, {10: 0.5, 11: 0.9})[10] == 0.9
    assert best_beside(places, {10: 0.5, 11: 0.9})[11] == 0.5


def test_another_namespace_or_another_day_is_another_conversation() -> None:
    here = Place("chat", 0)
    late = int(BESIDE_DAYS * DAY_NS)
    assert best_beside({1: here, 2: Place("chat", late)}, {1: 1.0}) == {2: 1.0}
    assert best_beside({1: here, 2: Place("chat", late + 1)}, {1: 1.0}) == {}
    assert best_beside({1: here, 2: Place("other", 0)}, {1: 1.0}) == {}


def test_rows_without_a_place_neither_give_nor_take() -> None:
    assert best_beside({1: Place("chat", 0)}, {2: 1.0}) == {}


@given(PLACES, st.dictionaries(st.integers(0, 30), st.floats(0, 2)))
def test_it_is_what_looking_at_every_pair_gives(places: dict[int, Place], scores: dict[int, float]) -> None:
    def pairs(row: int) -> list[float]:
        return [
            score
            for other, score in scores.items()
            if other in places
            and 0 < abs(other - row) <= BESIDE_REACH
            and places[other].namespace == places[row].namespace
            and abs(places[other].created - places[row].created) <= BESIDE_DAYS * DAY_NS
        ]

    assert best_beside(places, scores) == {row: max(pairs(row)) for row in places if pairs(row)}
