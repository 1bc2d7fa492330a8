"""Where vectors are searched: in an index that this node keeps, or in a store that searches by itself.

Both answer in one shape. A vector counts only while it was made from the text that its memory has now. That is not left
to the order of events: with the vectors comes of which text they speak, and whoever uses them compares this with the
memory in hand (`Held.of`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple, Protocol

import numpy as np

from aimem.core.kinds import VECTOR
from aimem.core.text import embedded_text
from aimem.limits import SETTLE_VECTORS_SECS
from aimem.recall.signs import Floats
from aimem.recall.vector_record import mark, text_sha256
from aimem.store.base import Change, Filter, Memory, Pieces, SearchingStore


class Held(NamedTuple):
    """By row the vectors that are held, [pieces, dims] each, and the marks of the texts that these speak of."""

    vectors: dict[int, Floats]
    marks: dict[int, int]

    def of(self, memory: Memory) -> Floats | None:
        """The vectors of a memory, if what is held speaks of the text that it has."""
        known = self.marks.get(memory.row)
        spoken_of = known is not None and known == mark(text_sha256(embedded_text(memory.record)))
        return self.vectors[memory.row] if spoken_of else None


class Found(NamedTuple):
    """What a search found: `near`, rows with their cosines, best first; whether there is `more`; what is held of these
    rows; and their memories, where these came with them.

    Rows whose vectors changed meanwhile are left out, since it is not known which ones were measured. `truncated` when
    the search had to end before it had looked everywhere.
    """

    near: list[tuple[int, float]]
    more: bool
    held: Held
    truncated: bool = False
    memories: Sequence[Memory] = ()


class Seen(NamedTuple):
    """A memory, and the vectors of the text that it has; None where there are none yet."""

    memory: Memory
    vectors: Floats | None


class Sizes(NamedTuple):
    """Rows that a search looks among, bytes of this process that they take, and rows for which there was no room."""

    rows: int
    memory_bytes: int
    left_out: int


class Searching(Protocol):
    """Finds the rows nearest to a vector. `elsewhere`: not in this process."""

    elsewhere: bool

    @property
    def ready(self) -> bool:
        """Whether it finds all stored vectors."""

    @property
    def sizes(self) -> Sizes:
        """What it takes."""

    @property
    def backlog(self) -> int:
        """Stored vectors that a search does not find yet. Those of this node's own writes are counted at once."""

    async def search(self, query: Floats, k: int, which: Filter) -> Found:
        """The `k` rows nearest to a vector of length 1 that pass the filter. It may find what expired, or what has
        another text by now."""

    async def seen(self, rows: Sequence[int]) -> list[Seen]:
        """The visible memories under these row numbers."""

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

    ready = elsewhere = True

    def __init__(self, store: SearchingStore, model_id: str, dims: int) -> None:
        self._store = store
        self._model = model_id
        self._dims = dims
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

    async def search(self, query: Floats, k: int, which: Filter) -> Found:
        """See `Searching.search`."""
        found = await self._store.nearest(query.tolist(), self._model, which, k)
        return Found(found.near, found.more, _held(found.held, self._dims), found.truncated, found.memories)

    async def seen(self, rows: Sequence[int]) -> list[Seen]:
        """See `Searching.seen`."""
        memories, pieces = await self._store.with_vectors(rows, self._model)
        held = _held(pieces, self._dims)
        return [Seen(memory, held.of(memory)) for memory in memories if memory is not None]

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


def _held(found: Mapping[int, Pieces], dims: int) -> Held:
    numbers = _numbers([held.pieces for held in found.values()], dims)
    return Held(dict(zip(found, numbers, strict=True)), {row: held.mark for row, held in found.items()})


def _numbers(held: Sequence[Sequence[bytes]], dims: int) -> list[Floats]:
    """The vectors of several rows. Together: one by one, a recall took a millisecond longer."""
    if not held:
        return []
    numbers = np.frombuffer(b"".join(chain.from_iterable(held)), dtype="<f2").astype(np.float32).reshape(-1, dims)
    return [numbers[last - len(pieces) : last] for last, pieces in zip(accumulate(map(len, held)), held, strict=True)]
