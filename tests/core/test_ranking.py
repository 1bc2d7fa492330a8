"""Ranking and token budgets."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.budget import check_budget, estimate_tokens, pack
from aimem.core.ranking import (
    BESIDE_WEIGHT,
    FEEDBACK_LEADERS,
    GENTLE_TOTAL,
    NAMED_WEIGHT,
    WORDS_WEIGHT,
    Candidate,
    gentle_factor,
    leaders,
    rank,
)
from aimem.errors import Invalid, WrongShape


def candidate(key: str, words: float | None = None, cosine: float | None = None, **more: Any) -> Candidate:
    fields = {"version": "v", "tier_rank": 1, "priority": 5, "confidence": 1.0, "age_days": 0.0, **more}
    return Candidate(key=key, words=words, cosine=cosine, **fields)


SIGNAL = st.none() | st.floats(0, 30)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        key=st.uuids().map(str),
        version=st.sampled_from(["1", "2"]),
        words=SIGNAL,
        cosine=st.none() | st.floats(-1, 1),
        tier_rank=st.integers(0, 2),
        priority=st.integers(1, 10),
        confidence=st.floats(0, 1),
        age_days=st.floats(-1, 10_000),
        namespace=st.sampled_from(["a", "a/b", "a/b/c"]),
        beside=st.floats(0, 30),
        named=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each.key,
)


def keys(*candidates: Candidate, limit: int = 10, namespace: str | None = None) -> list[str]:
    return [each.key for each in rank(candidates, limit=limit, namespace=namespace)]


def test_words_count_by_the_square_of_their_share() -> None:
    plain = rank([candidate("vector", None, 0.5)], limit=1)[0].score
    for share in (0.25, 0.5, 1.0, 1.5):
        score = rank([candidate("both", share, 0.5)], limit=1)[0].score
        assert score / plain == pytest.approx(1 + WORDS_WEIGHT * share**2 / 0.5)
    assert rank([candidate("repeats", 9.0, 0.5)], limit=1)[0].score == score


def test_words_that_cover_little_of_the_question_do_not_outweigh_what_is_near() -> None:
    assert keys(candidate("words", 0.3, 0.3), candidate("vector", None, 0.4))[0] == "vector"
    assert keys(candidate("words", 0.9, 0.1), candidate("vector", None, 0.3))[0] == "words"


def test_what_vectors_can_not_judge_yet_is_judged_by_words_alone() -> None:
    assert keys(candidate("fresh", 0.3), candidate("vector", 0.1, 0.4), candidate("far", None, 0.0))[0] == "fresh"
    assert keys(candidate("fresh", 0.1), candidate("vector", 0.3, 0.4), candidate("far", None, 0.0))[0] == "vector"


def test_without_vectors_words_alone_count_against_the_best() -> None:
    factor = gentle_factor(candidate(""))
    assert [each.score / factor for each in rank([candidate("a", 0.4), candidate("b", 0.1)], limit=2)] == [1.0, 0.25]
    assert rank([], limit=10) == []
    assert rank([candidate("a")], limit=1)[0].score == 0.0


def test_the_share_of_a_neighbour_counts_in_part() -> None:
    alone, beside = candidate("alone", 0.5, 0.4), candidate("beside", 0.5, 0.4, beside=0.6)
    assert keys(alone, beside) == ["beside", "alone"]
    same = candidate("same", 0.5 + BESIDE_WEIGHT * 0.6, 0.4)
    assert rank([beside], limit=1)[0].score == rank([same], limit=1)[0].score


def test_an_author_that_the_question_names_comes_before_another() -> None:
    assert (
        keys(candidate("other", None, 0.4), candidate("named", None, 0.4 - 0.9 * NAMED_WEIGHT, named=True))[0]
        == "named"
    )
    assert (
        keys(candidate("other", None, 0.4), candidate("named", None, 0.4 - 1.1 * NAMED_WEIGHT, named=True))[0]
        == "other"
    )


def test_leaders_are_the_best_that_have_a_vector() -> None:
    found = [candidate("a", None, 0.2), candidate("b", None, 0.6), candidate("c", 1.0), candidate("d", 0.9, 0.5)]
    assert leaders(found) == ["d", "b"][:FEEDBACK_LEADERS]
    assert leaders([candidate("c", 1.0)]) == []


@pytest.mark.parametrize(
    "better",
    [{"tier_rank": 2}, {"priority": 6}, {"age_days": 0.0}, {"confidence": 1.0}],
    ids=lambda each: next(iter(each)),
)
def test_gentle_factors_order_equals(better: dict[str, Any]) -> None:
    plain = {"age_days": 9.0, "confidence": 0.9}
    assert keys(candidate("a", 1.0, **plain), candidate("b", 1.0, **{**plain, **better})) == ["b", "a"]


def test_gentle_factors_do_not_bury_a_clear_match() -> None:
    clear = candidate("clear", 10.0, tier_rank=0, priority=1, confidence=0.0, age_days=9_999)
    weak = candidate("weak", 10.0 * (1 - GENTLE_TOTAL) - 0.01, tier_rank=2, priority=10)
    assert keys(weak, clear) == ["clear", "weak"]


def test_ties_go_to_the_newer_then_to_the_smaller_id() -> None:
    assert keys(candidate("b", 1.0), candidate("c", 1.0, version="w"), candidate("a", 1.0)) == ["c", "a", "b"]


def test_proximity_counts_before_the_cut() -> None:
    """B-20."""
    far = candidate("far", 10.0, namespace="a")
    near = candidate("near", 9.0, namespace="a/b")
    assert keys(far, near, limit=1) == ["far"]
    assert keys(far, near, limit=1, namespace="a/b") == ["near"]
    assert keys(far, near, limit=1, namespace="a") == ["far"]
    assert rank([far], limit=1, namespace="a/b/c")[0].score == pytest.approx(gentle_factor(far) / 1.6)


@given(CANDIDATES, st.randoms(use_true_random=False), st.integers(0, 12))
def test_order_is_total_and_scores_are_shares(candidates: list[Candidate], dice: Any, limit: int) -> None:
    ranked = rank(candidates, limit=limit, namespace="a/b")
    shuffled = list(candidates)
    dice.shuffle(shuffled)
    assert rank(shuffled, limit=limit, namespace="a/b") == ranked
    assert len(ranked) == min(limit, len(candidates))
    scores = [each.score for each in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert rank(candidates, limit=99, namespace="a/b")[:limit] == ranked


@given(CANDIDATES)
def test_gentle_factor_is_bounded(candidates: list[Candidate]) -> None:
    for each in candidates:
        factor = gentle_factor(each)
        assert factor + 1e-12 >= 1 - GENTLE_TOTAL
        assert factor <= 1


@pytest.mark.parametrize(
    ("title", "content", "tokens"),
    [
        ("Gate stuck", "Gate 3 in the harbour is stuck half open.", 12),
        ("Pump check", "Pump 3 replaced.", 6),
        ("", "", 0),
        ("", "abc", 0),
        ("", "abcd", 1),
        ("日本", "東京タワー", 7),
        ("", "Привет", 3),
        ("", "😀😀", 4),
        ("", "ab\ud800", 1),
    ],
)
def test_token_estimate(title: str, content: str, tokens: int) -> None:
    assert estimate_tokens(title, content) == tokens


@given(st.text())
def test_token_estimate_counts_by_length_in_utf8(text: str) -> None:
    weight = {1: 1, 2: 2, 3: 4, 4: 8}
    assert estimate_tokens("", text) == sum(weight[len(each.encode())] for each in text) // 4


@pytest.mark.parametrize(
    ("costs", "budget", "kept", "used", "dropped", "overflows"),
    [
        ([], 10, [], 0, 0, False),
        ([5, 5], None, [0, 1], 10, 0, False),
        ([5, 5], 10, [0, 1], 10, 0, False),
        ([5, 6], 10, [0], 5, 1, False),
        ([11, 4, 7, 6], 10, [1, 3], 10, 2, False),
        ([11, 12], 10, [0], 11, 1, True),
        ([0, 11], 1, [0], 0, 1, False),
    ],
)
def test_pack(costs: list[int], budget: int | None, kept: list[int], used: int, dropped: int, overflows: bool) -> None:
    assert pack(costs, budget) == (kept, used, dropped, overflows)


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 100))
def test_pack_always(costs: list[int], budget: int) -> None:
    packed = pack(costs, budget)
    assert packed.kept == sorted(packed.kept)
    assert packed.used == sum(costs[at] for at in packed.kept)
    assert len(packed.kept) + packed.dropped == len(costs)
    assert bool(packed.kept) == bool(costs)
    assert packed.overflows == (packed.used > budget) == bool(costs and min(costs) > budget)
    left = math.inf if packed.overflows else budget - packed.used
    assert packed.overflows or all(costs[at] > left for at in range(len(costs)) if at not in packed.kept)


def test_budget_of_a_request() -> None:
    assert check_budget(None) is None
    assert check_budget(1) == 1
    for value in (0, -1):
        with pytest.raises(Invalid, match=f"budget_tokens is {value}; at least 1"):
            check_budget(value)
    wrongs: list[Any] = ["1", 1.0, True, []]
    for wrong in wrongs:
        with pytest.raises(WrongShape, match="budget_tokens must be an integer"):
            check_budget(wrong)
