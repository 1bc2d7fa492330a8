"""How near some memories are to a question: their vectors in hand, any number of questions can be asked of them.

A memory has one vector per piece of its text and counts by its best one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from aimem.core.ranking import FEEDBACK_WEIGHT
from aimem.recall.signs import Floats

_DIGITS = 6  # what comes after depends on where a vector stands in the product: equal texts must be equally near


class Nearness:
    """A question and the vectors, [pieces, dims], of memories by row; all of length 1."""

    def __init__(self, question: Floats, vectors: Mapping[int, Floats]) -> None:
        self._question = question
        self._vectors = dict(vectors)
        pieces = list(self._vectors.values())
        self._all = np.concatenate(pieces) if pieces else np.empty((0, len(question)), dtype=np.float32)
        self._starts = np.cumsum([0, *(len(each) for each in pieces[:-1])])

    def cosines(self) -> dict[int, float]:
        """By row, how near each is."""
        return self._cosines(self._question)

    def bent_toward(self, leaders: Iterable[int]) -> dict[int, float]:
        """As `cosines`, of the question moved toward the memories that answer it best: others like them come nearer."""
        best = [max(self._vectors[row], key=self._question.dot) for row in leaders if row in self._vectors]
        if not best:
            return self.cosines()
        moved = self._question + FEEDBACK_WEIGHT * np.mean(best, axis=0)
        return self._cosines(moved / np.linalg.norm(moved))

    def _cosines(self, question: Floats) -> dict[int, float]:
        if not self._vectors:
            return {}
        best = np.maximum.reduceat(self._all @ question, self._starts)
        return {row: round(cosine, _DIGITS) for row, cosine in zip(self._vectors, best.tolist(), strict=True)}
