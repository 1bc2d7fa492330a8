"""Where vectors are searched: in an index that this node keeps, or in a store that searches by itself.

Both answer in one shape. A vector counts only while it was made from the text that its memory has now. That is not left
to the order of events: a search tells of which text each row's vectors speak, and whoever uses the cosine compares this
with the memory in hand (`Found.is_of`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import NamedTuple, Protocol

import numpy as np

from aimem.core.kinds import VECTOR
from aimem.core.text import embedded_text
from aimem.limits import SETTLE_VECTORS_SECS
from aimem.recall.signs import Floats
from aimem.recall.vector_record import mark, text_sha256
from aimem.store.base import Change, Filter, Memory, SearchingStore


class Found(NamedTuple):
    """What a search found: `near`, rows with their cosines, best first, and whether there is `more`; and of these rows
    and the others that it was asked about, the vectors and the marks of the texts that these speak of.

    Rows whose vectors changed meanwhile are left out, since it is not known which ones were measured. `truncated` when
    the search had to end before it had looked everywhere.
    """

    near: list[tuple[int, float]]
    more: bool
    vectors: dict[int, Floats]
    marks: dict[int, int]
    truncated: bool = False

    def is_of(self, memory: Memory) -> bool:
        """Whether what is told of its row speaks of the text that this memory has."""
        known = self.marks.get(memory.row)
        return known is not None and known == mark(text_sha256(embedded_text(memory.record)))


class Sizes(NamedTuple):
    """Rows that a search looks among, bytes of this process that they take, and rows for which there was no room."""

    rows: int
    memory_bytes: int
    left_out: int


Others = Sequence[int] | asyncio.Future[list[int]]
"""Rows beside the nearest whose vectors are wanted: known, or to be known when what looks for them is done."""


async def known(others: Others) -> Sequence[int]:
    """The rows, when they are known."""
    return await others if isinstance(others, asyncio.Future) else others


class Searching(Protocol):
    """Finds the rows nearest to a vector."""

    @property
    def ready(self) -> bool:
        """Whether it finds all stored vectors."""

    @property
    def sizes(self) -> Sizes:
        """What it takes."""

    @property
    def backlog(self) -> int:
        """Stored vectors that a search does not find yet. Those of this node's own writes are counted at once."""

    async def search(self, query: Floats, k: int, which: Filter, others: Others = ()) -> Found:
        """The `k` rows nearest to a vector of length 1 that pass the filter. It may find what expired, or what has
        another text by now."""

    async def recall(self, query: Floats, k: int) -> float | None:
        """The share of the true `k` nearest that a search finds; None where that is not measured."""

    async def build(self) -> None:
        """Get ready, once."""

    async def run(self) -> None:
        """Keep it up, for ever."""

    async def check(self) -> list[str]:
        """Compare it with the stored vectors, while nobody writes. Empty when they agree."""


class InStore:
    """The store searches."""

    ready = True

    def __init__(self, store: SearchingStore, model_id: str) -> None:
        self._store = store
        self._model = model_id
        self._rows = 0
        self._heard = 0  # vectors, since the start
        self._waiting = 0  # of what was heard until then
        self._counted = 0  # what was heard when it was counted

    def heard(self, changes: Sequence[Change]) -> None:
        """A listener of the store: what is written has to be settled."""
        self._heard += sum(change.record.kind == VECTOR and not change.record.deleted for change in changes)

    @property
    def backlog(self) -> int:
        """See `Searching.backlog`: what was counted, and what was heard since."""
        return self._waiting + self._heard - self._counted

    @property
    def sizes(self) -> Sizes:
        """The rows as of the last look; this process keeps none."""
        return Sizes(self._rows, 0, 0)

    async def search(self, query: Floats, k: int, which: Filter, others: Others = ()) -> Found:
        """See `Searching.search`. The server need not wait for the others: while it looks for words, another core of it
        looks for vectors."""
        asked, near = query.tolist(), self._store.nearest
        if isinstance(others, asyncio.Future) and not others.done():
            found, rows = await asyncio.gather(near(asked, self._model, which, k), others)
            if rest := [row for row in rows if row not in found.held]:
                found.held.update((await near(asked, self._model, which, 0, rest)).held)
        else:
            found = await near(asked, self._model, which, k, await known(others))
        numbers = _numbers([held.pieces for held in found.held.values()], len(query))
        vectors = dict(zip(found.held, numbers, strict=True))
        marks = {row: held.mark for row, held in found.held.items()}
        return Found(found.near, found.more, vectors, marks, found.truncated)

    async def recall(self, query: Floats, k: int) -> float | None:
        """Not measured here: exact search of a large store would cost the other nodes."""
        return None

    async def build(self) -> None:
        """There is nothing to build."""

    async def run(self) -> None:
        """Do what writes leave for later, whenever there is some. Every node tries; the store lets one."""
        while True:
            while await self._store.settle_vectors(self._model):
                pass
            heard = self._heard
            self._waiting, self._counted = await self._store.unsettled_vectors(self._model), heard
            self._rows = await self._store.settled_vectors()
            await asyncio.sleep(SETTLE_VECTORS_SECS)

    async def check(self) -> list[str]:
        """The store compares its vectors in its own check."""
        return []


def _numbers(held: Sequence[Sequence[bytes]], dims: int) -> list[Floats]:
    """The vectors of several rows. Together: one by one, a recall took a millisecond longer."""
    if not held:
        return []
    numbers = np.frombuffer(b"".join(chain.from_iterable(held)), dtype="<f2").astype(np.float32).reshape(-1, dims)
    return [numbers[last - len(pieces) : last] for last, pieces in zip(accumulate(map(len, held)), held, strict=True)]
