"""A block of the vector index: a fixed number of slots, each filled once.

What makes reading safe while another thread writes: the vector of a slot below `used` never changes. So whoever copied
`rows` under the index's lock may compute with the vectors of these slots without it. An erased slot is not filled
again; when a quarter is erased, a `compacted` copy takes the block's place, and a search under way keeps the old one.

Each time a block has grown fourfold, and when it is nearly full, it takes the signs of its vectors anew, around their
mean as it is then: at most some two times the work of taking each once, and no mean is left that most vectors are far
from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimem.limits import PIECES_MAX
from aimem.recall.signs import Floats, Halves, Signs

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

ERASED = -1
_FIRST_MEAN = 1_024  # vectors that a first mean is taken of; a search computes so many of each block anyhow
_GROWTH = 4
_NEARLY_FULL = 15 / 16
_RUN = 1_024  # vectors computed at a time: what they take as float32, 1.5 MB, stays in the processor's cache
_SHIFT, _SIGN_AND_REST = 13, np.int32(-0x70000001)
SCALE = np.float32(2.0**112)


class Block:
    """`rows[i]` is the row of slot i, or `ERASED`; slots from `used` on are free."""

    def __init__(self, dims: int, slots: int) -> None:
        if dims % 64:
            raise ValueError("a vector needs a multiple of 64 numbers: its signs are kept in 64-bit words")
        self.used = 0
        self._dims = dims
        self.rows: Rows = np.full(slots, ERASED, dtype=np.int64)
        self._erased = 0
        self._halves: Halves = np.empty((slots, dims), dtype=np.float16)
        self._signs = Signs(slots, np.zeros(dims, dtype=np.float16))
        self._last_mean = int(slots * _NEARLY_FULL)
        self._next_mean = min(_FIRST_MEAN, self._last_mean)

    @property
    def room(self) -> int:
        """Free slots."""
        return len(self.rows) - self.used

    @property
    def sparse(self) -> bool:
        """So much is erased that a copy without it pays."""
        return self._erased * 4 >= len(self.rows)

    def memory_bytes(self) -> int:
        """Bytes that the used slots take; the rest is asked of the system but not touched."""
        return 8 * len(self.rows) + self.used * (2 * self._dims + self._dims // 8)

    def append(self, rows: Rows, halves: Halves) -> None:
        """Fills the next slots; there must be room."""
        end = self.used + len(rows)
        self._halves[self.used : end] = halves
        if end < self._next_mean:
            self._signs.put(self.used, halves)
        else:
            self._signs = Signs.around_mean(len(self.rows), self._halves[:end])  # in one step: others may be reading
            self._next_mean = min(_GROWTH * end, self._last_mean) if end < self._last_mean else len(self.rows) + 1
        self.rows[self.used : end] = rows
        self.used = end

    def erase(self, row: int, end: int | None = None) -> None:
        """Takes out all slots of a row, or those below `end`."""
        slots = np.flatnonzero(self.rows[: self.used if end is None else end] == row)
        self.rows[slots] = ERASED
        self._erased += len(slots)

    def compacted(self) -> Block:
        """A copy without what is erased."""
        copy = Block(self._dims, len(self.rows))
        live = np.flatnonzero(self.rows[: self.used] != ERASED)
        copy.append(self.rows[live], self._halves[live])
        return copy

    def slots_from(self, slot: int) -> slice:
        """The slots of the row whose first one this is."""
        of_row = self.rows[slot : min(slot + PIECES_MAX, self.used)] == self.rows[slot]
        return slice(slot, slot + (len(of_row) if of_row.all() else int(of_row.argmin())))

    def distances(self, query: Floats, count: int) -> NDArray[np.uint16]:
        """How many signs differ from the query's, for the first `count` slots: roughly how far they are, to be compared
        within the block only."""
        return self._signs.distances(query, count)

    def cosines(self, query: Floats, slots: NDArray[np.intp]) -> Floats:
        """The exact cosines of these slots to the query."""
        scaled = query * SCALE
        cosines = np.empty(len(slots), dtype=np.float32)
        for start in range(0, len(slots), _RUN):
            part = slots[start : start + _RUN]
            cosines[start : start + _RUN] = widened(self._halves.take(part, axis=0)) @ scaled
        return cosines

    def vectors(self, slots: NDArray[np.intp] | slice) -> Floats:
        """The vectors of these slots."""
        return self._halves[slots].astype(np.float32)


def widened(halves: Halves) -> Floats:
    """float16 to float32 divided by `SCALE`, without infinities and NaN: seven times as fast as numpy's conversion.

    The bits are moved to their places in a float32; the exponents keep their smaller bias, hence the factor.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= _SHIFT
    bits &= _SIGN_AND_REST  # the shift copied the sign into the three exponent bits that float16 has not
    return bits.view(np.float32)
