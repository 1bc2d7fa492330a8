"""Agents as callers register and list them."""

from __future__ import annotations

from typing import Any

from aimem.core import agents
from aimem.core.agents import SKILL, agent_json, clean_agent
from aimem.core.kinds import AGENT
from aimem.core.record import Record, Ref
from aimem.core.writes import Answer, answered
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.lane import CallersLane
from aimem.node.parameters import Parameters
from aimem.store.base import Store


class Agents:
    """Who takes part."""

    def __init__(self, store: Store, lane: CallersLane) -> None:
        self._store = store
        self._lane = lane

    async def register(self, raw: Any, caller: Caller) -> Answer:
        """Register an agent, or say anew what it is: 201."""
        spec = clean_agent(raw)
        intent = answered(agents.register(spec), _registered, caller.once("register", None, raw))
        answer: Answer = await self._lane.of(caller).one(intent)
        return answer

    async def listed(self, params: Parameters) -> dict[str, Any]:
        """All agents by id, or the one of an `agent_id`; with `skills` only those that are skills, and of one `rack`
        where it is named."""
        skills, rack = parameters.flag(params, "skills"), parameters.text(params, "rack")
        agent_id = parameters.text(params, "agent_id")
        found = await self._all() if agent_id is None else await self._one(agent_id)
        wanted = [
            agent_json(each)
            for each in sorted(found, key=lambda each: each.key)
            if (not skills or str(each.body.get("agent_type")).startswith(SKILL))
            and rack in (None, each.body.get("rack"))
        ]
        return {"count": len(wanted), "agents": wanted}

    async def _all(self) -> list[Record]:
        return [record async for batch in self._store.scan(AGENT) for _, record in batch]

    async def _one(self, agent_id: str) -> list[Record]:
        (found,) = await self._store.get([Ref(AGENT, agent_id)])
        return [] if found is None or found.deleted else [found]


def _registered(record: Record) -> tuple[int, dict[str, Any]]:
    shown = agent_json(record)
    told: dict[str, Any] = {name: each for name, each in shown.items() if not name.endswith("_at")}
    return 201, {"registered": True, "id": record.key, **told, "version": str(record.version)}
