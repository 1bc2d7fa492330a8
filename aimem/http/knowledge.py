"""Handlers of what is known about memories together: links, entities, contradictions; and how a session starts."""

from __future__ import annotations

from aimem.errors import NotBuilt
from aimem.http.call import Call, answer, reply
from aimem.net.message import Response


async def query(call: Call) -> Response:
    return reply(200, await call.node.graph_query(call.json(), call.reach()))


async def timeline(call: Call) -> Response:
    return reply(200, await call.node.graph_timeline(call.query(), call.reach()))


async def lineage(call: Call) -> Response:
    return reply(200, await call.node.lineage(call.path["id"], call.query(), call.reach()))


async def register_entity(call: Call) -> Response:
    return answer(await call.node.register_entity(call.json(), call.caller()))


async def entity_by_alias(call: Call) -> Response:
    return reply(200, await call.node.entity_by_alias(call.query(), call.reach()))


async def check_duplicate(call: Call) -> Response:
    return reply(200, await call.node.check_duplicate(call.json(), call.reach()))


async def contradictions(call: Call) -> Response:
    return reply(200, await call.node.contradictions(call.query(), call.reach()))


async def start_session(call: Call) -> Response:
    return reply(200, await call.node.start_session(call.json_if_any(), call.caller()))


async def cluster(call: Call) -> Response:
    """Grouping memories by meaning is a call of the published client that no node offers."""
    raise NotBuilt("memories are not grouped by this program", hint="POST /recall finds what is near to a question")
