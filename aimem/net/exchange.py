"""One request and its reply: the body as it gathers, the bounds it meets, and the account at the end.

A session holds one exchange at a time. What an exchange takes of the server's shared bounds (a place in flight, bytes
of bodies) it gives back in `close`, which is called exactly once however it ends.
"""

from __future__ import annotations

import asyncio
import time

from aimem.errors import AimemError, Busy, TooLarge
from aimem.net.head import Head
from aimem.net.hub import CLIENT_LEFT, Hub
from aimem.net.message import BodyStream, Peer, Request, Response
from aimem.net.reply_head import Framing, framing, reply_head


class Exchange:
    """Made when a head has come; without one (`head` None), when an error is answered that no request led to."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_held",
        "_hub",
        "began",
        "closes",
        "head",
        "refusal",
        "request",
        "status",
        "task",
    )

    def __init__(self, hub: Hub, peer: Peer, head: Head | None) -> None:
        self._hub = hub
        self._body: bytes | bytearray = b""
        self._body_bytes = 0  # how much came
        self._held = 0  # how much of it is counted in `Counters.bodies_bytes`
        self.began = hub.now()
        self.head = head
        self.refusal: AimemError | None = None  # the body is read and dropped, then this answers
        self.task: asyncio.Task[None] | None = None
        self.closes = False  # the connection ends with this reply
        self.status = CLIENT_LEFT
        if head is None:
            self.request = Request("", "", "", {}, peer, hub.request_id({}))
        else:
            hub.counters.requests_total += 1
            request_id = hub.request_id(head.headers)
            self.request = Request(head.method, head.path, head.query, head.headers, peer, request_id)

    @property
    def stream(self) -> BodyStream | None:
        """The body on its way to the handler, where the route asked for that."""
        return self.request.stream

    def expect_body(self) -> None:
        """Raises `TooLarge` when the head promises more than is taken."""
        if self.head is not None and (self.head.length or 0) > self._hub.bounds.body_bytes_max:
            raise self._too_large()

    def take_body(self, data: bytes) -> None:
        """Gathers a piece, or hands it on. Raises `TooLarge` when it is one too many."""
        if self.request.stream is not None:
            self.request.stream.feed(data)
            return
        self._body_bytes += len(data)
        if self._body_bytes > self._hub.bounds.body_bytes_max:
            raise self._too_large()
        if self.refusal is not None:
            return
        if self._hub.counters.bodies_bytes + len(data) > self._hub.bounds.bodies_bytes_max:
            self._drop_body()
            self.refusal = Busy("too many request bodies at once")
            return
        self._hold(data)

    def take_end(self) -> None:
        """The body is whole."""
        if self.request.stream is not None:
            self.request.stream.end()
        else:
            self.request.body = bytes(self._body)
            self._body = b""

    def reply_head(self, response: Response, *, closes: bool) -> tuple[Framing, bytes]:
        """How the reply is framed, and its head. `closes`: for reasons of its own, the session ends after it."""
        head = self.head
        minor = 1 if head is None else head.minor
        closes = closes or head is None or not head.keep_alive
        length = len(response.body) if isinstance(response.body, bytes) else None
        shape = framing(self.request.method, response.status, length, minor=minor, close=closes)
        raw = reply_head(
            response.status, response.headers, shape, minor=minor, request_id=self.request.request_id, now=time.time()
        )
        self.closes = shape.close
        self.status = response.status
        return shape, raw

    def close(self, sent_bytes: int) -> None:
        """The exchange is over, whatever came of it."""
        counters = self._hub.counters
        if self.status == CLIENT_LEFT:
            counters.abandoned_total += 1
        self._drop_body()
        self._hub.on_done(self.request, self.status, sent_bytes, self._hub.now() - self.began)

    def _hold(self, data: bytes) -> None:
        self._hub.counters.bodies_bytes += len(data)
        self._held += len(data)
        if not self._body:
            self._body = data  # most bodies come in one piece: no copy
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data

    def _drop_body(self) -> None:
        self._hub.counters.bodies_bytes -= self._held
        self._held = 0
        self._body = b""

    def _too_large(self) -> AimemError:
        return TooLarge(f"the request body is over {self._hub.bounds.body_bytes_max} bytes")
