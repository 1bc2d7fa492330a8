"""The index against a dumb one: a dict and a full sort. Then what signs cost, and writers beside readers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aimem.limits import PIECES_MAX
from aimem.recall import index as index_module
from aimem.recall.block import Block
from aimem.recall.index import VectorIndex
from aimem.recall.signs import Signs

DIMS = 64


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


def vectors(seed: int, count: int = 1, dims: int = DIMS) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, dims)))


def brute(held: Mapping[int, np.ndarray], query: np.ndarray, allow: set[int] | None = None) -> list[tuple[int, float]]:
    """Every row allowed, by the best of its vectors as the index keeps them."""
    scores = {
        row: float((pieces.astype(np.float16).astype(np.float32) @ query).max())
        for row, pieces in held.items()
        if allow is None or row in allow
    }
    return sorted(scores.items(), key=lambda item: -item[1])


def assert_same(found: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
    assert [row for row, _ in found] == [row for row, _ in expected]
    assert np.allclose([cosine for _, cosine in found], [cosine for _, cosine in expected], atol=1e-5)


class AgainstBruteForce(RuleBasedStateMachine):
    """Random changes over blocks of 32 slots; after each, searches with and without a filter."""

    def __init__(self) -> None:
        super().__init__()
        self.index = VectorIndex(DIMS, block_slots=32)
        self.held: dict[int, np.ndarray] = {}
        self.seed = 0

    def fresh(self, count: int) -> np.ndarray:
        self.seed += 1
        return vectors(self.seed, count)

    @rule(row=st.integers(0, 40), pieces=st.integers(1, PIECES_MAX))
    def add(self, row: int, pieces: int) -> None:
        self.held[row] = self.fresh(pieces)
        self.index.add(row, self.held[row])

    @rule(rows=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 4)), unique_by=lambda item: item[0], max_size=40))
    def add_many(self, rows: list[tuple[int, int]]) -> None:
        groups = {row: self.fresh(pieces) for row, pieces in rows}
        self.held |= groups
        flat = np.array([row for row, pieces in rows for _ in range(pieces)], dtype=np.int64)
        self.index.add_many(flat, np.concatenate([*groups.values(), np.empty((0, DIMS), np.float32)]))

    @rule(row=st.integers(0, 90))
    def remove(self, row: int) -> None:
        assert self.index.remove(row) == (row in self.held)
        self.held.pop(row, None)

    @rule(allow=st.sets(st.one_of(st.integers(0, 90), st.just(10**12))), k=st.integers(1, 20))
    def search_filtered(self, allow: set[int], k: int) -> None:
        query = self.fresh(1)[0]
        rows = np.array(sorted(allow), dtype=np.int64)
        assert_same(self.index.search(query, k, rows), brute(self.held, query, allow)[:k])

    @invariant()
    def finds_the_same(self) -> None:
        query = self.fresh(1)[0]
        assert len(self.index) == len(self.held)
        assert_same(self.index.search(query, 10), brute(self.held, query)[:10])

    @invariant()
    def space_is_taken_up_again(self) -> None:
        for block in self.index._blocks:
            assert int((block.rows[: block.used] < 0).sum()) < 32 / 4


TestAgainstBruteForce = AgainstBruteForce.TestCase
TestAgainstBruteForce.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def clustered(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points around 500 centres, as texts gather around subjects, and questions of the same kind."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((500, 384))
    points = centres[random.integers(0, 500, count + 50)] + 0.7 * random.standard_normal((count + 50, 384))
    return unit(points[50:]), unit(points[:50])


def test_recall_after_narrowing_down_by_signs() -> None:
    points, queries = clustered(30_000)
    index = VectorIndex(384, block_slots=8_192, exact_slots_max=5_000)
    index.add_many(np.arange(30_000, dtype=np.int64), points)
    assert index.recall(queries) > 0.95
    index.share = 1.0
    assert index.recall(queries) == 1.0


def test_the_filter_comes_before_the_cut() -> None:
    """The allowed rows are the farthest of all: cutting first would lose every one of them."""
    points, queries = clustered(12_000)
    index = VectorIndex(384, exact_slots_max=1_000)
    index.add_many(np.arange(12_000, dtype=np.int64), points)
    for query in queries[:5]:
        order = np.argsort(points @ query)
        few, many = np.sort(order[:300]), np.sort(order[:4_000])
        assert {row for row, _ in index.search(query, 300, few)} == set(few.tolist())
        found = index.search(query, 10, many)
        assert len(found) == 10
        assert {row for row, _ in found} <= set(many.tolist())


def test_empty_and_small() -> None:
    index = VectorIndex(DIMS)
    query = vectors(1)[0]
    assert index.search(query, 10) == []
    assert index.recall([query]) == 1.0
    assert index.memory_bytes() == 0
    index.add(7, query[np.newaxis])
    assert index.search(query, 0) == []
    assert index.search(query, 10, np.array([], dtype=np.int64)) == []
    assert index.search(query, 10)[0][1] == pytest.approx(1, abs=1e-3)
    assert 7 in index
    assert index.memory_bytes() > 0


def test_the_vectors_of_rows_come_back_piece_by_piece() -> None:
    index = VectorIndex(DIMS, block_slots=32)
    given = {row: vectors(1 + row % 3) for row in range(40)}
    for row, pieces in given.items():
        index.add(row, pieces)
    index.remove(4)
    index.add(5, given[6])  # another text
    held = index.vectors([39, 4, 5, 6, 7, 99])
    assert set(held) == {39, 5, 6, 7}
    for row, pieces in {39: given[39], 5: given[6], 6: given[6], 7: given[7]}.items():
        assert np.array_equal(held[row], pieces.astype(np.float16).astype(np.float32))
    assert VectorIndex(DIMS).vectors([1]) == {}


def test_vectors_are_found_again_in_a_block_that_was_compacted() -> None:
    index = VectorIndex(DIMS, block_slots=64)
    given = {row: vectors(1 + row % 3) for row in range(60)}
    for row, pieces in given.items():
        index.add(row, pieces)
    for row in range(0, 60, 2):
        index.remove(row)
    for row in range(1, 60, 6):
        given[row] = vectors(2)
        index.add(row, given[row])
    held = index.vectors(range(60))
    assert set(held) == set(range(1, 60, 2))
    for row, found in held.items():
        assert np.array_equal(found, given[row].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("rows", "shape"),
    [([1, 2, 1], (3, DIMS)), ([-1], (1, DIMS)), ([1], (2, DIMS)), ([1], (1, 128)), (17 * [1], (17, DIMS))],
)
def test_what_does_not_fit_is_refused_whole(rows: list[int], shape: tuple[int, int]) -> None:
    index = VectorIndex(DIMS)
    with pytest.raises(ValueError, match="row"):
        index.add_many(np.array(rows, dtype=np.int64), np.ones(shape, dtype=np.float32))
    assert len(index) == 0


def test_cosines_of_float16_bit_for_bit() -> None:
    """The quick conversion against numpy's: every finite half there is, subnormal ones and both zeros too."""
    every = np.arange(65_536, dtype=np.uint32).astype(np.uint16).view(np.float16)
    halves = every[np.isfinite(every)].reshape(-1, 64)
    block = Block(64, len(halves))
    block.append(np.arange(len(halves)), halves)
    for place in range(64):
        query = np.zeros(64, dtype=np.float32)
        query[place] = 1
        assert np.array_equal(block.cosines(query, np.arange(len(halves))), halves[:, place].astype(np.float32))


def narrow(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Points that all differ little from one direction, in few ways, and questions: like texts of random words."""
    random = np.random.default_rng(seed)
    ways = vectors(seed, 40, dims=384)
    axis = vectors(seed + 1, dims=384)[0]
    points, queries = (unit(random.standard_normal((number, 40)) @ ways) for number in (count, 50))
    return unit(points + 4 * axis), unit(queries + axis)


def test_recall_among_vectors_that_lie_close_together() -> None:
    points, queries = narrow(30_000)
    index = VectorIndex(384, block_slots=32_768, exact_slots_max=5_000)
    for at in range(0, len(points), 500):  # as they come: a block takes new means as it grows
        index.add_many(np.arange(at, at + 500, dtype=np.int64), points[at : at + 500])
    assert index.recall(queries) > 0.95


def test_recall_when_the_subject_changes() -> None:
    """Others follow, around another direction, in the same block: its signs are taken around what it holds then."""
    index = VectorIndex(384, block_slots=40_000, exact_slots_max=5_000)
    points, _ = narrow(2_000)
    index.add_many(np.arange(2_000, dtype=np.int64), points)
    points, queries = narrow(30_000, seed=5)
    index.add_many(np.arange(2_000, 32_000, dtype=np.int64), points)
    assert index.recall(queries) > 0.95


def test_what_is_near_is_found_in_a_small_last_block() -> None:
    """All that is looked for was stored last: the share of a small block alone would hold few of it."""
    points, queries = clustered(9_000)
    index = VectorIndex(384, block_slots=8_192, exact_slots_max=5_000)
    nearest = np.argsort(points @ queries[0])[-500:]
    order = np.concatenate([np.setdiff1d(np.arange(9_000), nearest), nearest])
    index.add_many(np.arange(9_000, dtype=np.int64), points[order])
    found = [row for row, _ in index.search(queries[0], 100)]
    assert found == [row for row, _ in index.search(queries[0], 100, exact=True)]


def test_distances_count_differing_signs() -> None:
    rows = vectors(3, 50)
    query = vectors(4)[0]
    for signs in (Signs(50, np.zeros(DIMS, dtype=np.float16)), Signs.around_mean(50, rows.astype(np.float16))):
        signs.put(0, rows.astype(np.float16))
        centre = signs.centre.astype(np.float32)
        expected = [int(np.count_nonzero((row > centre) != (query > centre))) for row in rows.astype(np.float16)]
        assert signs.distances(query, 50).tolist() == expected
    assert np.abs(centre - rows.mean(axis=0)).max() < 1e-3


def test_a_search_under_way_keeps_what_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is replaced while a search computes is found as it was, not lost between its old and new slots."""
    axes = np.eye(DIMS, dtype=np.float32)
    index = VectorIndex(DIMS, block_slots=32)
    index.add(5, axes[:1])
    best = index_module._best

    def overtaken(*arguments: Any) -> list[tuple[int, float]]:
        index.add(5, axes[1:2])
        return best(*arguments)

    monkeypatch.setattr(index_module, "_best", overtaken)
    assert index.search(axes[0], 1) == [(5, 1.0)]
    monkeypatch.undo()
    assert index.search(axes[0], 1) == [(5, 0.0)]


def test_searches_beside_a_writer_see_whole_states() -> None:
    """The writer replaces rows by vectors of the same direction: a search always finds the row, with its cosine."""
    axes = np.eye(DIMS, dtype=np.float32)
    index = VectorIndex(DIMS, block_slots=128)
    index.add_many(np.arange(DIMS, dtype=np.int64), axes)
    stop = threading.Event()
    wrong: list[tuple[int, list[tuple[int, float]]]] = []

    def read() -> None:
        row = 0
        while not stop.is_set() and not wrong:
            row = (row + 1) % DIMS
            found = index.search(axes[row], 2)
            if found[0] != (row, 1.0) or found[1][1] != 0.0:
                wrong.append((row, found))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(3_000):
            row = turn * 7 % DIMS
            index.add(row, np.repeat(axes[row][np.newaxis], 1 + turn % 3, axis=0))
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert len(index) == DIMS
