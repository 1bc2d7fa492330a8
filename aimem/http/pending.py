"""Handlers of pending actions."""

from __future__ import annotations

from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def listed(call: Call) -> Response:
    return reply(200, await call.node.pending(call.query(), call.caller()))


async def get(call: Call) -> Response:
    return reply(200, await call.node.pending_action(call.path["id"], call.caller()))


async def approve(call: Call) -> Response:
    return answer(await call.node.approve(call.path["id"], call.caller()))


async def reject(call: Call) -> Response:
    return answer(await call.node.reject(call.path["id"], call.caller()))


async def reopen(call: Call) -> Response:
    return answer(await call.node.reopen(call.path["id"], call.json_if_any(), call.caller()))


async def cancel(call: Call) -> Response:
    return answer(await call.node.cancel(call.path["id"], call.caller()))
