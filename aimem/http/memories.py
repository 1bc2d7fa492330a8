"""Handlers of single memories and of many at once."""

from __future__ import annotations

from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def create(call: Call) -> Response:
    return answer(await call.node.create(call.json(), call.caller()))


async def bulk(call: Call) -> Response:
    return answer(await call.node.bulk(call.json(), call.caller()))


async def listed(call: Call) -> Response:
    return reply(200, await call.node.list(call.query(), call.reach()))


async def get(call: Call) -> Response:
    found = await call.node.get(call.path["id"], call.reach())
    return reply(200, found, etag=f'"{found["version"]}"')


async def update(call: Call) -> Response:
    return answer(await call.node.update(call.path["id"], call.json(), call.caller()))


async def delete(call: Call) -> Response:
    return answer(await call.node.delete(call.path["id"], call.json_if_any(), call.caller()))


async def grant(call: Call) -> Response:
    return answer(await call.node.grant(call.path["id"], call.json(), call.caller()))


async def revoke(call: Call) -> Response:
    return answer(await call.node.revoke(call.path["id"], call.json(), call.caller()))


async def promote(call: Call) -> Response:
    return answer(await call.node.promote(call.path["id"], call.caller(), call.json_if_any()))
