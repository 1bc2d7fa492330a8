"""Cuts a long text's numbers into the parts that the embedding model reads one at a time.

Pure. A text that fits is one piece. A longer one becomes overlapping pieces of full length, so that a sentence cut by
one border stands whole beside it. A text longer than `PIECES_MAX` of them can cover is sampled evenly from its first
word to its last: a memory is found by its best piece, and nothing says that this one stands at the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence

from aimem.limits import PIECES_MAX

OVERLAP = 32  # numbers that two neighbours share, at least: about one sentence


def spans(count: int, length: int) -> list[tuple[int, int]]:
    """(start, end) of each piece of `count` numbers, none longer than `length`, which must exceed the overlap."""
    if count <= length:
        return [(0, count)]
    pieces = min(PIECES_MAX, -(-(count - OVERLAP) // (length - OVERLAP)))
    starts = [index * (count - length) // (pieces - 1) for index in range(pieces)]
    return [(start, start + length) for start in starts]


def cut(numbers: Sequence[int], tokens_max: int, start: int, end: int) -> list[list[int]]:
    """The pieces, each between the model's `start` and `end` marks and never longer than `tokens_max` with them."""
    return [[start, *numbers[first:last], end] for first, last in spans(len(numbers), tokens_max - 2)]
