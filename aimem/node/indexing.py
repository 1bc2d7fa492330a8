"""Keeps the vector index what the stored vectors say: built from all of them at start, kept up by what is heard.

Building runs beside everything else; until it is done, recall uses words alone. What changes meanwhile is noted and
looked at again afterwards, so nothing is lost. A deleted memory leaves the index before its delete is acknowledged.

A vector counts only while it was made from the text that its memory has now. That is not left to the order of events:
the index keeps a mark of the text behind each row's vectors, a search gives it with the cosine, and whoever uses the
cosine compares it with the memory in hand (`Held.of`).

At its ceiling the index takes in no more. What it leaves out keeps its stored vector, is counted, and is found by
words; the next start tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from aimem.core.kinds import MEMORY, VECTOR
from aimem.core.record import Record, Ref
from aimem.errors import Invalid
from aimem.limits import EMBED_BATCH
from aimem.node.searching import Found, Held, Seen, Sizes
from aimem.recall.block import Mask, Rows
from aimem.recall.index import BLOCK_TABLE_BYTES, VectorIndex
from aimem.recall.signs import Floats
from aimem.recall.vector_record import Many, Vectors, decode, decode_many, mark
from aimem.store.base import Change, Filter, Store, Vector

log = logging.getLogger(__name__)


class Indexing:
    """Owns the vector index. `ready` once it is built."""

    elsewhere = False

    def __init__(
        self,
        store: Store,
        model_id: str,
        dims: int,
        memory_max: int | None = None,
        on_ceiling: Callable[[bool], None] = lambda reached: None,
    ) -> None:
        """`memory_max` in bytes. `on_ceiling` hears when the first row is left out, and when none is any more."""
        self.index = VectorIndex(dims)
        self.left_out: set[int] = set()
        self._memory_max = memory_max
        self._on_ceiling = on_ceiling
        self._store = store
        self._model = model_id
        self._dims = dims
        self._marks = np.zeros(1024, dtype=np.uint64)
        self._put_at = np.zeros(1024, dtype=np.int64)
        self._put_count = 0
        self._changed: dict[str, None] = {}
        self._gone: set[int] | None = set()
        self._news = asyncio.Event()
        self._catching_up = asyncio.Lock()
        self._built = asyncio.Event()
        store.subscribe(self._listen)

    @property
    def ready(self) -> bool:
        """Whether it holds all stored vectors."""
        return self._built.is_set()

    @property
    def sizes(self) -> Sizes:
        """What it takes."""
        return Sizes(len(self.index), self.index.memory_bytes(), len(self.left_out))

    @property
    def backlog(self) -> int:
        """None: what is heard is searched."""
        return 0

    async def search(self, query: Floats, k: int, which: Filter) -> Found:
        """The `k` rows nearest to a vector of length 1 that pass the filter. Beside everything else."""
        allow = await self._allowed(which)
        began = self._put_count
        near, vectors = await asyncio.to_thread(self._search, query, k, allow)
        settled = {row: held for row, held in vectors.items() if self._put_at[row] <= began}
        return Found([each for each in near if each[0] in settled], len(near) == k, self._held(settled))

    async def seen(self, rows: Sequence[int]) -> list[Seen]:
        """See `Searching.seen`. Nothing is put in while it looks."""
        memories = await self._store.by_rows(rows)
        held = self._held(self.index.vectors(rows))
        return [Seen(memory, held.of(memory)) for memory in memories if memory is not None]

    def _held(self, vectors: dict[int, Floats]) -> Held:
        return Held(vectors, {row: int(self._marks[row]) for row in vectors})

    async def recall(self, query: Floats, k: int) -> float:
        """The share of the true `k` nearest that a search finds. Beside everything else."""
        return await asyncio.to_thread(self.index.recall, [query], k)

    async def _allowed(self, which: Filter) -> Rows | None:
        """The rows that pass a filter, or None when nothing but expiry is asked."""
        if which == Filter(which.now):
            return None
        return np.array(await self._store.rows(which), dtype=np.int64)

    def _search(self, query: Floats, k: int, allow: Rows | None) -> tuple[list[tuple[int, float]], dict[int, Floats]]:
        """What is near, and its vectors. Runs in a thread."""
        near = self.index.search(query, k, allow)
        return near, self.index.vectors(row for row, _ in near)

    async def build(self) -> None:
        """Put all stored vectors in, once."""
        if self._gone is not None:
            async with aclosing(_read_ahead(self._store.scan_vectors())) as batches:
                async for batch in batches:
                    await asyncio.to_thread(self._add_batch, batch)
            gone, self._gone = self._gone, None
            for row in gone:
                self.index.remove(row)
        await self.catch_up()
        self._built.set()

    async def run(self) -> None:
        """Keep it up, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.catch_up()

    async def catch_up(self) -> None:
        """Look again at everything that was heard to have changed. Done when it returns, whoever else is at it."""
        async with self._catching_up:
            while self._changed:
                ids = list(self._changed)[:EMBED_BATCH]
                for memory_id in ids:
                    del self._changed[memory_id]
                try:
                    await self._refresh(ids)
                except BaseException:
                    self._changed.update(dict.fromkeys(ids))
                    self._news.set()
                    raise

    async def check(self) -> list[str]:
        """Compare the index, once built, with the stored vectors, while nobody writes. Empty when they agree."""
        await self._built.wait()
        await self.catch_up()
        wrong: list[str] = []
        rows = 0
        async for batch in self._store.scan_vectors():
            held, many = await asyncio.to_thread(self._usable, batch)
            for row, of_text in zip(held.tolist(), many.marks.tolist(), strict=True):
                rows += 1
                if row in self.left_out:
                    continue
                if row not in self.index or int(self._marks[row]) != of_text:
                    wrong.append(f"index: row {row} is missing, or has the vectors of another text")
        if rows != len(self.index) + len(self.left_out):
            wrong.append(f"index: it holds {len(self.index)} rows, the store vectors for {rows}")
        return wrong

    def _add_batch(self, batch: Sequence[Vector]) -> None:
        """Put stored vectors in. Runs in a thread; nothing else adds before the index is built."""
        rows, many = self._usable(batch)
        fitting = self._fitting(rows, many.counts)
        if fitting.any():
            self._set_marks(rows[fitting], many.marks[fitting])
            of_piece = np.repeat(fitting, many.counts)
            self.index.add_many(np.repeat(rows, many.counts)[of_piece], many.pieces[of_piece])

    def _usable(self, batch: Sequence[Vector]) -> tuple[Rows, Many]:
        """Those by this model, and their rows."""
        many = decode_many(
            [vector.body for vector in batch],
            self._model,
            self._dims,
            lambda number, error: _warn(batch[number].memory_id, error),
        )
        return np.array([vector.row for vector in batch], dtype=np.int64)[many.numbers], many

    def _decoded(self, record: Record) -> Vectors | None:
        if record.body.get("model") != self._model:
            return None
        try:
            return decode(record.body, self._dims)
        except Invalid as error:
            _warn(record.key, error)
            return None

    async def _refresh(self, ids: list[str]) -> None:
        """Bring the rows of these memories up to date. What changes during the reads is heard, and looked at again."""
        memories = await self._store.memories(ids)
        stored = await self._store.get([Ref(VECTOR, memory_id) for memory_id in ids])
        for memory_id, memory, vector in zip(ids, memories, stored, strict=True):
            if memory is None or memory.record.key != memory_id or memory_id in self._changed:
                continue
            vectors = self._decoded(vector) if vector is not None and not vector.deleted else None
            if vectors is None:
                self._remove(memory.row)
            elif memory.row not in self.index or self._marks[memory.row] != mark(vectors.text_sha256):
                rows = np.array([memory.row], dtype=np.int64)
                if self._fitting(rows, np.array([len(vectors.pieces)])).all():
                    self._set_marks(rows, np.array([mark(vectors.text_sha256)], dtype=np.uint64))
                    self.index.add(memory.row, vectors.pieces)
                else:
                    self.index.remove(memory.row)  # the vectors of a text that it no longer has

    def _fitting(self, rows: Rows, counts: NDArray[np.intp]) -> Mask:
        """Those, with so many pieces each, for which there is room below the ceiling; the others are left out from now
        on."""
        if self._memory_max is None:
            return np.ones(len(rows), dtype=np.bool_)
        room = self._memory_max - self.index.memory_bytes() - BLOCK_TABLE_BYTES
        fitting = np.cumsum([self.index.row_bytes(count) for count in counts.tolist()]) <= room
        for row in rows[fitting].tolist():
            self._no_longer_left_out(row)
        if not fitting.all():
            first = not self.left_out
            self.left_out.update(rows[~fitting].tolist())
            if first:
                self._on_ceiling(True)
        return fitting

    def _remove(self, row: int) -> None:
        self.index.remove(row)
        self._no_longer_left_out(row)

    def _no_longer_left_out(self, row: int) -> None:
        if row in self.left_out:
            self.left_out.remove(row)
            if not self.left_out:
                self._on_ceiling(False)

    def _set_marks(self, rows: Rows, marks: NDArray[np.uint64]) -> None:
        """Note of which texts the vectors are that are about to be put in."""
        if (last := int(rows.max())) >= len(self._marks):
            room = max(last + 1, 2 * len(self._marks))
            self._marks, self._put_at = np.resize(self._marks, room), np.resize(self._put_at, room)
        self._marks[rows] = marks
        self._put_at[rows] = np.arange(len(rows)) + self._put_count + 1
        self._put_count += len(rows)

    def _listen(self, changes: Sequence[Change]) -> None:
        for change in changes:
            record = change.record
            if record.kind == MEMORY:
                if change.old is None:
                    continue  # a new memory: its vector is heard when it is there
                if not change.visible:
                    self._remove(change.row)
                    if self._gone is not None:
                        self._gone.add(change.row)
            elif record.kind != VECTOR:
                continue
            self._changed[record.key] = None
        if self._changed:
            self._news.set()


async def _read_ahead(batches: AsyncIterator[Sequence[Vector]]) -> AsyncGenerator[Sequence[Vector], None]:
    """The same, the next of them being read while one is used."""
    coming = asyncio.ensure_future(anext(batches, None))
    try:
        while (batch := await coming) is not None:
            coming = asyncio.ensure_future(anext(batches, None))
            yield batch
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def _warn(memory_id: str, error: Invalid) -> None:
    log.warning("the stored vector of memory %s can't be used: %s", memory_id, error)
