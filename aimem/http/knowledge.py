"""Handlers of what is known about memories together: the graph of their links."""

from __future__ import annotations

from aimem.http.call import Call, reply
from aimem.net.message import Response


async def query(call: Call) -> Response:
    return reply(200, await call.node.graph_query(call.json(), call.reach()))


async def timeline(call: Call) -> Response:
    return reply(200, await call.node.graph_timeline(call.query(), call.reach()))


async def lineage(call: Call) -> Response:
    return reply(200, await call.node.lineage(call.path["id"], call.query(), call.reach()))
