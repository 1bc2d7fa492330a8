"""Quarantine as an operator uses it: what was not taken from a peer or was set aside; to be rescued or dropped."""

from __future__ import annotations

from typing import Any

from aimem.core.fields import object_of, text_of
from aimem.core.kinds import QUARANTINE
from aimem.core.parking import pending_of
from aimem.core.reach import Reach
from aimem.core.record import Record, from_wire
from aimem.core.taking import release, rescue
from aimem.core.timestamp import format_timestamp
from aimem.core.writes import Answer
from aimem.errors import AimemError, Invalid
from aimem.limits import HOUSEKEEPING_BATCH, QUARANTINE_LISTED_MAX
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.lane import CallersLane, Lane, fewest, quorum_of
from aimem.node.parameters import Parameters
from aimem.node.seeing import seen
from aimem.store.base import Store

_BY = ("id", "peer", "kind")


class Quarantining:
    """List, rescue, drop. `callers` is the way of writes that other nodes must hold."""

    def __init__(self, store: Store, lane: Lane, callers: CallersLane) -> None:
        self._store = store
        self._lane = lane
        self._callers = callers

    async def listed(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """What is in quarantine, by id; of one `peer` or `kind` if named."""
        wanted = {name: parameters.text(params, name) for name in _BY}
        rows = [_shown(kept) for kept in await self._kept(wanted, reach)]
        return {"quarantine": rows[:QUARANTINE_LISTED_MAX], "count": len(rows)}

    async def rescue(self, raw: Any, caller: Caller) -> Answer:
        """Write rows anew, as changes of now: 200, with how many, and which could not be."""
        lane = self._callers.of(caller)
        rescued, failed = 0, list[dict[str, Any]]()
        quorum: dict[str, Any] = {}
        pending: list[str] = []
        kept = await self._kept(_wanted(raw), caller.reach)
        for at in range(0, len(kept), HOUSEKEEPING_BATCH):
            batch = kept[at : at + HOUSEKEEPING_BATCH]
            outcomes = await lane.write([rescue(each.key) for each in batch])
            for each, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, AimemError):
                    failed.append({"id": each.key, **outcome.body()})
                elif (parked := pending_of(outcome.reply)) is not None:
                    pending.append(parked)
                else:
                    rescued += outcome.reply is not None
            quorum = fewest(quorum, quorum_of(outcomes))
        return Answer(
            200, {"rescued": rescued, "failed": failed, **quorum, **({"pending": pending} if pending else {})}
        )

    async def drop(self, raw: Any, caller: Caller) -> Answer:
        """Forget rows for good: 200, with how many."""
        caller.claim()
        kept = await self._kept(_wanted(raw), caller.reach)
        outcomes = await self._lane.write([release(each.key) for each in kept])
        return Answer(200, {"dropped": sum(not isinstance(outcome, AimemError) for outcome in outcomes)})

    async def _kept(self, wanted: dict[str, str | None], reach: Reach | None) -> list[Record]:
        found = [record async for batch in self._store.scan(QUARANTINE) for _, record in batch]
        fitting = sorted((each for each in found if _fits(each, wanted)), key=lambda each: each.key)
        if reach is None:
            return fitting
        rows = [from_wire(each.body["record"]) for each in fitting]
        shown = {id(row) for row in await seen(self._store, rows, reach)}
        return [each for each, row in zip(fitting, rows, strict=True) if id(row) in shown]


def _fits(kept: Record, wanted: dict[str, str | None]) -> bool:
    held = {"id": kept.key, "peer": kept.body["peer"], "kind": kept.body["record"]["kind"]}
    return all(value is None or held[name] == value for name, value in wanted.items())


def _wanted(raw: Any) -> dict[str, str | None]:
    """Which rows a request names: by `id`, `peer`, `kind`, or `all` of them."""
    fields = object_of(raw)
    wanted = {name: text_of(fields[name], name) if fields.get(name) is not None else None for name in _BY}
    if not any(wanted.values()) and fields.get("all") is not True:
        raise Invalid("name rows by id, peer or kind, or say all")
    return wanted


def _shown(kept: Record) -> dict[str, Any]:
    record = kept.body["record"]
    return {
        "id": kept.key,
        "peer": kept.body["peer"],
        "reason": kept.body["reason"],
        "since": format_timestamp(kept.body["since"]),
        "kind": record["kind"],
        "key": record["key"],
        "version": record["version"],
        "namespace": record["body"].get("namespace"),
        "title": record["body"].get("title"),
    }
