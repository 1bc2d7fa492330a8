"""Messages of other nodes. What they mean is the mesh's; who may send them is checked before they come here."""

from __future__ import annotations

from aimem.errors import NotOffered
from aimem.http.call import Call, reply
from aimem.mesh.messages import PREFIX
from aimem.net.message import Response
from aimem.node.lane import Fleet

LEGACY_PUSH, LEGACY_SINCE = f"{PREFIX}push", f"{PREFIX}since"
_JSON = {"content-type": "application/json"}


async def message(call: Call) -> Response:
    """One message, and the reply to it."""
    request = call.request
    return Response(200, await _fleet(call).answer(request.path, request.body, request.identity), _JSON)


async def legacy_push(call: Call) -> Response:
    """A push of a node of the existing system. Its Idempotency-Key, which comes back for other changes, is passed
    over."""
    request = call.request
    return reply(200, await _fleet(call).legacy_push(call.json(), request.peer.address, request.identity))


async def legacy_since(call: Call) -> Response:
    """What a node of the existing system has not seen yet."""
    return reply(200, await _fleet(call).legacy_since(call.query(), call.request.identity))


def _fleet(call: Call) -> Fleet:
    if call.node.fleet is None:
        raise NotOffered("this node takes no part in a mesh")
    return call.node.fleet
