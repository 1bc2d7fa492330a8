"""Subscriptions as callers make, list and end them. What one is stands in `core.subscriptions`."""

from __future__ import annotations

import uuid
from typing import Any

from aimem.core.fields import check_agent_id, check_id, object_of
from aimem.core.kinds import SUBSCRIPTION
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.core.subscriptions import clean_subscription, subscribe, subscription_json, unsubscribe
from aimem.core.writes import Answer, answered
from aimem.errors import Denied, Invalid
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.lane import CallersLane
from aimem.node.parameters import Parameters
from aimem.store.base import Store


class Subscriptions:
    """Who is told of what."""

    def __init__(self, store: Store, lane: CallersLane) -> None:
        self._store = store
        self._lane = lane

    async def add(self, raw: Any, caller: Caller) -> Answer:
        """Subscribe: 201. Under an idempotency key it is one subscription, whichever nodes the request came to."""
        named = object_of(raw).get("agent_id")
        author = caller.claim() if named is None else caller.speaking(check_agent_id(named))
        spec = clean_subscription(raw, author or caller.anonymous())
        if caller.reach is not None and spec.namespace is None:
            raise Denied(
                "this certificate or key may not subscribe to all namespaces",
                hint="name one that its line lets it into",
            )
        once = caller.once("subscribe", None, raw)
        made = uuid.uuid4() if once is None else uuid.UUID(once.record_key()[:32])
        intent = answered(subscribe(str(made), spec), _added, once)
        answer: Answer = await self._lane.of(caller).one(intent)
        return answer

    async def listed(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """Those that the caller sees, of one `agent_id` where it is named, the oldest first."""
        agent = parameters.text(params, "agent_id")
        shown = [
            subscription_json(each)
            for each in sorted(await self._all(), key=lambda each: (each.born, each.key))
            if agent in (None, each.body.get("created_by")) and _is_seen(each, caller.reach)
        ]
        return {"count": len(shown), "subscriptions": shown}

    async def remove(self, params: Parameters, caller: Caller) -> Answer:
        """End the one that `id` names, or those of a `namespace` that `agent_id` (else the caller) made: 200, also
        where there is none.

        Raises:
            Denied: the caller may not speak for the agent that made it.
        """
        named, namespace = parameters.text(params, "id"), parameters.text(params, "namespace")
        if named is not None:
            found = [each for each in await self._store.get([Ref(SUBSCRIPTION, check_id(named))]) if each is not None]
        elif namespace is not None:
            agent = parameters.text(params, "agent_id") or caller.claim()
            made = [each for each in await self._all() if each.body.get("created_by") == agent]
            found = [each for each in made if each.body.get("namespace") == namespace]
        else:
            raise Invalid("id is missing", hint="name a subscription by its id, or a namespace and the agent_id")
        for each in found:
            if not each.deleted and (author := each.body.get("created_by")) is not None:
                caller.speaking(author)
        found = [each for each in found if _is_seen(each, caller.reach)]
        shown = named or (found[0].key if found else None)
        once = caller.once("unsubscribe", named, namespace, parameters.text(params, "agent_id"))
        intent = answered(
            unsubscribe([each.key for each in found]), lambda gone: (200, {"id": shown, "removed": bool(gone)}), once
        )
        answer: Answer = await self._lane.of(caller).one(intent)
        return answer

    async def _all(self) -> list[Record]:
        return [record async for batch in self._store.scan(SUBSCRIPTION) for _, record in batch]


def _is_seen(record: Record, reach: Reach | None) -> bool:
    """Whether a caller sees a subscription: one of its agents made it; who speaks for none goes by namespace."""
    if reach is None:
        return True
    if reach.identity.agents:
        return reach.identity.names_agent(record.body.get("created_by") or "")
    namespace = record.body.get("namespace_filter")
    return namespace is not None and reach.covers(namespace)


def _added(record: Record) -> tuple[int, dict[str, Any]]:
    return 201, subscription_json(record) | {"version": str(record.version)}
