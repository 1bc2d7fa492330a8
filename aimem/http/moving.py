"""Handlers of export and import. Lines stream both ways; an object is one request like any other."""

from __future__ import annotations

from aimem.http.call import LINES, Call, answer, wants_lines
from aimem.net.message import Response
from aimem.node import parameters


async def export(call: Call) -> Response:
    if wants_lines(call.request.headers.get("accept", "")):
        secrets = parameters.flag(call.query(), "secrets") is True
        return Response(200, call.node.export_lines(call.reach(), secrets=secrets), {"content-type": LINES})
    return Response(200, call.node.export_object(call.reach()), {"content-type": "application/json"})


async def import_(call: Call) -> Response:
    if call.request.stream is not None:
        return answer(await call.node.import_lines(call.request.stream, call.caller()))
    return answer(await call.node.import_object(call.json(), call.caller()))
