"""Ranking: from what the words and the vectors found to one order. All weights of recall stand in this file.

Relevance is the mean of two signals between 0 and 1: how much of the question's words a memory holds, and how near it
is among the candidates. Gentle factors then move a score by at most `GENTLE_TOTAL`, so they order near ties and can't
bury a clear match. The order is total and depends only on the candidates, not on how they were listed.
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

    `key` is its id and `version` the text of its version: they break ties. `words` is the share of the question's
    weight that it holds, `cosine` its nearness; each is None where that side did not find it or can't judge it.
    `age_days` counts from its creation.
    """

    key: str
    version: str
    words: float | None
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
    """The fused signals, 0 to 1.

    Words count by the share of the question that they cover, so that one rare word in common does not outweigh what is
    near in meaning. A candidate that vectors can't judge, because its own is not made yet, is judged by words alone,
    against the best that words found.
    """
    shares = [each.words or 0.0 for each in candidates]
    best = max(shares, default=0.0)
    cosines = [each.cosine for each in candidates if each.cosine is not None]
    low, high = min(cosines, default=0.0), max(cosines, default=0.0)
    fused = []
    for each, share in zip(candidates, shares, strict=True):
        if each.cosine is None:
            fused.append(share / best if best > 0 else 0.0)
        else:
            near = (each.cosine - low) / (high - low) if high > low else 1.0
            fused.append(WORDS_WEIGHT * share / max(best, 1.0) + VECTORS_WEIGHT * near if best > 0 else near)
    return fused


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
