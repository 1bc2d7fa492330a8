"""Handlers of the archive, and of what fills it."""

from __future__ import annotations

from aimem.errors import WrongShape
from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def add(call: Call) -> Response:
    return answer(await call.node.archive(call.json(), call.caller()))


async def listed(call: Call) -> Response:
    return reply(200, await call.node.archived(call.query(), call.reach()))


async def restore(call: Call) -> Response:
    return answer(await call.node.restore(call.path["id"], call.caller(), call.json_if_any()))


async def purge(call: Call) -> Response:
    return answer(await call.node.purge(call.query(), call.caller()))


async def stats(call: Call) -> Response:
    return reply(200, await call.node.archive_stats(call.reach()))


async def forget(call: Call) -> Response:
    """What to forget may stand in the body, in the query string, or in both."""
    named = call.json_if_any()
    if named is not None and not isinstance(named, dict):
        raise WrongShape("the request must be an object", hint='{"namespace": "...", "pattern": "..."}')
    return answer(await call.node.forget({**call.query(), **(named or {})}, call.caller()))


async def consolidate(call: Call) -> Response:
    return answer(await call.node.consolidate(call.json(), call.caller()))


async def gc(call: Call) -> Response:
    return answer(await call.node.gc(call.caller()))
