"""A search by vector in the store, for a recall whose words are still looked for."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

import numpy as np
import pytest

from aimem.errors import StoreUnreachable
from aimem.node.searching import InStore
from aimem.store.base import Filter, Nearest, Pieces
from tests.waiting import PATIENCE_SECS

QUESTION = np.array([1, 0], dtype=np.float32)


class Near:
    """A store in which row 1 is near, with two pieces; row 2 is known by its number alone, and row 3 has no vector."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[int]]] = []
        self.begun = asyncio.Event()

    async def nearest(
        self, question: Sequence[float], model: str, which: Filter, k: int, others: Sequence[int] = ()
    ) -> Nearest:
        self.asked.append((k, list(others)))
        self.begun.set()
        held = {1: Pieces(11, [packed(1, 0), packed(0, 1)])} if k else {}
        held |= {2: Pieces(22, [packed(0.5, 0.5)])} if 2 in others else {}
        return Nearest([(1, 1.0)] if k else [], False, False, held)


def packed(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}e", *numbers)


async def test_it_does_not_wait_for_rows_that_are_not_known_yet() -> None:
    store = Near()

    async def words() -> list[int]:
        async with asyncio.timeout(PATIENCE_SECS):
            await store.begun.wait()
        return [1, 2, 3]

    found = await InStore(store, "m").search(QUESTION, 5, Filter(0), asyncio.ensure_future(words()))  # type: ignore[arg-type]
    assert store.asked == [(5, []), (0, [2, 3])]
    assert found.near == [(1, 1.0)]
    assert {row: vectors.tolist() for row, vectors in found.vectors.items()} == {1: [[1, 0], [0, 1]], 2: [[0.5, 0.5]]}
    assert found.marks == {1: 11, 2: 22}


async def test_rows_that_are_known_are_asked_for_with_the_rest() -> None:
    store = Near()
    done = asyncio.get_running_loop().create_future()
    done.set_result([1, 2])
    for others in ([1, 2], done):
        found = await InStore(store, "m").search(QUESTION, 5, Filter(0), others)  # type: ignore[arg-type]
        assert set(found.vectors) == {1, 2}
    assert store.asked == [(5, [1, 2])] * 2


async def test_words_that_can_not_be_looked_for_fail_the_search() -> None:
    async def words() -> list[int]:
        await asyncio.sleep(0)
        raise StoreUnreachable("gone")

    with pytest.raises(StoreUnreachable):
        await InStore(Near(), "m").search(QUESTION, 5, Filter(0), asyncio.ensure_future(words()))  # type: ignore[arg-type]
