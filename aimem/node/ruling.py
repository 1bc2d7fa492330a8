"""Standards and policies as callers set, clear and read them. What they mean for a write is in `core.governing`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from aimem.core import standards
from aimem.core.intent import Intent
from aimem.core.kinds import POLICY, STANDARD
from aimem.core.policy import check_place
from aimem.core.reach import Reach
from aimem.core.standards import clean_standard
from aimem.core.writes import Answer, answered
from aimem.errors import AimemError, Denied, Invalid
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.lane import CallersLane
from aimem.node.parameters import Parameters
from aimem.store.base import Change, Store


class Ruling:
    """The rules of namespaces."""

    def __init__(self, store: Store, lane: CallersLane) -> None:
        self._store = store
        self._lane = lane
        self._sum: tuple[str, int] | None = None
        self._changes = 0
        store.subscribe(self._changed)

    async def set(self, raw: Any, caller: Caller, namespace: str | None = None) -> Answer:
        """Set the standard of a namespace, its policy, or both: 201. Among peers `held_by` names the nodes that hold it
        already: where it is not held yet, it is not in force yet."""
        spec = clean_standard(raw, namespace)
        intent = standards.set_standard(spec, caller.claim())
        once = caller.once("standard", namespace, raw)
        (outcome,) = await self._lane.of(caller).write([answered(intent, lambda told: (201, told), once)])
        if isinstance(outcome, AimemError):
            raise outcome
        answer: Answer = outcome.reply
        if not outcome.holders or answer.status != 201:
            return answer
        return answer._replace(body={**answer.body, "held_by": list(outcome.holders)})

    async def clear(self, namespace: str | None, caller: Caller) -> Answer:
        """Take both away: 200, also where there were none."""
        place = _place(namespace)
        once = caller.once("clear standard", place)
        intent = answered(standards.clear_standard(place), lambda told: (200, told), once)
        answer: Answer = await self._lane.of(caller).one(intent)
        return answer

    async def shown(self, namespace: str | None, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """The standard of a namespace, or with `inherit` all that have a say in it."""
        place = _place_in(reach, namespace)
        inherit = parameters.flag(params, "inherit") or False
        return await self._read(standards.shown_standard(place, inherit=inherit))

    async def explained(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """What an agent (the caller, or the one that is named) may do in a namespace, and why."""
        namespace = _place_in(caller.reach, parameters.text(params, "namespace"))
        who = caller.speaker(())
        if (named := parameters.text(params, "agent_id")) is not None:
            who = who._replace(agent_id=named)
        return await self._read(standards.explained(namespace, who))

    async def digest(self) -> str:
        """One text for all standards and policies that this store holds: equal where they are."""
        return (await self._summed())[0]

    async def count(self) -> int:
        """How many policies stand."""
        return (await self._summed())[1]

    async def _summed(self) -> tuple[str, int]:
        if self._sum is None:
            before = self._changes
            found = [
                f"{record.kind} {record.key} {record.version}"
                for kind in (STANDARD, POLICY)
                async for batch in self._store.scan(kind)
                for _, record in batch
            ]
            text = "\n".join(sorted(found))
            policies = sum(each.startswith(f"{POLICY} ") for each in found)
            told = hashlib.sha256(text.encode()).hexdigest()[:16], policies
            if before == self._changes:
                self._sum = told
            return told
        return self._sum

    def _changed(self, changes: Sequence[Change]) -> None:
        if any(change.record.kind in (STANDARD, POLICY) for change in changes):
            self._sum = None
            self._changes += 1

    async def _read(self, intent: Intent) -> dict[str, Any]:
        (found,) = await self._store.rehearse([intent])
        if isinstance(found.reply, AimemError):
            raise found.reply
        told: dict[str, Any] = found.reply
        return told


def _place_in(reach: Reach | None, namespace: str | None) -> str:
    place = _place(namespace)
    if reach is not None and not reach.covers(place):
        raise Denied(f"namespace {place} is out of this caller's reach", hint="its line says where: namespaces=")
    return place


def _place(namespace: str | None) -> str:
    if namespace is None:
        raise Invalid("namespace is missing")
    return check_place(namespace)
