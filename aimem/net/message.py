"""What passes between a connection and a handler: one `Request` in, one `Response` out.

Both are plain values. A body is bytes, or a stream: `BodyStream` for a request whose route asked for it, any async
iterable of bytes for a response. Nothing here knows routes, sockets, or how either is spelled on the wire.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aimem import limits
from aimem.errors import AimemError

if TYPE_CHECKING:
    from aimem.core.identity_words import Identity


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. `fingerprint` is that of its certificate; None on a connection without TLS."""

    address: str
    port: int = 0
    fingerprint: str | None = None


class BodyStream:
    """A request's body as it comes in: iterate over it once, for pieces of any size.

    At most `READ_AHEAD_BYTES_MAX` and one read are held; while nobody takes them, the connection is not read. The
    iteration raises the error that ends a body early: malformed framing, or a caller that sends too slowly.
    """

    __slots__ = ("_buffer", "_ended", "_error", "_on_taken", "_waiter")

    def __init__(self, on_taken: Callable[[], None]) -> None:
        self._buffer = bytearray()
        self._ended = False
        self._error: AimemError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._on_taken = on_taken

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        while not self._buffer:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        piece = bytes(self._buffer)
        self._buffer.clear()
        self._on_taken()
        return piece

    @property
    def pending(self) -> int:
        """Bytes that came in and were not taken yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """The connection's side: more of the body. After the end it is dropped."""
        if not self._ended:
            self._buffer += data
            self._wake()

    def end(self, error: AimemError | None = None) -> None:
        """The connection's side: no more comes, because the body is whole or because of `error`."""
        self._ended = True
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@dataclass(slots=True)
class Request:
    """One request. Names of `headers` are in lower case; `path` and `query` are as sent, still percent-encoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    peer: Peer
    request_id: str
    body: bytes = b""
    stream: BodyStream | None = None  # in place of `body`, where the route asked for it
    identity: Identity | None = None  # who the certificate or the API key belongs to, once somebody has looked

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the caller's certificate in lower-case hex, where it showed one."""
        return self.peer.fingerprint


@dataclass(slots=True)
class Response:
    """The answer. The connection adds Date, Content-Length or the chunked coding, Connection and X-Request-Id."""

    status: int
    body: bytes | AsyncIterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


def error_response(error: AimemError) -> Response:
    """The one form in which an error is told over HTTP."""
    body = json.dumps(error.body(), ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"content-type": "application/json"}
    if error.retryable:
        headers["retry-after"] = str(limits.RETRY_AFTER_SECS)
    return Response(error.status, body, headers)
