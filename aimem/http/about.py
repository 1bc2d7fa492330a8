"""Handlers that tell about the node itself."""

from __future__ import annotations

from aimem.http.call import Call, reply
from aimem.http.metrics import CONTENT_TYPE, exposition
from aimem.net.message import Response
from aimem.node.capabilities import asked_for


async def health(call: Call) -> Response:
    found = call.node.health()
    return reply(200 if found["status"] == "ok" else 503, found)


async def capabilities(call: Call) -> Response:
    shape = asked_for(call.request.headers.get("accept-capabilities"))
    return reply(200, await call.node.capabilities(shape))


async def stats(call: Call) -> Response:
    return reply(200, await call.node.stats(call.reach()))


async def status(call: Call) -> Response:
    return reply(200, await call.node.status())


async def changes(call: Call) -> Response:
    return reply(200, await call.node.changes(call.query(), call.reach()))


async def digest(call: Call) -> Response:
    return reply(200, call.node.digest())


async def metrics(call: Call) -> Response:
    return Response(200, exposition((*call.node.metrics(), *call.served)).encode(), {"content-type": CONTENT_TYPE})
