"""Handlers that find memories: by words, by meaning, by namespace."""

from __future__ import annotations

from aimem.errors import WrongShape
from aimem.http.call import Call, reply
from aimem.net.message import Response


async def search(call: Call) -> Response:
    return reply(200, await call.node.search(call.query(), call.reach()))


async def recall(call: Call) -> Response:
    return reply(200, await call.node.recall(call.query(), call.caller()))


async def recall_posted(call: Call) -> Response:
    asked = call.json()
    if not isinstance(asked, dict):
        raise WrongShape("the request must be an object", hint='{"context": "what to recall"}')
    return reply(200, await call.node.recall(asked, call.caller()))


async def namespaces(call: Call) -> Response:
    """All namespaces with their counts; of a named one its standard, as the existing system has it."""
    asked = call.query()
    if "namespace" in asked:
        return reply(200, await call.node.standard(asked["namespace"], asked, call.reach()))
    return reply(200, await call.node.namespaces(asked, call.reach()))


async def taxonomy(call: Call) -> Response:
    return reply(200, await call.node.taxonomy(call.query(), call.reach()))
