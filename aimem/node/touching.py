"""Touches: what recalls do to the memories they return, gathered in memory and written every few seconds.

Reading never writes on its own path: a recall only notes whom it returned. What is noted and not yet written counts
already in whatever this node shows: accesses, the extension of a life, the promotion by use. What a killed process
had gathered is lost, which is a few seconds of counting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from aimem.core import upkeep
from aimem.core.automatic import NEVER, Use, effect_of, settled
from aimem.core.kinds import MEMORY
from aimem.core.memory import TtlConfig
from aimem.core.record import Record
from aimem.core.upkeep import Touched
from aimem.core.wire import memory_json
from aimem.limits import TOUCH_FOLD_BATCH, TOUCH_FOLD_SECS, TOUCHES_WAITING_MAX
from aimem.node.background import wait
from aimem.node.lane import Lane
from aimem.node.metrics import Meters
from aimem.store.base import Change, Memory, Store

_NOTHING = Touched(0, 0)


class Touching:
    """Gathers touches, shows them, and folds them into the store."""

    def __init__(self, store: Store, lane: Lane, meters: Meters, ttl: TtlConfig) -> None:
        self._lane = lane
        self._meters = meters
        self._extension = ttl.extension_ns()
        self._gathered: dict[str, Touched] = {}
        self._folding: dict[str, Touched] = {}
        self._full = asyncio.Event()
        store.subscribe(self._heard)
        meters.gauge("aimem_touches_waiting", "Memories with touches not yet written.", lambda: len(self._gathered))

    def note(self, memories: Iterable[Memory], now: int) -> None:
        """These were returned by a recall at `now` (ns)."""
        for memory in memories:
            key = memory.record.key
            if key not in self._gathered and len(self._gathered) >= TOUCHES_WAITING_MAX:
                self._meters.touches_lost.inc()
                self._full.set()
                continue
            before = self._gathered.get(key, _NOTHING)
            self._gathered[key] = Touched(before.accesses + 1, max(before.last, now))

    def shown(self, record: Record, use: Use) -> dict[str, Any]:
        """A memory as callers see it, with what is gathered counted in. May be called from any thread."""
        for touched in (self._folding.get(record.key), self._gathered.get(record.key)):
            if touched is not None:
                use = self._with(record, use, touched)
        return memory_json(settled(record, use), use)

    def _with(self, record: Record, use: Use, touched: Touched) -> Use:
        """The use that folding will come to (see `upkeep.fold`)."""
        expires = effect_of(record).expires
        until = touched.last + self._extension.get(record.body["tier"], 0)
        extended = until if expires != NEVER and until > expires else 0
        return use._replace(
            accesses=use.accesses + touched.accesses,
            last=max(use.last, touched.last),
            expires=max(use.expires, extended),
        )

    async def run(self) -> None:
        """Fold every few seconds, for ever."""
        while True:
            await wait(self._full, TOUCH_FOLD_SECS)
            self._full.clear()
            await self.fold()

    async def fold(self) -> None:
        """Write what is gathered. What can't be written now stays gathered.

        Raises:
            AimemError: the store takes no writes.
        """
        while self._gathered:
            keys = list(islice(self._gathered, TOUCH_FOLD_BATCH))
            self._folding = {key: self._gathered.pop(key) for key in keys}
            try:
                await self._lane.write(
                    [upkeep.fold(key, touched, self._extension) for key, touched in self._folding.items()]
                )
                self._meters.folded.inc(len(keys))
            except Exception:  # but not when cancelled: the store finishes what it has accepted
                self._put_back()
                raise
            finally:
                self._folding = {}

    def _put_back(self) -> None:
        for key, touched in self._folding.items():
            since = self._gathered.get(key, _NOTHING)
            self._gathered[key] = Touched(touched.accesses + since.accesses, max(touched.last, since.last))

    def _heard(self, changes: Sequence[Change]) -> None:
        """Touches belong to one birth: what was gathered for a memory ends with it."""
        if not self._gathered:
            return
        for change in changes:
            record, old = change.record, change.old
            if record.kind == MEMORY and (record.deleted or old is None or old.born != record.born):
                self._gathered.pop(record.key, None)
