"""The side of a node that knows meaning: the model, embedding behind the acknowledgement, and the vector index.

Only the semantic tier has it; nothing of it is imported otherwise, so a node of the keyword tier needs no native
library. Until model and index are there, and whenever the model fails, recall goes on by words.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from aimem.core.automatic import effect_of
from aimem.errors import AimemError
from aimem.limits import (
    EMBED_LEASE_SECS,
    QUESTION_CHARS_EMBEDDED_MAX,
    RECALL_CHECK_EVERY,
    RECALL_CHECKS_KEPT,
)
from aimem.node.background import Background
from aimem.node.conditions import EMBEDDER_FAILED, EMBEDDER_LOADING, INDEX_BUILDING, INDEX_FULL, Conditions
from aimem.node.embedding import Embedding
from aimem.node.indexing import Indexing
from aimem.node.lane import Lane
from aimem.node.leasing import Lease
from aimem.node.metrics import Meters
from aimem.node.searching import InStore, Searching, Seen
from aimem.recall.embedder import Embedder, Matrix
from aimem.recall.nearness import Nearness
from aimem.recall.pool import EmbedPool
from aimem.store.base import Filter, Memory, SearchingStore, Store

log = logging.getLogger(__name__)

_K = 10  # what the checked recall is the recall at
_WIDER = 4  # how much more is asked for when what was found does not count


class Near(NamedTuple):
    """Memories near a question: the `best` with their cosines, best first. `truncated` when the search had to end
    before it had looked everywhere."""

    question: Matrix
    best: list[tuple[Seen, float]]
    truncated: bool = False


class Meaning:
    """Open it before anything is written, close it before the store."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        conditions: Conditions,
        meters: Meters,
        background: Background,
        model: Path,
        now: Callable[[], int],
        *,
        patience: float = 0.0,
        memory_max: int | None = None,
    ) -> None:
        self._embedder = Embedder(model)
        self._pool = EmbedPool(self._embedder)
        self._store = store
        self._conditions = conditions
        self._background = background
        self._now = now
        model_id = self._embedder.model_id
        lease = Lease(store, f"embed:{model_id}", EMBED_LEASE_SECS) if isinstance(store, SearchingStore) else None
        self.embedding = Embedding(store, lane, meters, self._pool, model_id, patience=patience, lease=lease)
        self.searching = self._make_searching(memory_max)
        self.loaded = False
        self._asked = 0
        self._checks: deque[float] = deque(maxlen=RECALL_CHECKS_KEPT)
        self._checking: asyncio.Task[None] | None = None
        meters.gauge("aimem_embedding_backlog", "Memories that wait for their vector.", lambda: self.backlog)
        meters.gauge("ai_memory_hnsw_size", "Rows in the vector index.", lambda: self.searching.sizes.rows)
        meters.gauge("aimem_index_bytes", "Memory of the vector index.", lambda: self.searching.sizes.memory_bytes)
        meters.gauge(
            "aimem_index_left_out",
            "Memories found by words alone: the vector index is at its ceiling.",
            lambda: self.searching.sizes.left_out,
        )
        meters.gauge("aimem_recall_at_10", "Share of the true ten nearest found, by sampled checks.", self.recall_at_10)

    def _make_searching(self, memory_max: int | None) -> Searching:
        if isinstance(self._store, SearchingStore):
            searching = InStore(self._store, self._embedder.model_id, self._embedder.dims)
            self._store.subscribe(searching.heard)
            return searching
        return Indexing(self._store, self._embedder.model_id, self._embedder.dims, memory_max, self._note_ceiling)

    async def open(self) -> None:
        """Start in the background whatever takes long; returns when the backlog is known."""
        await self.embedding.open()
        self._conditions.set(EMBEDDER_LOADING, "the embedding model is being loaded: recall uses words", self._now())
        self._conditions.set(INDEX_BUILDING, "the vector index is being built: recall uses words", self._now())
        self._background.start("embedding", self._load_and_embed)
        self._background.start("indexing", self._index)

    async def close(self) -> None:
        """Let go of the threads. The background is closed before."""
        if self._checking is not None:
            await asyncio.gather(self._checking, return_exceptions=True)
        with suppress(AimemError):  # a lease that can't be given back ends
            await self.embedding.close()
        await asyncio.to_thread(self._pool.close)

    @property
    def ready(self) -> bool:
        """Whether recall goes by meaning."""
        return self.loaded and self.searching.ready

    @property
    def backlog(self) -> int:
        """Memories that wait for their vector, or that this be known to searches."""
        return self.embedding.backlog + self.searching.backlog

    def recall_at_10(self) -> float | None:
        """The mean of the last sampled checks of the index against exact search; None before the first."""
        return sum(self._checks) / len(self._checks) if self._checks else None

    def describe(self) -> dict[str, Any]:
        """What status tells about this side."""
        sizes = self.searching.sizes
        return {
            "model": self._embedder.model_id,
            "dims": self._embedder.dims,
            "loaded": self.loaded,
            "backlog": self.backlog,
            "index_ready": self.searching.ready,
            "index_rows": sizes.rows,
            "index_bytes": sizes.memory_bytes,
            "index_left_out": sizes.left_out,
            "recall_at_10": self.recall_at_10(),
        }

    async def vector_of(self, question: str) -> Matrix | None:
        """The vector of a question; None when the model fails, which is noted as a condition."""
        try:
            vector = await asyncio.wrap_future(self._pool.query(question[:QUESTION_CHARS_EMBEDDED_MAX]))
        except Exception as error:
            log.exception("a question could not be embedded")
            self._conditions.set(EMBEDDER_FAILED, f"the embedding model fails: {error}", self._now())
            return None
        self._conditions.clear(EMBEDDER_FAILED)
        self._sample(vector)
        return vector

    async def near(
        self, vector: Matrix, which: Filter, k: int, at_hand: asyncio.Future[list[Seen]] | None = None
    ) -> Near:
        """The `k` memories nearest to a vector that pass the filter. What is `at_hand` by then is not read again; where
        the search takes this process's time, it begins when that is there: both at once took a tenth more.

        What the index holds and what may not be shown (expired, or its text changed since) takes no place: as long as
        such is found and more is there, more is asked for.
        """
        if at_hand is not None and not self.searching.elsewhere:
            await asyncio.wait([at_hand])
        asked = k
        while True:
            found = await self.searching.search(vector, asked, which)
            seen = at_hand.result() if at_hand is not None and at_hand.done() and not at_hand.exception() else ()
            memories = {each.row: each for each in (*(each.memory for each in seen), *found.memories)}
            missing = [row for row, _ in found.near if row not in memories]
            read = await self._store.by_rows(missing) if missing else ()
            memories |= {memory.row: memory for memory in read if memory is not None}
            near = [(memories[row], cosine) for row, cosine in found.near if row in memories]
            best = [
                (Seen(memory, vectors), cosine)
                for memory, cosine in near
                if _alive(memory, which.now) and (vectors := found.held.of(memory)) is not None
            ]
            if len(best) >= k or not found.more:
                return Near(vector, best[:k], found.truncated)
            asked *= _WIDER

    async def seen(self, rows: Sequence[int]) -> list[Seen]:
        """The visible memories under these row numbers, with their vectors."""
        return await self.searching.seen(rows) if rows else []

    def nearness(self, vector: Matrix, seen: Iterable[Seen]) -> Nearness:
        """How near each of these is to a vector, but for those that have no vectors of their own yet."""
        return Nearness(vector, {memory.row: vectors for memory, vectors in seen if vectors is not None})

    def _sample(self, vector: Matrix) -> None:
        self._asked += 1
        if self.searching.ready and self._asked % RECALL_CHECK_EVERY == 1 and self._checking is None:
            self._checking = asyncio.create_task(self._check(vector), name="aimem-recall-check")

    async def _check(self, vector: Matrix) -> None:
        """Compare what the index finds with what is there, beside everything else."""
        try:
            if (share := await self.searching.recall(vector, _K)) is not None:
                self._checks.append(share)
        finally:
            self._checking = None

    def _note_ceiling(self, reached: bool) -> None:
        """The index left the first row out, or nothing is left out any more."""
        if not reached:
            self._conditions.clear(INDEX_FULL)
            return
        words = "the vector index is at its ceiling (--memory-max): what it has no room for is found by words alone"
        log.warning("%s", words)
        self._conditions.set(INDEX_FULL, words, self._now())

    async def _load_and_embed(self) -> None:
        try:
            await asyncio.to_thread(self._embedder.load)
        except AimemError as error:
            log.error("%s", error)
            self._conditions.clear(EMBEDDER_LOADING)
            self._conditions.set(EMBEDDER_FAILED, f"{error.message}: recall uses words", self._now())
            return
        self.loaded = True
        self._conditions.clear(EMBEDDER_LOADING)
        await self.embedding.run()

    async def _index(self) -> None:
        await self.searching.build()
        self._conditions.clear(INDEX_BUILDING)
        await self.searching.run()


def _alive(memory: Memory, now: int) -> bool:
    return max(effect_of(memory.record).expires, memory.use.expires) > now
