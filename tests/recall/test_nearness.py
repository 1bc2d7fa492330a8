"""Nearness of memories to a question, and to the question bent toward some of them."""

from __future__ import annotations

import numpy as np
import pytest

from aimem.core.ranking import FEEDBACK_WEIGHT
from aimem.recall.nearness import Nearness
from aimem.recall.signs import Floats


def unit(*numbers: float) -> Floats:
    vector = np.array(numbers, dtype=np.float32)
    return vector / np.linalg.norm(vector)


QUESTION = unit(1, 0, 0)
VECTORS = {
    7: np.stack([unit(0, 0, 1), unit(1, 1, 0)]),
    8: np.stack([unit(0, 1, 0)]),
    9: np.stack([unit(0, 0, 1)]),
}


def test_a_memory_counts_by_its_best_piece() -> None:
    assert Nearness(QUESTION, VECTORS).cosines() == pytest.approx({7: 0.5**0.5, 8: 0.0, 9: 0.0}, abs=1e-6)


def test_what_is_like_the_leaders_best_piece_comes_nearer() -> None:
    bent = Nearness(QUESTION, VECTORS).bent_toward([7])
    moved = unit(*(QUESTION + FEEDBACK_WEIGHT * unit(1, 1, 0)))
    assert bent == pytest.approx({7: float(moved @ unit(1, 1, 0)), 8: float(moved[1]), 9: 0.0}, abs=1e-6)
    assert bent[8] > 0


def test_without_leaders_or_vectors_nothing_is_bent() -> None:
    nearness = Nearness(QUESTION, VECTORS)
    assert nearness.bent_toward([]) == nearness.bent_toward([5]) == nearness.cosines()
    assert Nearness(QUESTION, {}).bent_toward([7]) == {}
