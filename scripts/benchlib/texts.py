"""The text of the benchmarks: 60 words, Zipf-distributed over 30,000. The same for the same seed, on every machine."""

from __future__ import annotations

import random
from itertools import accumulate

VOCABULARY = 30_000
WORDS = 60
_SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]


def _word(number: int) -> str:
    """A pronounceable word of its own for every number, so that no stemmer makes two of them one."""
    text = ""
    while True:
        number, at = divmod(number, len(_SYLLABLES))
        text += _SYLLABLES[at]
        if number == 0:
            return text + "x"


class Texts:
    """An endless supply of contents and questions."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = [_word(number) for number in range(VOCABULARY)]
        self._weights = list(accumulate(1 / (rank + 1) for rank in range(VOCABULARY)))

    def content(self, words: int = WORDS) -> str:
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=words))
