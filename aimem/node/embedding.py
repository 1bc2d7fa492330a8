"""Embedding behind the acknowledgement: every live memory gets the vector of its text, some time after it was stored.

Reads the change feed from where it last got to. That position is kept in the same write as the vectors it stands for,
so a kill at any instant loses no memory and computes at most a batch again. A memory whose stored vector is already
that of its text and of this model is passed over; the position belongs to one model, so another begins anew.
In a fleet a memory is embedded where it was written, and its vector spreads like any record; one that came from
elsewhere waits a minute for it, then whoever sees it without one computes it. Equal versions make doubles harmless.
Of the nodes over one store, one embeds for all: whoever has the lease. The others take over when it ends.
Texts of the next batch are handed to the embedder's threads before the vectors of the last are written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

from aimem.core import upkeep
from aimem.core.automatic import is_archived
from aimem.core.kinds import MEMORY, VECTOR
from aimem.core.record import Record, Ref
from aimem.core.text import embedded_text
from aimem.errors import AimemError
from aimem.limits import CHANGES_BYTES_MAX, EMBED_ADVANCE_EVERY, EMBED_BATCH
from aimem.node.background import wait
from aimem.node.lane import Lane
from aimem.node.leasing import Lease
from aimem.node.metrics import Meters
from aimem.recall.embedder import Matrix
from aimem.recall.pool import EmbedPool
from aimem.recall.vector_record import encode, text_sha256
from aimem.store.base import Change, FeedPage, Store

log = logging.getLogger(__name__)

_BATCHES = 2  # one that is being written, one whose texts keep the threads busy meanwhile


class _Job(NamedTuple):
    """A memory as it was read, its text, and the vectors to come."""

    record: Record
    text: str
    vectors: asyncio.Future[Matrix]


class _Waiting(NamedTuple):
    """A memory from elsewhere: when (loop time) it has waited long enough, and its place in the feed."""

    due: float
    seq: int


class _Batch(NamedTuple):
    """Jobs under way, and the feed position after them."""

    jobs: list[_Job]
    position: int


class Embedding:
    """Works off the backlog, and knows how long it is."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        meters: Meters,
        pool: EmbedPool,
        model_id: str,
        *,
        patience: float = 0.0,
        lease: Lease | None = None,
    ) -> None:
        self._lease = lease
        self._leads = lease is None
        self._patience = patience
        self._origins = frozenset[str]()
        self._waiting: dict[str, _Waiting] = {}
        self._store = store
        self._lane = lane
        self._meters = meters
        self._pool = pool
        self._model = model_id
        self._name = f"embedded:{model_id}"
        self._position = self._kept = 0
        self._unread = 0
        self._heard: list[int] = []
        self._in_hand: list[_Batch] = []
        self._news = asyncio.Event()

    @property
    def backlog(self) -> int:
        """Memories that may still need a vector. Exact near the end; while much is unread, an upper bound."""
        in_hand = sum(len(batch.jobs) for batch in self._in_hand)
        return self._unread + len(self._heard) + in_hand + len(self._waiting)

    async def open(self) -> None:
        """Find out where the last run got to. The backlog is right from here on."""
        self._store.subscribe(self._listen)
        await self._survey()

    async def _survey(self) -> None:
        """Begin at the position that is kept. The backlog is what it was until the new one is known."""
        heard = len(self._heard)
        self._origins = frozenset(start for start, _ in await self._store.starts())
        self._position = self._kept = await self._store.progress(self._name)
        page, missing = await self._look()
        await self._store.hear()  # of the vectors that were there: whoever counts those that searches lack knows them
        self._heard, self._in_hand, self._waiting = self._heard[heard:], [], {}
        unread = min(self._store.head - self._position, self._store.visible)
        self._unread = max(1, unread) if page.more else len(missing)

    async def run(self) -> None:
        """Embed, for ever."""
        while True:
            await self._until_leading()
            more = True
            while more and len(self._in_hand) < _BATCHES:
                more = await self._read() or await self._take_overdue()
            if self._in_hand:
                await self._write(self._in_hand[0])
                del self._in_hand[0]
            else:
                await wait(self._news, self._until_due())

    async def close(self) -> None:
        """Let another node over this store go on at once."""
        if self._lease is not None:
            await self._lease.release()

    async def _until_leading(self) -> None:
        """Until it is this node's turn to embed. What others got to is looked up meanwhile: the backlog is theirs."""
        if self._lease is None:
            return
        while not await self._lease.held():
            self._leads = False
            await self._survey()
            await asyncio.sleep(self._lease.pause)
        if not self._leads:
            self._leads = True
            await self._survey()

    def _until_due(self) -> float | None:
        """Seconds until there is something to do without news: the first memory from elsewhere has waited long enough,
        or the lease is to be renewed. None when there is neither."""
        first = next(iter(self._waiting.values()), None)
        due = [] if first is None else [max(0.0, first.due - asyncio.get_running_loop().time())]
        return min([*due, self._lease.pause] if self._lease is not None else due, default=None)

    async def _take_overdue(self) -> bool:
        """Hand in the texts of memories from elsewhere that have waited long enough. Whether there were any."""
        now = asyncio.get_running_loop().time()
        due = [key for key, waiting in self._waiting.items() if waiting.due <= now][:EMBED_BATCH]
        if not due:
            return False
        records = [each for each in await self._store.get([Ref(MEMORY, key) for key in due]) if each is not None]
        jobs = [self._begin(record) for record in await self._without_vector(records)]
        for key in due:
            self._waiting.pop(key, None)
        self._in_hand.append(_Batch(jobs, self._position))
        return True

    async def _look(self) -> tuple[FeedPage, list[Record]]:
        """The next page of the feed, and what of it needs a vector."""
        page = await self._store.changes(self._position, EMBED_BATCH, CHANGES_BYTES_MAX, (MEMORY,))
        return page, await self._without_vector([record for _, record in page.changes])

    async def _read(self) -> bool:
        """Read on, and hand in the texts that need it. Whether there is more to read."""
        self._news.clear()
        page, missing = await self._look()
        if self._patience and self._lease is not None:  # another node may have opened the store by now
            self._origins = frozenset(start for start, _ in await self._store.starts())
        missing = self._own(page, missing)
        jobs = [self._begin(record) for record in missing]
        later = sum(seq > page.cursor.seq for seq in self._heard)
        self._heard = []
        self._unread = max(1, self._unread + later - len(page.changes)) if page.more else later
        self._position = page.cursor.seq
        if jobs or self._position - self._kept >= (EMBED_ADVANCE_EVERY if self._lease is None else EMBED_BATCH):
            self._in_hand.append(_Batch(jobs, self._position))
        return page.more

    def _own(self, page: FeedPage, missing: Sequence[Record]) -> list[Record]:
        """Those of a page that are to be embedded now; the others wait for the vector of the node that wrote them."""
        if not self._patience:
            return list(missing)
        due = asyncio.get_running_loop().time() + self._patience
        places = {record.key: seq for seq, record in page.changes}
        foreign = {record.key for record in missing if record.version.origin not in self._origins}
        for key in foreign - self._waiting.keys():
            self._waiting[key] = _Waiting(due, places[key])
        return [record for record in missing if record.key not in foreign]

    def _begin(self, record: Record) -> _Job:
        text = embedded_text(record)
        return _Job(record, text, asyncio.wrap_future(self._pool.submit(text)))

    async def _without_vector(self, records: Sequence[Record]) -> list[Record]:
        """The live ones of these memories whose stored vector, if any, is of another text or model."""
        live = [record for record in records if not record.deleted and not is_archived(record)]
        stored = await self._store.get([Ref(VECTOR, record.key) for record in live]) if live else []
        return [record for record, vector in zip(live, stored, strict=True) if not self._is_current(record, vector)]

    def _is_current(self, record: Record, vector: Record | None) -> bool:
        if vector is None or vector.deleted or vector.body.get("model") != self._model:
            return False
        return bool(vector.body.get("text") == text_sha256(embedded_text(record)))

    async def _write(self, batch: _Batch) -> None:
        """Keep the vectors of a batch, and that the feed is worked off so far.

        Raises:
            AimemError: the store takes no writes. The batch stays in hand.
        """
        intents = []
        for job in batch.jobs:
            vectors = await self._vectors(job)
            if vectors is not None:
                body = encode(self._model, job.text, vectors)
                intents.append(upkeep.keep_vector(job.record.key, job.record.version, body))
        # What waits is read again after a restart.
        position = min([batch.position, *(waiting.seq - 1 for waiting in self._waiting.values())])
        outcomes = await self._lane.write([*intents, upkeep.advance({self._name: position})])
        for outcome in outcomes:
            if isinstance(outcome, AimemError):
                raise outcome
            self._meters.embedded.inc(outcome.reply is True)  # not when its memory is gone, or a newer vector stands
        self._kept = batch.position

    async def _vectors(self, job: _Job) -> Matrix | None:
        """The vectors of a job; None when the model can't take its text, which must not stop all others."""
        try:
            return await asyncio.shield(job.vectors)
        except AimemError:
            raise  # the model itself is missing or damaged
        except Exception:
            log.exception("memory %s could not be embedded", job.record.key)
            self._meters.embed_failures.inc()
            return None

    def _listen(self, changes: Sequence[Change]) -> None:
        if self._waiting:
            for change in changes:
                if change.record.kind == VECTOR and not change.record.deleted:
                    self._waiting.pop(change.record.key, None)
        self._heard += [change.seq for change in changes if change.record.kind == MEMORY]
        if len(self._heard) > EMBED_ADVANCE_EVERY:  # nobody reads on at the moment: their number is enough
            self._unread += len(self._heard)
            self._heard = []
        if self.backlog:
            self._news.set()
