"""The writes of callers: each is checked, becomes an intent, goes down the lane, and comes back as an answer.

What a write does to a record is decided in `core.writes`; here is what stands around it: the caller's claim, the
idempotency key, ids by prefix, and the reply. A reply tells what is stored, which is not always what was asked for,
and with which version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from aimem.core import writes
from aimem.core.archiving import keeping_superseded
from aimem.core.automatic import RANK, Use, use_of
from aimem.core.fields import check_id, object_of, wrong_shape
from aimem.core.intent import Intent, Plan, Stamp, touches
from aimem.core.links import without_links
from aimem.core.memory import TtlConfig, clean_create, clean_update
from aimem.core.parking import PENDING_STATUS
from aimem.core.text import recall_terms
from aimem.core.wire import bulk_error, bulk_reply, created_reply
from aimem.core.writes import Answer, Stored, answered
from aimem.errors import AimemError, Invalid, NotFound, QuorumNotMet
from aimem.limits import CONTRADICTIONS_MAX, CONTRADICTIONS_ROWS_MAX, ITEMS_MAX
from aimem.node.caller import Caller
from aimem.node.ids import to_be_changed
from aimem.node.lane import CallersLane, quorum_of
from aimem.node.metrics import Meters
from aimem.node.touching import Touching
from aimem.store.base import Filter, Store, Words

_ON_CONFLICT = ("merge", "error", "version")
_ROWS_PER_TURN = 50  # rows of a bulk that are checked before others get their turn: about a millisecond


class Writing:
    """Create, bulk, update, delete, promote."""

    def __init__(
        self,
        store: Store,
        lane: CallersLane,
        touching: Touching,
        meters: Meters,
        ttl: TtlConfig,
        now: Callable[[], int],
        *,
        keep_superseded: bool = False,
    ) -> None:
        self._keep_superseded = keep_superseded
        self._store = store
        self._lane = lane
        self._touching = touching
        self._meters = meters
        self._ttl = ttl
        self._now = now

    async def create(self, raw: Any, caller: Caller) -> Answer:
        """Store one memory: 201. With `check_contradictions` the reply names memories of a similar title; without it
        only while the node holds few, since looking costs more than storing."""
        try:
            body, on_conflict = self._clean(raw, caller)
            once = caller.once("create", None, raw)
            similar = await self._similar(body, caller) if self._asks_for_contradictions(raw) else []
            intent = self._kept(writes.create(body, on_conflict=on_conflict, expected=caller.expected(raw)))
            answer: Answer = await self._lane.of(caller).one(answered(intent, partial(_created, similar), once))
        except AimemError:
            self._count_refused(raw)
            raise
        self._count_stored(answer)
        return answer

    async def bulk(self, raw: Any, caller: Caller) -> Answer:
        """Store many, each through the same checks as one alone: 200, with what became of each row."""
        rows = _rows(raw)
        results: list[Answer | AimemError | None] = [None] * len(rows)
        intents: list[Intent] = []
        places: list[int] = []
        for index, row in enumerate(rows):
            try:
                body, on_conflict = self._clean(row, caller)
                once = caller.once("create", None, row, row=index)
                expected = caller.expected(row)
            except AimemError as refusal:
                results[index] = refusal
            else:
                intent = self._kept(writes.create(body, on_conflict=on_conflict, expected=expected))
                intents.append(answered(intent, partial(_created, []), once))
                places.append(index)
            if index % _ROWS_PER_TURN == _ROWS_PER_TURN - 1:
                await asyncio.sleep(0)
        missed: QuorumNotMet | None = None
        try:
            outcomes = await self._lane.of(caller).write(intents) if intents else []
        except QuorumNotMet as shortfall:
            outcomes, missed = shortfall.outcomes, shortfall
        for index, outcome in zip(places, outcomes, strict=True):
            results[index] = outcome if isinstance(outcome, AimemError) else outcome.reply
        answer = self._bulk_answer(rows, [result for result in results if result is not None])
        if missed is not None:
            missed.extra |= answer.body
            raise missed
        return answer._replace(body={**answer.body, **quorum_of(outcomes)})

    async def update(self, memory_id: str, raw: Any, caller: Caller) -> Answer:
        """Change the named fields: 200, the memory as it is now."""
        changes = clean_update(raw)
        expected = caller.expected(raw)
        return await self._by_id(
            "update",
            memory_id,
            raw,
            caller,
            lambda found: _with_use(self._kept(writes.update(found, changes, expected=expected))),
            self._shown,
        )

    async def delete(self, memory_id: str, raw: Any, caller: Caller) -> Answer:
        """Delete: 200. `raw` is the body of the request, if there was one."""
        if raw is not None:
            object_of(raw)
        expected = caller.expected(raw)
        return await self._by_id(
            "delete",
            memory_id,
            raw,
            caller,
            lambda found: without_links(writes.delete(found, expected=expected)),
            _deleted,
        )

    async def promote(self, memory_id: str, raw: Any, caller: Caller) -> Answer:
        """Make it long-lived: 200."""
        intent = partial(writes.promote, expected=caller.expected(raw))
        return await self._by_id("promote", memory_id, raw, caller, intent, _promoted)

    def _kept(self, intent: Intent) -> Intent:
        return keeping_superseded(intent) if self._keep_superseded else intent

    def _clean(self, raw: Any, caller: Caller) -> tuple[dict[str, Any], str]:
        body = clean_create(raw, self._now(), anonymous=caller.anonymous(), caller=caller.claim(), ttl=self._ttl)
        caller.speaking(body["metadata"]["agent_id"])
        on_conflict = raw.get("on_conflict")
        if on_conflict is None:
            return body, "merge"
        if on_conflict not in _ON_CONFLICT:
            raise Invalid(f"on_conflict must be one of {', '.join(_ON_CONFLICT)}")
        return body, on_conflict

    async def _by_id(
        self,
        name: str,
        memory_id: str,
        raw: Any,
        caller: Caller,
        intent: Callable[[str], Intent],
        render: Callable[[Any], tuple[int, dict[str, Any]]],
    ) -> Answer:
        """A write to the memory that `memory_id` names: as an id, which is the common case, else as a prefix."""
        lane = self._lane.of(caller)
        check_id(memory_id)
        once = caller.once(name, memory_id, raw)
        conditional = caller.expected(raw) is not None
        try:
            answer: Answer = await lane.one(answered(intent(memory_id), render, once), conditional=conditional)
        except NotFound:
            found = await to_be_changed(self._store, memory_id, caller.reach)
            answer = await lane.one(answered(intent(found), render, once), conditional=conditional)
        if answer.replayed:
            self._meters.replays.inc()
        return answer

    def _asks_for_contradictions(self, raw: dict[str, Any]) -> bool:
        asked = raw.get("check_contradictions")
        if asked is None:
            return self._store.visible <= CONTRADICTIONS_ROWS_MAX
        if not isinstance(asked, bool):
            raise wrong_shape("check_contradictions", "a boolean", asked)
        return asked

    async def _similar(self, body: dict[str, Any], caller: Caller) -> list[str]:
        """Ids in the same namespace that share words with the title, one more than are shown: it may be among them."""
        words = Words(recall_terms(body["title"]), everywhere=False)
        which = Filter(self._now(), namespaces=(body["namespace"],), reach=caller.reach)
        return [hit.id for hit in await self._store.match(words, which, CONTRADICTIONS_MAX + 1)]

    def _shown(self, written: tuple[Stored, Use]) -> tuple[int, dict[str, Any]]:
        stored, use = written
        return 200, self._touching.shown(stored.record, use)

    def _bulk_answer(self, rows: list[Any], results: list[Answer | AimemError]) -> Answer:
        ids: list[str] = []
        errors: list[dict[str, Any]] = []
        told: list[dict[str, Any]] = []
        for index, (row, result) in enumerate(zip(rows, results, strict=True)):
            if isinstance(result, AimemError):
                self._count_refused(row)
                errors.append(bulk_error(index, row, result.body()))
                told.append({"index": index, "status": result.status, **result.body()})
            else:
                self._count_stored(result)
                if result.status != PENDING_STATUS:
                    ids.append(result.body["id"])
                told.append({**result.body, "index": index, "status": result.status})
        answers = [result for result in results if isinstance(result, Answer)]
        replayed = bool(answers) and all(answer.replayed for answer in answers)
        return Answer(200, {**bulk_reply(ids, errors), "results": told}, replayed)

    def _count_stored(self, answer: Answer) -> None:
        if answer.replayed:
            self._meters.replays.inc()
            return
        if answer.status == PENDING_STATUS:
            self._meters.stores.inc(tier="none", result="pending")
            return
        self._meters.stores.inc(tier=answer.body["tier"], result="ok")
        if "potential_contradictions" in answer.body:
            self._meters.contradictions.inc()

    def _count_refused(self, raw: Any) -> None:
        tier = raw.get("tier", "mid") if isinstance(raw, dict) else None
        self._meters.stores.inc(tier=tier if isinstance(tier, str) and tier in RANK else "none", result="error")


def _rows(raw: Any) -> list[Any]:
    rows = raw.get("memories") if isinstance(raw, dict) else raw
    if not isinstance(rows, list):
        raise wrong_shape("the request", "a list of memories, or an object with one as `memories`", raw)
    if len(rows) > ITEMS_MAX:
        raise Invalid(f"{len(rows)} memories in one request; at most {ITEMS_MAX}", hint="send them in several requests")
    return rows


def _created(similar: list[str], stored: Stored) -> tuple[int, dict[str, Any]]:
    record = stored.record
    others = [each for each in similar if each != record.key][:CONTRADICTIONS_MAX]
    return 201, created_reply(record, others)


def _deleted(stored: Stored) -> tuple[int, dict[str, Any]]:
    return 200, {"deleted": True, "id": stored.record.key, "version": str(stored.record.version)}


def _promoted(stored: Stored) -> tuple[int, dict[str, Any]]:
    record = stored.record
    return 200, {"promoted": True, "id": record.key, "tier": record.body["tier"], "version": str(record.version)}


def _with_use(intent: Intent) -> Intent:
    """The intent, its reply together with what the touches of the record add up to."""

    def plan(stamp: Stamp) -> Plan:
        decision = yield from intent(stamp)
        record = decision.reply.record
        use = use_of(record, (yield from touches(record.key)))
        return decision._replace(reply=(decision.reply, use))

    return plan
