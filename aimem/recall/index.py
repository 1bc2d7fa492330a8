"""The vector index: which rows lie nearest to a question. In memory, made anew from the stored vectors at every start.

A search narrows down and then computes: each vector's signs, one bit per number, tell roughly how near it is (the count
of equal signs); of the few nearest by signs the exact cosine decides. Among few candidates it computes at once. There
is no graph that could be damaged, adding and removing take constant time, and a filter decides what is a candidate
before anything is cut off.

Vectors lie in blocks, and every block is narrowed down by itself, since each has taken its signs around a mean of its
own (`signs` says why). `recall` measures what that costs; raising `share` buys it back.

A search answers from one state of the index, that of the moment it began: it copies which slot belongs to which row
under the lock, a millisecond for a million rows, and works on without it (`block` says why that is safe).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from aimem.limits import PIECES_MAX
from aimem.recall.block import Block, Mask, Rows
from aimem.recall.signs import Floats, Halves

BLOCK_SLOTS = 65_536  # 53 MB: an index grows by this, and nothing that is there is ever copied to grow
_ROW_BYTES = 4  # in the table of rows
BLOCK_TABLE_BYTES = (8 + _ROW_BYTES) * BLOCK_SLOTS  # which row each of its slots belongs to, and back: taken at once
EXACT_SLOTS_MAX = 20_000  # computing these takes some 2 ms: nothing to gain by narrowing down first
SHARE = 0.02  # of a block's candidates that are computed after narrowing down; `signs` says what that finds
SHORTLIST_MIN = 1_000  # of each block: what was stored together, and last, may hold all that is looked for
_TABLE_MAX = 100_000_000  # flags of one byte for a filter
_NOWHERE = -1
_BATCH = 4_096  # vectors put in under one hold of the lock: some milliseconds


class Candidates(NamedTuple):
    """The slots of one block that a search may find: `rows` as they were when it began, and which of them count."""

    block: Block
    rows: Rows
    mask: Mask


class VectorIndex:
    """Maps rows (small integers that the store gives out, 0 or above) to their vectors, all of length 1.

    A row has one vector per piece of its text and scores by the best of them. Safe to use from several threads; calls
    that change the index wait for each other, searches run beside them and beside each other.
    """

    def __init__(self, dims: int = 384, block_slots: int = BLOCK_SLOTS, exact_slots_max: int = EXACT_SLOTS_MAX) -> None:
        self.share = SHARE
        self._dims = dims
        self._block_slots = block_slots
        self._exact_slots_max = exact_slots_max
        self._lock = threading.Lock()
        self._blocks: list[Block] = []
        self._place_of = np.empty(0, dtype=np.int32)  # by row: its first slot, counted over all blocks
        self._held = 0

    def __len__(self) -> int:
        """Rows held."""
        return self._held

    def __contains__(self, row: int) -> bool:
        return 0 <= row < len(self._place_of) and bool(self._place_of[row] != _NOWHERE)

    def memory_bytes(self) -> int:
        """Bytes in use, the row table included."""
        return sum(block.memory_bytes() for block in self._blocks) + _ROW_BYTES * len(self._place_of)

    def row_bytes(self, pieces: int) -> int:
        """Bytes that a further row of so many vectors takes in all."""
        return pieces * (2 * self._dims + self._dims // 8) + _ROW_BYTES

    def add(self, row: int, vectors: Floats | Halves) -> None:
        """Puts in the vectors of one row, [pieces, dims], in the place of those it had."""
        self.add_many(np.full(len(vectors), row, dtype=np.int64), vectors)

    def add_many(self, rows: Rows, vectors: Floats | Halves) -> None:
        """Puts in many at once: `rows[i]` has `vectors[i]`; the pieces of one row stand side by side."""
        halves = vectors.astype(np.float16, copy=False)
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        if halves.shape != (len(rows), self._dims) or len(np.unique(rows)) != len(starts) or (rows < 0).any():
            raise ValueError("one vector per entry, rows not negative, the pieces of a row side by side")
        if np.diff(starts, append=len(rows)).max(initial=0) > min(PIECES_MAX, self._block_slots):
            raise ValueError(f"a row has at most {PIECES_MAX} vectors")
        done = 0
        while done < len(rows):
            with self._lock:
                number = self._block_with_room(min(PIECES_MAX, len(rows) - done))
                end = _last_border(rows, done + min(self._blocks[number].room, _BATCH))
                self._put(number, rows[done:end], halves[done:end])
            done = end

    def remove(self, row: int) -> bool:
        """Takes a row out; says whether it was there."""
        with self._lock:
            if row not in self:
                return False
            number, self._place_of[row] = int(self._place_of[row]) // self._block_slots, _NOWHERE
            self._held -= 1
            self._blocks[number].erase(row)
            self._compact(number)
            return True

    def search(
        self, query: Floats, k: int, allow: Rows | None = None, *, exact: bool = False
    ) -> list[tuple[int, float]]:
        """The `k` rows nearest to a vector of length 1 with their cosines, best first; `allow` narrows to these rows.

        Fewer than `k` only when there are no more. `exact` computes every candidate, whatever that costs.
        """
        candidates = self._candidates(allow)
        count = sum(int(np.count_nonzero(part.mask)) for part in candidates)
        if count > self._exact_slots_max and not exact:
            share = max(self.share, k * PIECES_MAX / count)
            candidates = [_nearest_by_signs(part, query, share) for part in candidates]
        return _best(candidates, query, k)

    def vectors(self, rows: Iterable[int]) -> dict[int, Floats]:
        """The vectors of these rows, [pieces, dims] each; rows that are not held are left out."""
        with self._lock:
            places = {row: divmod(int(self._place_of[row]), self._block_slots) for row in rows if row in self}
            found = [(row, self._blocks[number], slot) for row, (number, slot) in places.items()]
            slots = [block.slots_from(slot) for _, block, slot in found]
        return {row: block.vectors(held) for (row, block, _), held in zip(found, slots, strict=True)}

    def recall(self, queries: Iterable[Floats], k: int = 10) -> float:
        """The share of the true `k` nearest that searches find, over all queries; 1.0 for an empty index."""
        found = total = 0
        for query in queries:
            truth = {row for row, _ in self.search(query, k, exact=True)}
            found += len(truth.intersection(row for row, _ in self.search(query, k)))
            total += len(truth)
        return found / total if total else 1.0

    def _candidates(self, allow: Rows | None) -> list[Candidates]:
        with self._lock:
            state = [(block, block.rows[: block.used].copy()) for block in self._blocks]
        if allow is None:
            return [Candidates(block, rows, rows >= 0) for block, rows in state]
        allowed = _Allowed(allow)
        return [Candidates(block, rows, (rows >= 0) & allowed.mask(rows)) for block, rows in state]

    def _block_with_room(self, slots: int) -> int:
        """The number of a block with at least so many free slots, the last one first."""
        for number in range(len(self._blocks) - 1, -1, -1):
            if self._blocks[number].room >= slots:
                return number
        self._blocks.append(Block(self._dims, self._block_slots))
        return len(self._blocks) - 1

    def _put(self, number: int, rows: Rows, halves: Halves) -> None:
        """Appends whole rows to one block, then erases what they replace."""
        block = self._blocks[number]
        before = block.used
        block.append(rows, halves)
        self._make_room(int(rows.max()))
        new, starts = np.unique(rows, return_index=True)
        old = self._place_of[new]
        self._place_of[new] = number * self._block_slots + before + starts
        self._held += int(np.count_nonzero(old == _NOWHERE))
        replaced = old != _NOWHERE
        held_by = (old[replaced] // self._block_slots).tolist()
        for row, holder in zip(new[replaced].tolist(), held_by, strict=True):
            self._blocks[holder].erase(row, before if holder == number else None)
        for holder in set(held_by):
            self._compact(holder)

    def _make_room(self, row: int) -> None:
        """Lets the table of rows reach up to this one."""
        if row >= len(self._place_of):
            more = np.full(row + BLOCK_SLOTS - len(self._place_of), _NOWHERE, dtype=np.int32)
            self._place_of = np.append(self._place_of, more)

    def _compact(self, number: int) -> None:
        if self._blocks[number].sparse:
            block = self._blocks[number] = self._blocks[number].compacted()
            rows, starts = np.unique(block.rows[: block.used], return_index=True)
            self._place_of[rows] = number * self._block_slots + starts


def _last_border(rows: Rows, end: int) -> int:
    """The largest border between two rows up to `end`, so that the pieces of one row stay in one block."""
    if end >= len(rows):
        return len(rows)
    while rows[end] == rows[end - 1]:
        end -= 1
    return end


class _Allowed:
    """A set of rows that answers for whole blocks: a table of flags, or a search where that would be too long."""

    def __init__(self, allow: Rows) -> None:
        self._allow = allow
        self._table: Mask | None = None
        last = int(allow.max(initial=-1))
        if last < _TABLE_MAX:
            self._table = np.zeros(last + 2, dtype=np.bool_)  # the last flag stands for all rows beyond
            self._table[allow] = True

    def mask(self, rows: Rows) -> Mask:
        if self._table is None:
            return np.isin(rows, self._allow)
        return self._table.take(rows, mode="clip")


def _nearest_by_signs(part: Candidates, query: Floats, share: float) -> Candidates:
    """This share of a block's candidates, `SHORTLIST_MIN` at least: those with the fewest differing signs, and all that
    tie with the last of them."""
    count = int(np.count_nonzero(part.mask))
    wanted = max(int(np.ceil(count * share)), SHORTLIST_MIN)
    if wanted >= count:
        return part
    distances = part.block.distances(query, len(part.mask))
    limit = np.searchsorted(np.cumsum(np.bincount(distances[part.mask])), wanted)
    return part._replace(mask=part.mask & (distances <= limit))


def _best(candidates: list[Candidates], query: Floats, k: int) -> list[tuple[int, float]]:
    """The best `k` rows by their best vector."""
    if not candidates or k < 1:
        return []
    rows = np.concatenate([part.rows[part.mask] for part in candidates])
    cosines = np.concatenate([part.block.cosines(query, np.flatnonzero(part.mask)) for part in candidates])
    keep = min(k * PIECES_MAX, len(cosines))  # enough for k rows, though each may bring all its pieces
    top = np.argpartition(-cosines, keep - 1)[:keep] if keep else np.array([], dtype=np.intp)
    best: dict[int, float] = {}
    for place in top[np.argsort(-cosines[top], kind="stable")]:
        best.setdefault(int(rows[place]), float(cosines[place]))
    return list(best.items())[:k]
