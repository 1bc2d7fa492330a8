"""The push lane to one peer: own changes go out at once, and what queues up while one message is under way goes next.
To a peer that no quorum needs they go out at a pace, the first of them at once too.

The lane knows how far the peer has acknowledged the own feed. What was not delivered (the peer was away, or the queue
was over its bound) is a gap: a stretch of the feed. The peer, when it is back, fetches what it misses itself; when it
does not, the lane reads the gap from the feed and pushes it. So memory is bounded, and nothing is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from aimem.core.quorum import Applied, Failed, Outcome, Superseded
from aimem.core.record import Record
from aimem.core.taking import APPLIED, CLOCK_SKEW, REFUSED, SUPERSEDED_BY
from aimem.errors import AimemError, Invalid
from aimem.limits import (
    MESH_BATCH_BYTES,
    MESH_BATCH_RECORDS,
    MESH_GAP_SECS,
    MESH_PACE_SECS,
    MESH_QUEUE_BYTES,
    MESH_SMOOTH,
)
from aimem.mesh.item import Item
from aimem.mesh.messages import POKE, RECORDS, Envelope, record_bytes
from aimem.mesh.peer import Peer, reason_of

log = logging.getLogger(__name__)

Page = tuple[list[Record], int]
"""Own records of a stretch of the feed, and the `seq` that it reached."""
MayHave = Callable[[Sequence[Record]], Awaitable[list[bool]]]
"""Of each record whether the peer may have it."""


class PushLane:
    """See the module. `own_after(seq)` reads the own feed; `head()` is the last `seq` that the mesh was told of."""

    def __init__(
        self,
        peer: Peer,
        own_after: Callable[[int], Awaitable[Page]],
        head: Callable[[], int],
        kept: int,
        timeout: float,
        may_have: MayHave,
    ) -> None:
        self._peer = peer
        self._own_after = own_after
        self._head = head
        self._timeout = timeout
        self._may_have = may_have
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Item] = deque()
        self._queued = 0
        self._in_flight: Sequence[Item] = ()
        self._gap: tuple[int, int] | None = (kept, head()) if kept < head() else None
        self._gap_since = 0.0
        self._poke = False
        self._wake = asyncio.Event()
        self._hurry = False
        self._sent_at = -MESH_PACE_SECS
        self._took = 0.0
        self._paced: asyncio.TimerHandle | None = None

    @property
    def position(self) -> int:
        """Up to which `seq` the peer has all own records."""
        waiting = [item.seq - 1 for item in (*self._in_flight, *self._queue) if item.seq]
        if self._gap is not None:
            waiting.append(max(self._gap[0], min(self._peer.read, self._gap[1])))
        return min(waiting, default=self._head())

    @property
    def waiting(self) -> int:
        """Records in the queue and under way."""
        return len(self._queue) + len(self._in_flight)

    @property
    def gap(self) -> int:
        """Places of the feed that were not delivered and are not fetched yet."""
        return 0 if self._gap is None else self._gap[1] - max(self._gap[0], min(self._peer.read, self._gap[1]))

    @property
    def promise(self) -> tuple[bool, float]:
        """Sorts the lanes by who is likely to answer first: those last whose message has been under way the longest."""
        return (True, -self._sent_at) if self._in_flight else (False, self._took)

    def push(self, item: Item, *, needed: bool = True) -> None:
        """Send a record as soon as the message under way is answered; where it is not `needed`, at the lane's pace."""
        if not self._peer.up:
            self._lose([item], "unreachable")
        elif self._queued + len(item.data) > MESH_QUEUE_BYTES:
            self._lose([item], "timeout")
        else:
            self._queue.append(item)
            self._queued += len(item.data)
            self._hurry = self._hurry or needed
            if not self._in_flight:
                self._go_on()

    def poke(self) -> None:
        """Have the peer catch up at once. Several pokes before the next message are one."""
        self._poke = True
        self._wake.set()

    def came_back(self) -> None:
        """The peer answers again."""
        self._gap_since = self._loop.time()
        if self._gap is not None:
            self._poke = True
        self._wake.set()

    async def run(self) -> None:
        """Send, for ever."""
        while True:
            try:
                async with asyncio.timeout(MESH_GAP_SECS if self._gap is not None else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if not self._peer.up:
                self._poke = False
                continue
            try:
                await self._send_all()
            except AimemError as error:
                log.info("push to %s: %s", self._peer.url, error.message)

    def _due(self) -> bool:
        """Whether something is to go out now."""
        return bool(self._queue) and (self._hurry or self._loop.time() >= self._sent_at + MESH_PACE_SECS)

    def _go_on(self) -> None:
        """Wake the lane for what waits, when it is due."""
        if self._due():
            self._wake.set()
        elif self._queue and self._paced is None:
            self._paced = self._loop.call_at(self._sent_at + MESH_PACE_SECS, self._pace_over)

    def _pace_over(self) -> None:
        self._paced = None
        self._wake.set()

    async def _send_all(self) -> None:
        while self._due():
            await self._send_queued()
        self._go_on()
        if self._poke:
            self._poke = False
            await self._peer.call(POKE, {}, lane="push")
        await self._fill_gap()

    async def _send_queued(self) -> None:
        batch: list[Item] = []
        size = 0
        while self._queue and len(batch) < MESH_BATCH_RECORDS and size < MESH_BATCH_BYTES:
            item = self._queue.popleft()
            batch.append(item)
            size += len(item.data)
        self._queued -= size
        self._in_flight = batch
        self._hurry = False
        self._sent_at = self._loop.time()
        try:
            outcomes = await self._send([item.record for item in batch], [item.data for item in batch])
        except AimemError as error:
            rest = list(self._queue)
            self._queue.clear()
            self._queued = 0
            self._in_flight = ()
            self._lose([*batch, *rest], reason_of(error))
            raise
        self._in_flight = ()
        self._took += (self._loop.time() - self._sent_at - self._took) / MESH_SMOOTH
        for item, outcome in zip(batch, outcomes, strict=True):
            item.heard(self._peer.url, outcome)

    async def _send(self, records: Sequence[Record], encoded: Sequence[bytes]) -> list[Outcome]:
        """Send what the peer may have. What became of each; the others count as refused."""
        allowed = await self._may_have(records)
        sent = [data for data, may in zip(encoded, allowed, strict=True) if may]
        reply = (
            await self._peer.call(RECORDS, {}, lists={"records": sent}, lane="push", timeout=self._timeout)
            if sent
            else {}
        )
        results = reply.get("results", [])
        if not isinstance(results, list) or len(results) != len(sent):
            raise Invalid(f"{self._peer.url} did not say what became of each record")
        identity = self._peer.identity
        assert identity is not None
        told = iter(results)
        return [_outcome(next(told), identity) if may else Failed(REFUSED) for may in allowed]

    def _lose(self, items: Sequence[Item], reason: str) -> None:
        """These were not delivered: whoever waits is told, and the feed holds them."""
        places = [item.seq for item in items if item.seq]
        if places:
            after, until = min(places) - 1, max(places)
            if self._gap is not None:
                after, until = min(after, self._gap[0]), max(until, self._gap[1])
            self._gap = (after, until)
        for item in items:
            item.heard(self._peer.url, Failed(reason))

    async def _fill_gap(self) -> None:
        """Push what was not delivered, unless the peer fetches it."""
        while self._gap is not None and not self._queue:
            after, until = self._gap
            after = max(after, min(self._peer.read, until))
            if after >= until:
                self._gap = None
                return
            since = max(self._gap_since, self._peer.read_at)
            if self._loop.time() < since + MESH_GAP_SECS:
                return
            records, reached = await self._own_after(after)
            if records:
                await self._send(records, [record_bytes(record) for record in records])
            if self._gap is not None:
                self._gap = (reached, max(until, self._gap[1]))


def _outcome(result: object, by: Envelope) -> Outcome:
    match result:
        case str() if result == APPLIED:
            return Applied(by.node, by.rack, by.incarnation)
        case [str(word), str(version)] if word == SUPERSEDED_BY:
            return Superseded(by.node, version, by.rack, by.incarnation)
        case [str(word), str(reason)] if word == REFUSED and reason == CLOCK_SKEW:
            return Failed(CLOCK_SKEW)
    return Failed(REFUSED)
