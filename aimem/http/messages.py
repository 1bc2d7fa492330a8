"""Handlers of messages."""

from __future__ import annotations

from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def notify(call: Call) -> Response:
    return answer(await call.node.notify(call.json(), call.caller()))


async def inbox(call: Call) -> Response:
    return reply(200, await call.node.inbox(call.query(), call.caller()))


async def mark_read(call: Call) -> Response:
    return answer(await call.node.mark_read(call.path["id"], call.query(), call.caller()))
