"""Who may read what beyond its scope: grants as callers make and take them, and the reach that they add to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aimem.core import grants
from aimem.core.grants import READ, clean_grant
from aimem.core.identity_words import Identity
from aimem.core.kinds import GRANT, source_key
from aimem.core.reach import Reach, reach_of
from aimem.core.record import Record
from aimem.core.writes import Answer, answered
from aimem.node.caller import Caller
from aimem.node.ids import known_id
from aimem.node.lane import CallersLane
from aimem.store.base import Change, Store


class Granting:
    """Grants, kept in memory by agent: every request of a bound caller asks for its own. `load` reads what is there."""

    def __init__(self, store: Store, lane: CallersLane, *, require_identity: bool) -> None:
        self._unnamed = Reach(Identity()) if require_identity else None
        self._store = store
        self._lane = lane
        self._of: dict[str, dict[str, str]] = defaultdict(dict)
        store.subscribe(self._changed)

    async def load(self) -> None:
        """Read what the store holds."""
        async for batch in self._store.scan(GRANT):
            for _, record in batch:
                self._learn(record)

    def reach(self, identity: Identity | None) -> Reach | None:
        """What a caller with this line sees: see `reach_of`; and what was granted to the agents that it speaks for. One
        without a line is bound by none, or sees what is collective."""
        if identity is None:
            return self._unnamed
        reach = reach_of(identity)
        if reach is None or not self._of:
            return reach
        agents = reach.identity.agents
        named = {each for each in agents if not each.endswith("*")}
        if len(named) < len(agents):
            named.update(filter(reach.identity.names_agent, self._of))
        granted = {pair for agent in named if agent in self._of for pair in self._of[agent].items()}
        return Reach(reach.identity, frozenset(granted)) if granted else reach

    async def grant(self, memory_id: str, raw: Any, caller: Caller) -> Answer:
        """Let an agent read a memory: 200, also when it may already."""
        agent = clean_grant(raw)
        memory_id = await known_id(self._store, memory_id, caller.reach)

        def told(record: Record) -> tuple[int, dict[str, Any]]:
            return 200, {"granted": True, **_named(memory_id, agent), "permission": READ}

        intent = grants.grant(memory_id, agent, caller.claim())
        done: Answer = await self._lane.of(caller).one(answered(intent, told, caller.once("grant", memory_id, raw)))
        return done

    async def revoke(self, memory_id: str, raw: Any, caller: Caller) -> Answer:
        """Take it back: 200, whether or not there was a grant."""
        agent = clean_grant(raw)
        memory_id = await known_id(self._store, memory_id, caller.reach)

        def told(was: bool) -> tuple[int, dict[str, Any]]:
            return 200, {"revoked": was, **_named(memory_id, agent)}

        intent = grants.revoke(memory_id, agent, caller.claim())
        done: Answer = await self._lane.of(caller).one(answered(intent, told, caller.once("revoke", memory_id, raw)))
        return done

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.record.kind == GRANT:
                self._learn(change.record)

    def _learn(self, record: Record) -> None:
        agent, born = record.body.get("agent_id"), record.body.get("memory_born")
        if not isinstance(agent, str) or not isinstance(born, str):
            return
        memory_id = source_key(GRANT, record.key)
        if not record.deleted:
            self._of[agent][memory_id] = born
        elif agent in self._of:
            self._of[agent].pop(memory_id, None)
            if not self._of[agent]:
                del self._of[agent]


def _named(memory_id: str, agent: str) -> dict[str, Any]:
    return {"id": memory_id, "agent_id": agent}
