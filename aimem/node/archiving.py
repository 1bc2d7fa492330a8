"""The archive as callers use it: add, list, restore, purge, figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from aimem.core import archiving
from aimem.core.archiving import archive_json
from aimem.core.fields import clean_tag, object_of, required, text_of, wrong_shape
from aimem.core.kinds import DAY_NS
from aimem.core.memory import TtlConfig
from aimem.core.parking import pending_of
from aimem.core.reach import Reach
from aimem.core.writes import Answer, Stored, answered
from aimem.errors import Denied, Invalid, NotFound
from aimem.limits import (
    ARCHIVE_LIMIT_DEFAULT,
    ARCHIVE_LIMIT_MAX,
    ARCHIVE_OFFSET_MAX,
    ITEMS_MAX,
)
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.housekeeping import Housekeeping
from aimem.node.lane import CallersLane
from aimem.node.parameters import Parameters
from aimem.node.seeing import archive_of, archive_page
from aimem.node.tally import Tally
from aimem.store.base import Counted, Store, Written


class Archiving:
    """What was set aside."""

    def __init__(
        self, store: Store, lane: CallersLane, housekeeping: Housekeeping, ttl: TtlConfig, now: Callable[[], int]
    ) -> None:
        self._housekeeping = housekeeping
        self._store = store
        self._lane = lane
        self._ttl = ttl
        self._now = now

    async def add(self, raw: Any, caller: Caller) -> Answer:
        """Set memories aside by their ids: 200, with those that were not there."""
        ids, reason = _named(raw)
        wanted = [archiving.archive(each, reason) for each in ids]
        intents = [
            answered(intent, _stored, caller.once("archive", each, reason, row=index))
            for index, (each, intent) in enumerate(zip(ids, wanted, strict=True))
        ]
        tally, outcomes = Tally(), await self._lane.of(caller).write(intents)
        tally.add(outcomes)
        became = list(zip(ids, outcomes, strict=True))
        archived = [each for each, outcome in became if isinstance(outcome, Written) and not pending_of(outcome.reply)]
        missing = [each for each, outcome in became if isinstance(outcome, NotFound)]
        told = {"archived": archived, "missing": missing, "count": len(archived), "reason": reason}
        return Answer(tally.status(), {**told, **tally.fields()})

    async def listed(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """A page of the archive, the latest first."""
        limit = parameters.count(params, "limit", ARCHIVE_LIMIT_DEFAULT, ARCHIVE_LIMIT_MAX)
        if limit == 0:
            raise Invalid("limit is 0; a page holds at least one row")
        offset = parameters.count(params, "offset", 0, ARCHIVE_OFFSET_MAX)
        namespace = parameters.text(params, "namespace")
        if reach is None:
            found = await self._store.archived(namespace, limit, offset)
        else:
            found = await archive_page(self._store, namespace, reach, limit, offset)
        return {"archived": [archive_json(each) for each in found], "count": len(found)}

    async def restore(self, archive_id: str, raw: Any, caller: Caller) -> Answer:
        """Make an archived memory stand again, as it was: 200."""
        once = caller.once("restore", archive_id, raw)
        answer: Answer = await self._lane.of(caller).one(
            answered(archiving.restore(archive_id, self._ttl), _restored, once)
        )
        return answer

    async def purge(self, params: Parameters, caller: Caller) -> Answer:
        """Remove from the archive for good what went there more than `older_than_days` ago, or all of it: 200.

        Raises:
            Denied: the caller is bound to some namespaces, and the archive is of all.
        """
        if caller.reach is not None:
            raise Denied("a purge removes from every namespace, and this certificate or key is bound to some")
        days = parameters.integer(params, "older_than_days")
        if days is not None and days < 0:
            raise Invalid(f"older_than_days is {days}; it can't be negative")
        before = self._now() + 1 - (days or 0) * DAY_NS
        tally = await self._housekeeping.purge(before, self._lane.of(caller))
        return Answer(tally.status(), {"purged": tally.done, **tally.fields()})

    async def stats(self, reach: Reach | None) -> dict[str, Any]:
        """Figures of the archive."""
        if reach is None:
            found = await self._store.archived_counts()
        else:
            counts = Counter([record.body["namespace"] async for record in archive_of(self._store, None, reach)])
            found = [Counted(*each) for each in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]
        return {
            "archived_total": sum(each.memories for each in found),
            "by_namespace": [{"namespace": each.name, "count": each.memories} for each in found],
        }


def _named(raw: Any) -> tuple[list[str], str]:
    fields = object_of(raw)
    ids = required(fields, "ids")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise wrong_shape("ids", "a list of ids", ids)
    if len(ids) > ITEMS_MAX:
        raise Invalid(f"{len(ids)} ids in one request; at most {ITEMS_MAX}")
    reason = fields.get("reason")
    return ids, archiving.ARCHIVED if reason is None else clean_tag(text_of(reason, "reason"), "reason")


def _stored(stored: Stored) -> tuple[int, dict[str, Any]]:
    return 200, {"id": stored.record.key}


def _restored(stored: Stored) -> tuple[int, dict[str, Any]]:
    return 200, {"restored": True, "id": stored.record.key, "version": str(stored.record.version)}
