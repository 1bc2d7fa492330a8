"""Catching up with one peer: its feed after our cursor, heads first, bodies only for what is missing here.

The cursor is written down after the records of its page, so a crash between reads the page again. What is bad in a page
is kept aside and told; it never holds up the rest. Runs when poked, when the peer comes back, and every interval.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aimem.core.feed import Cursor, parse_cursor
from aimem.core.record import Record, Ref
from aimem.core.version import parse_version
from aimem.errors import AimemError, Invalid
from aimem.limits import BACKGROUND_RETRY_SECS, MESH_BATCH_RECORDS, MESH_HURRY_SECS, MESH_PAGE_HEADS
from aimem.mesh.in_flight import InFlight
from aimem.mesh.messages import FEED, FETCH, Envelope, list_of, records_of
from aimem.mesh.peer import Peer
from aimem.mesh.repair import Head, Repair, TakeIn
from aimem.mesh.tail import Tail
from aimem.store.base import Store

log = logging.getLogger(__name__)


class Catchup:
    """See the module. `take_in(records, source, progress)` merges what came, and keeps the cursor with it."""

    def __init__(
        self,
        peer: Peer,
        store: Store,
        take_in: TakeIn,
        came_back: Callable[[], None],
        at_the_end: Callable[[Peer, int], Awaitable[None]],
        shares: Callable[[], Awaitable[bool]],
        hurries: Callable[[], bool],
        narrowed: Callable[[str], bool],
        in_flight: InFlight,
        tail: Tail,
        secs: float,
        rand: random.Random,
    ) -> None:
        self._peer = peer
        self._store = store
        self._take_in = take_in
        self._came_back = came_back
        self._at_the_end = at_the_end
        self._shares = shares
        self._hurries = hurries
        self._narrowed = narrowed
        self._in_flight = in_flight
        self._tail = tail
        self._secs = secs
        self._rand = rand
        self.repair = Repair(peer, store, take_in)
        self._cursor: Cursor | None = None
        self._cursor_of: str | None = None
        self._poked = asyncio.Event()
        self.finished = asyncio.Event()
        """Set when the peer's feed was read to its end for the first time since the start."""
        self.rounds = 0
        self.ended_at: float | None = None
        """When (loop time) the peer's feed was last read to its end."""
        self.rows = 0
        self.lag = 0
        """Rows of the peer's feed that are not read yet, as of the last page."""

    def poke(self) -> None:
        """Catch up now."""
        self._poked.set()

    async def run(self) -> None:
        """Catch up, for ever."""
        while self._peer.counts:
            await self._peer.may_try()
            was_up = self._peer.up
            try:
                self._poked.clear()
                await self.once(was_up)
            except AimemError as error:
                log.info("catching up with %s: %s", self._peer.url, error.message)
                if self._peer.up:  # not its fault: the pause after a failure of the peer is its own
                    await asyncio.sleep(BACKGROUND_RETRY_SECS)
                continue
            await self._pause()

    async def _pause(self) -> None:
        secs = self._secs * (0.75 + self._rand.random() / 2) if self._secs else None
        if self._hurries():
            secs = MESH_HURRY_SECS
        try:
            async with asyncio.timeout(secs):
                await self._poked.wait()
        except TimeoutError:
            return

    async def once(self, was_up: bool = True) -> None:
        """Read the peer's feed to its end. Where it speaks for the store of this node, there is nothing to read.

        Raises:
            AimemError: the peer does not answer, or the store takes no writes.
        """
        if self._peer.identity is None or not was_up:
            await self._peer.hello()
            if not self._peer.counts:
                return
            shares = await self._shares()
            self._came_back()
        else:
            shares = await self._shares()
        if shares:
            await self._peer.hello()
            self._ended(0)
            return
        node = self._peer.node
        if self._cursor_of != node or self._store.shared:  # others on this store read that feed too
            self._cursor, self._cursor_of = await self._kept(), node
        while True:
            fields: dict[str, Any] = {"cursor": None if self._cursor is None else str(self._cursor)}
            page = await self._peer.call(FEED, fields, lane="pull")
            if self._peer.node != node:
                raise Invalid(f"{self._peer.url} became another node while its feed was read")
            more = await self._take_page(page)
            if not more:
                break
        floor = page.get("floor")
        await self._at_the_end(self._peer, floor if isinstance(floor, int) else 0)
        if isinstance(digest := page.get("digest"), str) and not self._narrowed(node or ""):
            await self.repair.compare(digest)
        self._ended(self.lag)

    def _ended(self, lag: int) -> None:
        self.lag = lag
        self.ended_at = asyncio.get_running_loop().time()
        self.rounds += 1
        self.finished.set()

    async def _take_page(self, page: dict[str, Any]) -> bool:
        identity = self._peer.identity
        assert identity is not None
        cursor = parse_cursor(page.get("cursor", ""))
        heads = self._heads(list_of(page, "heads", MESH_PAGE_HEADS))
        while missing := await self._missing(heads):
            if mine := self._in_flight.claim(missing):
                try:
                    await self._fetch(mine, identity)
                finally:
                    self._in_flight.release(mine)
            own = set(mine)
            heads = {ref: heads[ref] for ref in missing if ref not in own}
            if not await self._in_flight.settled(heads):
                await self._fetch(await self._missing(heads), identity)
                break
        if progress := self._progress(cursor, identity.node):
            await self._take_in([], identity, progress)
        self._cursor = cursor
        head = page.get("head")
        self.lag = max(0, head - cursor.seq) if isinstance(head, int) else 0
        return page.get("more") is True

    def _heads(self, heads: Sequence[Any]) -> dict[Ref, Head]:
        flat = all(isinstance(head, list) and len(head) == 4 for head in heads)
        if not flat or {type(part) for head in heads for part in head} - {str}:
            raise Invalid(f"{self._peer.url} sent a head that is none")
        return {Ref(kind, key): (version, content) for kind, key, version, content in heads}

    async def _missing(self, heads: Mapping[Ref, Head]) -> list[Ref]:
        """What of a page is not held here, or older."""
        missing: list[Ref] = []
        doubted = {ref: head for ref, head in heads.items() if not self._tail.holds(ref, head)}
        if not doubted:
            return missing
        for (ref, (version, content)), held in zip(doubted.items(), await self._store.get(list(doubted)), strict=True):
            if held is None or (parse_version(version), content) > (held.version, held.hash.hex()[: len(content)]):
                missing.append(ref)
        return missing

    async def _fetch(self, refs: Sequence[Ref], source: Envelope) -> None:
        """Get records and merge them. The next are on their way while those before are written."""
        if not refs:
            return
        coming = asyncio.ensure_future(self._ask_for(refs))
        try:
            while True:
                records, rest = await coming
                if rest:
                    coming = asyncio.ensure_future(self._ask_for(rest))
                self.rows += len(records)
                await self._take_in(records, source, None)
                if not rest:
                    return
        finally:
            coming.cancel()

    async def _ask_for(self, refs: Sequence[Ref]) -> tuple[list[Record | str], Sequence[Ref]]:
        """The first of these records, as many as one message takes, and what is left to ask for."""
        batch = refs[:MESH_BATCH_RECORDS]
        reply = await self._peer.call(FETCH, {"refs": [list(ref) for ref in batch]}, lane="pull")
        records = list_of(reply, "records", MESH_BATCH_RECORDS)
        answered = reply.get("answered")
        if not isinstance(answered, int) or not 0 < answered <= len(batch):
            raise Invalid(f"{self._peer.url} did not say how many records it answered for")
        return records_of(records), refs[answered:]

    def _progress(self, cursor: Cursor, node: str) -> dict[str, int]:
        """What is kept to go on from `cursor` after a restart: nothing when it did not move."""
        if cursor == self._cursor:
            return {}
        forgotten = {} if self._cursor is None else {_name(node, self._cursor): -1}
        return {**forgotten, _name(node, cursor): cursor.seq}

    async def _kept(self) -> Cursor | None:
        """Where to go on: after what was read of this node, or by way of another node of the same store."""
        node = self._peer.node or ""
        store = self._peer.identity.incarnation if self._peer.identity is not None else ""
        found, elsewhere = list[Cursor](), list[Cursor]()
        for name, seq in (await self._store.positions("pull/")).items():
            by, incarnation, start = name.split("/")[1:4]
            if by == node:
                found.append(Cursor(incarnation, start, seq))
            elif incarnation == store:
                elsewhere.append(Cursor(incarnation, start, seq))
        return max(found or elsewhere, key=lambda cursor: cursor.seq, default=None)


def _name(node: str, cursor: Cursor) -> str:
    return f"pull/{node}/{cursor.incarnation}/{cursor.start}"
