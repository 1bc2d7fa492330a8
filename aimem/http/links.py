"""Handlers of links."""

from __future__ import annotations

from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def create(call: Call) -> Response:
    return answer(await call.node.link(call.json(), call.caller()))


async def remove(call: Call) -> Response:
    return answer(await call.node.unlink(call.json(), call.caller()))


async def listed(call: Call) -> Response:
    return reply(200, await call.node.links(call.path["id"], call.reach()))


async def invalidate(call: Call) -> Response:
    return answer(await call.node.invalidate_link(call.json(), call.caller()))
