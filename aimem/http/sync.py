"""Messages of other nodes. What they mean is the mesh's; who may send them is checked before they come here."""

from __future__ import annotations

from aimem.errors import NotOffered
from aimem.http.call import Call
from aimem.net.message import Response

_JSON = {"content-type": "application/json"}


async def message(call: Call) -> Response:
    """One message, and the reply to it."""
    if call.node.fleet is None:
        raise NotOffered("this node takes no part in a mesh")
    request = call.request
    return Response(200, await call.node.fleet.answer(request.path, request.body, request.identity), _JSON)
