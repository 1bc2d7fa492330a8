"""A search by vector in the store."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from aimem.core.automatic import NO_USE
from aimem.core.record import Record
from aimem.core.text import embedded_text
from aimem.node.searching import InStore
from aimem.recall.vector_record import mark, text_sha256
from aimem.store.base import Filter, Memory, Nearest, Pieces
from tests.store.planted import memory

QUESTION = np.array([1, 0], dtype=np.float32)


def packed(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}e", *numbers)


def mark_of(record: Record) -> int:
    return mark(text_sha256(embedded_text(record)))


SAID = [Memory(row, memory(row), NO_USE) for row in (1, 2, 3)]
HELD = {
    1: Pieces(mark_of(SAID[0].record), [packed(1, 0), packed(0, 1)]),
    2: Pieces(mark_of(SAID[1].record) ^ 1, [packed(0.5, 0.5)]),
}


class Near:
    """A store in which row 1 is near, with two pieces; row 2 has the vector of another text, and row 3 none."""

    async def nearest(self, question: Sequence[float], model: str, which: Filter, k: int) -> Nearest:
        return Nearest([(1, 1.0)], False, False, HELD, SAID[:1])

    async def with_vectors(self, rows: Sequence[int], model: str) -> tuple[list[Memory | None], dict[int, Pieces]]:
        return [None if row > 3 else SAID[row - 1] for row in rows], HELD


async def test_vectors_count_for_the_text_that_they_are_of() -> None:
    searching = InStore(Near(), "m", 2)  # type: ignore[arg-type]
    found = await searching.search(QUESTION, 5, Filter(0))
    assert (found.near, found.memories) == ([(1, 1.0)], SAID[:1])
    assert {row: vectors.tolist() for row, vectors in found.held.vectors.items()} == {
        1: [[1, 0], [0, 1]],
        2: [[0.5, 0.5]],
    }
    of = [found.held.of(each) for each in SAID]
    assert [None if each is None else each.tolist() for each in of] == [[[1, 0], [0, 1]], None, None]
    seen = await searching.seen([1, 2, 3, 4])
    assert [each.memory for each in seen] == SAID
    assert [None if each.vectors is None else each.vectors.tolist() for each in seen] == [[[1, 0], [0, 1]], None, None]
