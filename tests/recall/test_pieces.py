"""Cutting long texts: every length near the borders, and what must hold of all."""

from __future__ import annotations

from itertools import pairwise

import pytest

from aimem.limits import PIECES_MAX
from aimem.recall.pieces import OVERLAP, cut, spans

LENGTH = 254
COVERED = PIECES_MAX * (LENGTH - OVERLAP) + OVERLAP  # the longest text that is read whole


@pytest.mark.parametrize("count", [0, 1, LENGTH - 1, LENGTH])
def test_a_text_that_fits_is_one_piece(count: int) -> None:
    assert spans(count, LENGTH) == [(0, count)]


@pytest.mark.parametrize("count", [255, 256, 400, 476, 477, 1_000, 2_500, COVERED - 1, COVERED])
def test_pieces_cover_the_text_and_overlap(count: int) -> None:
    found = spans(count, LENGTH)
    assert found[0][0] == 0
    assert found[-1][1] == count
    assert all(end - start == LENGTH for start, end in found)
    assert all(right[0] <= left[1] - OVERLAP for left, right in pairwise(found))
    assert 2 <= len(found) <= PIECES_MAX


def test_no_more_pieces_than_needed() -> None:
    assert len(spans(LENGTH + 1, LENGTH)) == 2
    assert len(spans(2 * LENGTH - OVERLAP, LENGTH)) == 2
    assert len(spans(2 * LENGTH - OVERLAP + 1, LENGTH)) == 3


@pytest.mark.parametrize("count", [COVERED + 1, 20_000])
def test_a_longer_text_is_sampled_from_beginning_to_end(count: int) -> None:
    found = spans(count, LENGTH)
    assert len(found) == PIECES_MAX
    assert (found[0][0], found[-1][1]) == (0, count)
    steps = {right[0] - left[0] for left, right in pairwise(found)}
    assert max(steps) - min(steps) <= 1


def test_each_piece_has_its_marks() -> None:
    pieces = cut(range(1_000, 1_300), 256, 101, 102)
    assert [(piece[0], piece[-1], len(piece)) for piece in pieces] == [(101, 102, 256), (101, 102, 256)]
    assert pieces[0][1] == 1_000
    assert pieces[1][-2] == 1_299
    assert cut([], 256, 101, 102) == [[101, 102]]
