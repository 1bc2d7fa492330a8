"""Handlers of standards and policies."""

from __future__ import annotations

from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def set_named(call: Call) -> Response:
    return answer(await call.node.set_standard(call.json(), call.caller()))


async def set_at(call: Call) -> Response:
    return answer(await call.node.set_standard(call.json(), call.caller(), call.path["ns"]))


async def clear_named(call: Call) -> Response:
    return answer(await call.node.clear_standard(call.query().get("namespace"), call.caller()))


async def clear_at(call: Call) -> Response:
    return answer(await call.node.clear_standard(call.path["ns"], call.caller()))


async def shown_at(call: Call) -> Response:
    return reply(200, await call.node.standard(call.path["ns"], call.query(), call.reach()))


async def explained(call: Call) -> Response:
    return reply(200, await call.node.explain(call.query(), call.caller()))
