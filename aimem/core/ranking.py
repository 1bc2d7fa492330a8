"""Ranking: from what the words and the vectors found to one order. All weights of recall stand in this file.

Relevance is the mean of two signals, each scaled to 0..1 over the candidates at hand. Gentle factors then move a score
by at most `GENTLE_TOTAL`, so they order near ties and can't bury a clear match. The order is total and depends only on
the candidates, not on how they were listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aimem.core.namespace import depth
from aimem.limits import PRIORITY_MAX, PRIORITY_MIN

# The weights. Half and half is the best fusion measured on a public set of long conversations (67.5 % recall@10; words
# alone 62.3, vectors alone 48.6). The gentle ones are provisional: no set has measured them yet.
WORDS_WEIGHT = 0.5
VECTORS_WEIGHT = 0.5
TIER_WEIGHT = 0.02
PRIORITY_WEIGHT = 0.02
CONFIDENCE_WEIGHT = 0.02
AGE_WEIGHT = 0.02
GENTLE_TOTAL = TIER_WEIGHT + PRIORITY_WEIGHT + CONFIDENCE_WEIGHT + AGE_WEIGHT
HALF_LIFE_DAYS = (7.0, 30.0, 365.0)  # of the age factor, by tier rank (wire)
DISTANCE_WEIGHT = 0.3  # per level that a memory lies above the namespace that was asked for (wire)


class Candidate(NamedTuple):
    """One memory that words or vectors found.

    `key` is its id and `version` the text of its version: they break ties. `bm25` (higher is better) and `cosine` are
    None where that side did not find it or could not judge it. `age_days` counts from its creation.
    """

    key: str
    version: str
    bm25: float | None
    cosine: float | None
    tier_rank: int
    priority: int
    confidence: float
    age_days: float
    namespace: str = ""


class Ranked(NamedTuple):
    """A memory's id and its score, 0 to 1."""

    key: str
    score: float


def rank(candidates: Sequence[Candidate], *, limit: int, namespace: str | None = None) -> list[Ranked]:
    """The best `limit` candidates, best first; of equal ones the newer, then the smaller id.

    `namespace` is the one that was asked for: with a hierarchy, memories further up count less, before the cut.
    """
    near = None if namespace is None or "/" not in namespace else depth(namespace)
    scored = [
        (relevance * gentle_factor(each) * _proximity(near, each.namespace), each)
        for relevance, each in zip(_relevance(candidates), candidates, strict=True)
    ]
    scored.sort(key=lambda pair: pair[1].key)
    scored.sort(key=lambda pair: (pair[0], pair[1].version), reverse=True)
    return [Ranked(each.key, score) for score, each in scored[: max(limit, 0)]]


def _relevance(candidates: Sequence[Candidate]) -> list[float]:
    """The fused signals, 0 to 1. A side that found nothing at all does not pull the other down."""
    words = _scaled([each.bm25 for each in candidates], from_lowest=False)
    vectors = _scaled([each.cosine for each in candidates], from_lowest=True)
    if vectors is None or words is None:
        return words or vectors or [0.0] * len(candidates)
    return [WORDS_WEIGHT * word + VECTORS_WEIGHT * vector for word, vector in zip(words, vectors, strict=True)]


def _scaled(values: Sequence[float | None], *, from_lowest: bool) -> list[float] | None:
    """Values as shares of the highest, counted from the lowest one or from zero; 0 where there is none. None when no
    candidate has a value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low = min(known) if from_lowest else 0.0
    span = max(known) - low
    if span <= 0:
        return [0.0 if value is None else 1.0 for value in values]
    return [0.0 if value is None else max(0.0, (value - low) / span) for value in values]


def gentle_factor(candidate: Candidate) -> float:
    """Between 1 - GENTLE_TOTAL and 1: the better kept, the more important, surer and younger, the higher."""
    youth: float = 0.5 ** (max(candidate.age_days, 0.0) / HALF_LIFE_DAYS[candidate.tier_rank])
    importance = (candidate.priority - PRIORITY_MIN) / (PRIORITY_MAX - PRIORITY_MIN)
    missed = (
        TIER_WEIGHT * (1 - candidate.tier_rank / 2)
        + PRIORITY_WEIGHT * (1 - importance)
        + CONFIDENCE_WEIGHT * (1 - candidate.confidence)
        + AGE_WEIGHT * (1 - youth)
    )
    return 1 - missed


def _proximity(near: int | None, namespace: str) -> float:
    if near is None or not namespace:
        return 1.0
    return 1 / (1 + DISTANCE_WEIGHT * max(near - depth(namespace), 0))
