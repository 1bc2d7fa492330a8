"""Handlers of subscriptions. The published Python client reads the events of one as a list, all others as text."""

from __future__ import annotations

from typing import Any

from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def add(call: Call) -> Response:
    found = await call.node.subscribe(call.json(), call.caller())
    return answer(found._replace(body=_shaped(call, found.body)))


async def listed(call: Call) -> Response:
    found = await call.node.subscriptions(call.query(), call.caller())
    return reply(200, {**found, "subscriptions": [_shaped(call, each) for each in found["subscriptions"]]})


async def remove(call: Call) -> Response:
    return answer(await call.node.unsubscribe(call.query(), call.caller()))


async def remove_named(call: Call) -> Response:
    return answer(await call.node.unsubscribe({"id": call.path["id"]}, call.caller()))


async def dead_letters(call: Call) -> Response:
    return reply(200, await call.node.dead_letters(call.query(), call.caller()))


async def replay(call: Call) -> Response:
    return answer(await call.node.replay(call.json(), call.caller()))


def _shaped(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    wants_list = call.request.headers.get("user-agent", "").startswith("ai-memory-python/")
    return {**body, "events": body["event_list"]} if wants_list and "event_list" in body else body
