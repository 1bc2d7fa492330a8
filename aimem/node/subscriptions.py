"""Subscriptions as callers make, list and end them. What one is stands in `core.subscriptions`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from aimem.core.events import event_id
from aimem.core.fields import check_agent_id, check_id, object_of, text_of, wrong_shape
from aimem.core.kinds import DEAD_LETTER, SUBSCRIPTION
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.core.subscriptions import clean_subscription, subscribe, subscription_json, unsubscribe
from aimem.core.telling import letter_json, replayed
from aimem.core.webhooks import Networks
from aimem.core.writes import Answer, answered
from aimem.errors import Conflict, Denied, Invalid
from aimem.limits import DEAD_LETTERS_LIMIT_DEFAULT, DEAD_LETTERS_LIMIT_MAX, SUBSCRIPTIONS_MAX
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.courier import Courier
from aimem.node.lane import CallersLane
from aimem.node.parameters import Parameters
from aimem.store.base import Store


class Subscriptions:
    """Who is told of what."""

    def __init__(self, store: Store, lane: CallersLane, courier: Courier, networks: Networks = ()) -> None:
        self._store = store
        self._lane = lane
        self._courier = courier
        self._networks = networks

    async def add(self, raw: Any, caller: Caller) -> Answer:
        """Subscribe: 201. Under an idempotency key it is one subscription, whichever nodes the request came to."""
        named = object_of(raw).get("agent_id")
        author = caller.claim() if named is None else caller.speaking(check_agent_id(named))
        spec = clean_subscription(raw, author or caller.anonymous(), caller.reach, self._networks)
        if caller.reach is not None and spec.namespace is None:
            raise Denied(
                "this certificate or key may not subscribe to all namespaces",
                hint="name one that its line lets it into",
            )
        if self._courier.subscriptions >= SUBSCRIPTIONS_MAX:
            raise Conflict(f"there are {SUBSCRIPTIONS_MAX} subscriptions", hint="end some that nobody needs first")
        once = caller.once("subscribe", None, raw)
        made = uuid.uuid4() if once is None else uuid.UUID(once.record_key()[:32])
        intent = answered(subscribe(str(made), spec), _added, once)
        answer: Answer = await self._lane.of(caller).one(intent)
        return answer

    async def listed(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """Those that the caller sees, of one `agent_id` where it is named, the oldest first."""
        agent = parameters.text(params, "agent_id")
        shown = [
            self._shown(each)
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

    async def dead_letters(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """Events that were given up: of one `subscription_id` where it is named, and of those that the caller sees."""
        limit = parameters.count(params, "limit", DEAD_LETTERS_LIMIT_DEFAULT, DEAD_LETTERS_LIMIT_MAX)
        found, more = await self._letters(parameters.text(params, "subscription_id"), None, limit, caller)
        return {"count": len(found), "dead_letters": [letter_json(each) for each in found], "more": more}

    async def replay(self, raw: Any, caller: Caller) -> Answer:
        """Have dead letters told again by this node, 200: those of `ids` (of events), of one `subscription_id`, or
        both. `more` when there are more than one request may replay.

        Raises:
            Invalid: neither is named. Denied: the caller may not speak for the agent that subscribed.
        """
        fields = object_of(raw)
        named, ids = fields.get("subscription_id"), fields.get("ids")
        if named is None and ids is None:
            raise Invalid("ids is missing", hint="name events by their ids, a subscription_id, or both")
        if ids is not None and not (isinstance(ids, list) and all(isinstance(each, str) for each in ids)):
            raise wrong_shape("ids", "a list of texts", ids)
        wanted = None if ids is None else set(ids)
        subscription = None if named is None else check_id(text_of(named, "subscription_id"))
        found, more = await self._letters(subscription, wanted, DEAD_LETTERS_LIMIT_MAX, caller)
        for author in {held.body.get("created_by") for held in self._made_by(found)}:
            if author is not None:
                caller.speaking(author)
        intent = answered(
            replayed([each.key for each in found]),
            lambda told: (200, {"replayed": len(told), "ids": told, "more": more}),
            caller.once("replay", raw),
        )
        answer: Answer = await self._lane.of(caller).one(intent)
        return answer

    async def _letters(
        self, subscription: str | None, ids: set[str] | None, limit: int, caller: Caller
    ) -> tuple[list[Record], bool]:
        seen = {each.key for each in await self._all() if _is_seen(each, caller.reach)}
        found: list[Record] = []
        async for batch in self._store.scan(DEAD_LETTER):
            for _, letter in batch:
                whose = letter.body["subscription"]
                if subscription not in (None, whose) or whose not in seen:
                    continue
                if ids is None or event_id(letter.body["key"]) in ids:
                    if len(found) == limit:
                        return found, True
                    found.append(letter)
        return found, False

    def _made_by(self, letters: Iterable[Record]) -> list[Record]:
        named = {letter.body["subscription"] for letter in letters}
        return [each for each in map(self._courier.subscription, named) if each is not None]

    def _shown(self, record: Record) -> dict[str, Any]:
        """A subscription, with what this node has told of it since its start."""
        shown = subscription_json(record)
        fares = self._courier.receiver(record.key)
        if fares is not None:
            shown["dispatch_count"] += fares.told
            shown["failure_count"] += fares.failed
        return {
            **shown,
            "waiting": 0 if fares is None else len(fares),
            "error": None if fares is None else fares.error,
        }

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
