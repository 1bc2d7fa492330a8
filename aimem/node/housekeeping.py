"""What a node does about age: it ends the lives of expired memories, and sweeps what nobody can need any more.

Both in small writes, so that callers never wait behind them, and bounded per round: what is left over waits for the
next. A memory that has expired is hidden from every read at once; its life is ended a grace later, so that an extension
that was given elsewhere can still arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aimem.core import archiving, upkeep
from aimem.core.kinds import DAY_NS
from aimem.core.record import Ref
from aimem.core.timestamp import SECOND_NS
from aimem.errors import AimemError
from aimem.limits import HOUSEKEEPING_BATCH, HOUSEKEEPING_BATCHES_MAX, HOUSEKEEPING_SECS, TOMBSTONE_WAIT_DAYS_MAX
from aimem.node.conditions import DISK_FULL, Conditions
from aimem.node.lane import Fleet, Lane
from aimem.node.metrics import Meters
from aimem.node.settings import NodeSettings
from aimem.node.tally import Tally
from aimem.store.base import Outcome, Store, Written


class Housekeeping:
    """One round every minute."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        conditions: Conditions,
        meters: Meters,
        settings: NodeSettings,
        now: Callable[[], int],
        fleet: Fleet | None,
    ) -> None:
        self._store = store
        self._lane = lane
        self._conditions = conditions
        self._meters = meters
        self._settings = settings
        self._now = now
        self._fleet = fleet

    async def run(self) -> None:
        """Rounds, for ever."""
        while True:
            await self.round()
            await asyncio.sleep(HOUSEKEEPING_SECS)

    async def round(self) -> None:
        """End what has expired, sweep what is old.

        Raises:
            AimemError: the store takes no writes.
        """
        if DISK_FULL in self._conditions:
            await self._lane.write([upkeep.advance({})])  # has somebody made room? else this raises
        await self.collect(self._now() - self._settings.collect_grace_secs * SECOND_NS)
        if (days := self._settings.archive_max_days) is not None:
            await self.purge(self._now() - days * DAY_NS, self._lane)
        await self._sweep()

    async def purge(self, before: int, lane: Lane) -> Tally:
        """Remove from the archive for good what went there before `before` (ns), by way of `lane`."""
        tally, tried = Tally(), set[Ref]()
        while True:
            found = await self._store.archived_before(before, HOUSEKEEPING_BATCH + len(tried))
            refs = [ref for ref in found if ref not in tried]
            if not refs:
                return tally
            outcomes = await lane.write([archiving.purge(*ref, before) for ref in refs])
            tally.add(outcomes)
            tried |= {ref for ref, outcome in zip(refs, outcomes, strict=True) if not _is_done(outcome)}

    async def collect(self, before: int) -> int:
        """End the lives of memories that expired before `before` (ns). How many that were."""
        ended = 0
        for _ in range(HOUSEKEEPING_BATCHES_MAX):
            ids = await self._store.expired(before, HOUSEKEEPING_BATCH)
            if not ids:
                break
            as_archived = self._settings.archive_on_gc
            outcomes = await self._lane.write([upkeep.collect(each, before, as_archived=as_archived) for each in ids])
            for outcome in outcomes:
                if isinstance(outcome, AimemError):
                    raise outcome
                ended += bool(outcome.reply)
            if len(ids) < HOUSEKEEPING_BATCH:
                break
        self._meters.collected.inc(ended)
        return ended

    async def _sweep(self) -> None:
        """Drop tombstones that are old and that every peer has read, or that have waited for one long enough."""
        before = self._now() - self._settings.tombstone_days * DAY_NS
        if self._fleet is None:
            await self._sweep_up_to(before, self._store.head)
            return
        await self._sweep_what_was_read(before, self._fleet.read_by_all())
        long_ago = self._now() - max(self._settings.tombstone_days, TOMBSTONE_WAIT_DAYS_MAX) * DAY_NS
        unread = await self._store.last_tombstone(long_ago)
        if unread and await self._fleet.pass_by(unread, long_ago):
            await self._sweep_up_to(long_ago, unread)
        self._fleet.unswept(await self._store.last_tombstone(before))

    async def _sweep_what_was_read(self, before: int, position: int) -> None:
        """Drop what all have read who are waited for. Of others, such as peers off the list, it is noted first."""
        assert self._fleet is not None
        grave = await self._store.last_tombstone(before)
        if grave and position and not await self._fleet.pass_by(min(grave, position), before):
            return
        await self._sweep_up_to(before, position)

    async def _sweep_up_to(self, before: int, position: int) -> None:
        """Drop tombstones stored before `before` (ns) up to a position of the feed, and what is past its fixed life."""
        for _ in range(HOUSEKEEPING_BATCHES_MAX):
            swept = await self._store.sweep(before, position, self._now(), HOUSEKEEPING_BATCH)
            self._meters.swept.inc(swept.tombstones, what="tombstones")
            self._meters.swept.inc(swept.aged, what="aged")
            if max(swept.tombstones, swept.aged) < HOUSEKEEPING_BATCH:
                return


def _is_done(outcome: Outcome) -> bool:
    return isinstance(outcome, Written) and outcome.reply is True
