"""Entities as callers register them, and find them by another name."""

from __future__ import annotations

from typing import Any

from aimem.core.entities import clean_entity, entity_json, is_entity, names, register_entity
from aimem.core.kinds import ALIAS, compound_key
from aimem.core.namespace import check_namespace
from aimem.core.parking import PENDING_STATUS
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.core.writes import Answer, Stored, answered
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.lane import CallersLane
from aimem.node.lookup import Lookup
from aimem.node.parameters import Parameters
from aimem.store.base import Store

_NONE: dict[str, Any] = {"entity_id": None, "canonical_name": None, "namespace": None, "aliases": []}


class Entities:
    """Things, and their names."""

    def __init__(self, store: Store, lane: CallersLane) -> None:
        self._store = store
        self._lane = lane
        self._by_alias = Lookup(store, ALIAS, lambda record: [str(record.body.get("alias"))])

    async def register(self, raw: Any, caller: Caller) -> Answer:
        """Make an entity (201), or give more names to one that is there (200)."""
        spec = clean_entity(raw, caller.claim(), caller.anonymous())
        caller.speaking(spec.metadata["agent_id"])
        intent = answered(register_entity(spec), _registered, caller.once("entity", None, raw))
        answer: Answer = await self._lane.of(caller).one(intent)
        if answer.status == PENDING_STATUS:
            return answer
        (entity,) = await self._store.memories([answer.body["entity_id"]])
        if entity is None:  # a repeat of a request whose entity has gone since
            return answer
        return answer._replace(body={**answer.body, **entity_json(entity.record, await self._aliases(entity.record))})

    async def by_alias(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """The entity of that name, in `namespace` where it is named: of several the one whose id comes first."""
        alias = parameters.question(params, "alias")
        namespace = parameters.text(params, "namespace")
        if namespace is not None:
            check_namespace(namespace)
        keys = await self._by_alias.of(alias)
        records = [each for each in await self._store.get([Ref(ALIAS, key) for key in keys]) if each is not None]
        held = await self._store.memories([str(each.body["entity_id"]) for each in records])
        for record, memory in zip(records, held, strict=True):
            if memory is None or not is_entity(memory.record) or not names(record, memory.record):
                continue
            body = memory.record.body
            if namespace in (None, body["namespace"]) and (reach is None or reach.shows(memory.record)):
                return {"found": True, **entity_json(memory.record, await self._aliases(memory.record))}
        return {"found": False, **_NONE}

    async def _aliases(self, entity: Record) -> list[Record]:
        return await self._store.under(ALIAS, compound_key(entity.key))


def _registered(stored: Stored) -> tuple[int, dict[str, Any]]:
    told = {"created": stored.created, **entity_json(stored.record, ()), "version": str(stored.record.version)}
    return (201 if stored.created else 200), told
