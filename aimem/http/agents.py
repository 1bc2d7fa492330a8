"""Handlers of agents."""

from __future__ import annotations

from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def register(call: Call) -> Response:
    return answer(await call.node.register_agent(call.json(), call.caller()))


async def listed(call: Call) -> Response:
    return reply(200, await call.node.agents(call.query()))
