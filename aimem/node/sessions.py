"""What an agent is told when it begins: memories of its namespace, and the standards that hold there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from aimem.core.fields import object_of
from aimem.core.wire import scored
from aimem.limits import SESSION_LIMIT_DEFAULT, SESSION_LIMIT_MAX
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.ruling import Ruling
from aimem.node.touching import Touching
from aimem.store.base import Store


class Sessions:
    """Nothing of a session is kept: its id is for the agent's own use."""

    def __init__(self, store: Store, touching: Touching, ruling: Ruling, now: Callable[[], int]) -> None:
        self._store = store
        self._touching = touching
        self._ruling = ruling
        self._now = now

    async def start(self, raw: Any, caller: Caller) -> dict[str, Any]:
        """The first memories of `namespace` (of all without one), which do not count as used, and the texts of the
        standards that hold there: `standard` where there is one, `standards` from the top down where there are more."""
        fields = object_of({} if raw is None else raw)
        namespace = parameters.text(fields, "namespace")
        limit = parameters.count(fields, "limit", SESSION_LIMIT_DEFAULT, SESSION_LIMIT_MAX)
        agent = parameters.text(fields, "agent_id") or caller.claim()
        asked = {} if namespace is None else {"namespace": namespace}
        which = parameters.memory_filter(asked, self._now(), caller.reach)
        found = await self._store.select(which, limit, 0)
        told: dict[str, Any] = {
            "memories": [scored(self._touching.shown(each.record, each.use), 0.0) for each in found],
            "count": len(found),
            "mode": "session_start",
            "session_id": str(uuid.uuid4()),
        }
        if agent is not None:
            told["agent_id"] = agent
        texts = [] if namespace is None else await self._standards(namespace, caller)
        return told | ({"standard": texts[0]} if len(texts) == 1 else {"standards": texts} if texts else {})

    async def _standards(self, namespace: str, caller: Caller) -> list[dict[str, Any]]:
        if caller.reach is not None and not caller.reach.covers(namespace):
            return []
        chain = await self._ruling.shown(namespace, {"inherit": "true"}, caller.reach)
        return [
            {"id": each["standard_id"], **{name: each[name] for name in ("namespace", "title", "content", "priority")}}
            for each in chain["standards"]
            if each.get("content") is not None
        ]
