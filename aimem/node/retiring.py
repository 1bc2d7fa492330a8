"""What takes memories out of sight many at a time: forget, consolidate, and ending what has expired on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aimem.core import archiving, writes
from aimem.core.archiving import FORGOTTEN
from aimem.core.consolidating import clean_consolidation, consolidate
from aimem.core.intent import Intent
from aimem.core.links import without_links
from aimem.core.text import recall_terms
from aimem.core.writes import Answer, Stored, answered
from aimem.errors import Denied, Invalid
from aimem.limits import FORGET_BATCH
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.housekeeping import Housekeeping
from aimem.node.lane import CallersLane, Lane
from aimem.node.parameters import Parameters
from aimem.node.tally import Tally
from aimem.store.base import Filter, Store, Words

_CRITERIA = ("namespace", "pattern", "tier")


class Retiring:
    """Forget, consolidate, gc."""

    def __init__(
        self, store: Store, lane: CallersLane, housekeeping: Housekeeping, *, keep: bool, now: Callable[[], int]
    ) -> None:
        self._store = store
        self._lane = lane
        self._housekeeping = housekeeping
        self._keep = keep
        self._now = now

    async def forget(self, params: Parameters, caller: Caller) -> Answer:
        """Archive (or delete, where nothing is archived) all memories of a namespace, of a tier, or that hold any word
        of `pattern`; all that are given must hold: 200."""
        lane = self._lane.of(caller)
        if not any(params.get(name) for name in _CRITERIA):
            raise Invalid(f"forget needs at least one of {', '.join(_CRITERIA)}")
        which = parameters.memory_filter({name: params.get(name) for name in ("namespace", "tier")}, self._now())
        pattern = parameters.text(params, "pattern")
        words = None if pattern is None else Words(recall_terms(pattern), everywhere=False)
        if caller.reach is not None and not all(map(caller.reach.covers, which.namespaces or ())):
            raise Denied(f"this certificate or key may not forget in namespace {params['namespace']}")
        tally = await self._forget(lane, words, replace(which, now=0, reach=caller.reach))
        return Answer(tally.status(), {"deleted": tally.done, **tally.fields()})

    async def _forget(self, lane: Lane, words: Words | None, which: Filter) -> Tally:
        """Expired memories are forgotten too. Each page is read after the one before it was written."""
        after, tally = 0, Tally()
        while found := await self._store.matching(words, which, after, FORGET_BATCH):
            after = found[-1][0]
            tally.add(await lane.write([self._gone(each) for _, each in found]))
        return tally

    def _gone(self, memory_id: str) -> Intent:
        if self._keep:
            return archiving.archive(memory_id, FORGOTTEN)
        return without_links(writes.delete(memory_id))

    async def consolidate(self, raw: Any, caller: Caller) -> Answer:
        """Make one memory of several: 201."""
        ids, fields = clean_consolidation(raw, caller.claim(), caller.anonymous())
        caller.speaking(fields["agent_id"])
        intent = consolidate(ids, fields, keep_sources=self._keep)
        if not self._keep:
            intent = without_links(intent)
        once = caller.once("consolidate", None, raw)
        answer: Answer = await self._lane.of(caller).one(
            answered(intent, lambda stored: _consolidated(stored, len(ids)), once)
        )
        return answer

    async def gc(self, caller: Caller) -> Answer:
        """End what has expired now, without the grace of the background: 200."""
        caller.claim()
        return Answer(200, {"expired_deleted": await self._housekeeping.collect(self._now())})


def _consolidated(stored: Stored, sources: int) -> tuple[int, dict[str, Any]]:
    return 201, {"id": stored.record.key, "consolidated": sources, "version": str(stored.record.version)}
