"""Handlers of the quarantine."""

from __future__ import annotations

from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def listed(call: Call) -> Response:
    return reply(200, await call.node.quarantine(call.query(), call.reach()))


async def rescue(call: Call) -> Response:
    return answer(await call.node.rescue(call.json(), call.caller()))


async def drop(call: Call) -> Response:
    return answer(await call.node.drop_quarantined(call.json(), call.caller()))
