"""Ranking: from what the words and the vectors found to one order. All weights of recall stand in this file.

Relevance adds to a memory's nearness what its words are worth: the square of the share of the question that it covers.
So one word of three in common counts a ninth and does not bury what is near in meaning, while a memory that holds the
whole question stands out. The best share among the memories beside it in a conversation counts in part.
Gentle factors then move a score by at most `GENTLE_TOTAL`, so they order near ties and can't bury a clear match. The
order is total and depends only on the candidates, not on how they were listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aimem.core.namespace import depth
from aimem.limits import PRIORITY_MAX, PRIORITY_MIN

# The weights, from tests/data/recall (`scripts/bench recall`). Recall@5 / @10 in percent, of the questions for tuning
# and of the held ones, whose topics are others; from the fourth line on, each adds to the one above. Around these
# values the figures hardly move.
#                                                    tune           held
#     words alone                               44.8 / 48.8    49.7 / 51.5
#     vectors alone                             77.0 / 85.3    74.4 / 80.8
#     half words, half cosine over its range    79.8 / 86.9    74.7 / 83.5
#     the cosine, and the square of the share   81.0 / 86.9    77.5 / 83.0
#     what lies beside, and authors by name     81.0 / 87.3    78.7 / 84.4
#     the question bent toward the leaders      83.3 / 88.9    82.2 / 87.0
# All questions among 5,673 texts of documentation (`--crowd`): vectors 72.8 / 79.0, the halves 71.1 / 78.6, this 75.7
# / 81.7. A cube in place of the square, more of the leaders, and the mean vector taken off gave nothing or less.
WORDS_WEIGHT = 0.4  # of the square; a cosine of 1 counts 1, and between a good and a fair match lies some 0.2
WORDS_MAX = 1.5  # of the share: a text that repeats the words of the question often covers no more
BESIDE_WEIGHT = 0.5  # of the best share among the memories beside one, added to its own
BESIDE_REACH = 4  # rows to each side: two to four turns, as vectors may have rows between them
BESIDE_DAYS = 1.0  # created no further apart: one conversation, not the next
NAMED_WEIGHT = 0.04  # the question names the author: of questions about turns, one in a hundred more is found
FEEDBACK_WEIGHT = 0.4  # of the leaders' mean vector, added to the question's: what is like them moves up
FEEDBACK_LEADERS = 2
# The gentle ones are provisional: no set has measured them yet.
TIER_WEIGHT = 0.02
PRIORITY_WEIGHT = 0.02
CONFIDENCE_WEIGHT = 0.02
AGE_WEIGHT = 0.02
GENTLE_TOTAL = TIER_WEIGHT + PRIORITY_WEIGHT + CONFIDENCE_WEIGHT + AGE_WEIGHT
HALF_LIFE_DAYS = (7.0, 30.0, 365.0)  # of the age factor, by tier rank (wire)
DISTANCE_WEIGHT = 0.3  # per level that a memory lies above the namespace that was asked for (wire)

_BEST = 1 + WORDS_WEIGHT * WORDS_MAX**2 + NAMED_WEIGHT


class Candidate(NamedTuple):
    """One memory that words or vectors found.

    `key` is its id and `version` the text of its version: they break ties. `words` is the share of the question's
    weight that it holds, `cosine` its nearness; each is None where that side did not find it or can't judge it.
    `beside` is the best share among its neighbours, `named` whether the question names its author.
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
    beside: float = 0.0
    named: bool = False


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


def leaders(candidates: Sequence[Candidate]) -> list[str]:
    """The ids of the few best, toward which the question is bent before the others are judged."""
    return [each.key for each in rank([each for each in candidates if each.cosine is not None], limit=FEEDBACK_LEADERS)]


def _relevance(candidates: Sequence[Candidate]) -> list[float]:
    """The fused signals, 0 to 1.

    Without vectors words decide, against the best that they found. A candidate that vectors can't judge, because its
    own is not made yet, is taken to be as near among the others as its words are good.
    """
    shares = [each.words or 0.0 for each in candidates]
    best = max(shares, default=0.0)
    by_words = [share / best if best > 0 else 0.0 for share in shares]
    cosines = [max(each.cosine, 0.0) for each in candidates if each.cosine is not None]
    if not cosines:
        return by_words
    low, high = min(cosines), max(cosines)
    fused = []
    for each, share, good in zip(candidates, shares, by_words, strict=True):
        near = low + (high - low) * good if each.cosine is None else max(each.cosine, 0.0)
        said = WORDS_WEIGHT * min(share + BESIDE_WEIGHT * each.beside, WORDS_MAX) ** 2
        fused.append((near + said + NAMED_WEIGHT * each.named) / _BEST)
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
