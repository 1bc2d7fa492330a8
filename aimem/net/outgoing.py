"""The outgoing side of a connection: replies in pieces, at the pace at which the caller takes them.

At most the wire's high-water mark and one piece are held for a caller that does not read. How long it may stay so is
a deadline, which the session's sweep looks at.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable

from aimem import limits
from aimem.net.hub import Hub
from aimem.net.message import Response
from aimem.net.reply_head import LAST_CHUNK, Framing
from aimem.net.wire import Wire


class Outgoing:
    """Sends through a wire, and waits for it."""

    __slots__ = ("_choked", "_gone", "_hub", "_waiter", "_wire", "deadline", "sent")

    def __init__(self, hub: Hub, wire: Wire) -> None:
        self._hub = hub
        self._wire = wire
        self._choked = False
        self._gone = False
        self._waiter: asyncio.Future[None] | None = None
        self.deadline = math.inf  # in the loop's time: the caller has to take something by then
        self.sent = 0  # bytes of the reply under way

    def send(self, data: bytes) -> None:
        """Hands bytes of a reply to the wire."""
        if self._gone:
            return
        self.sent += len(data)
        self._hub.counters.sent_bytes_total += len(data)
        self._wire.write(data)

    def writable(self, yes: bool) -> None:
        """The wire holds too much, or has room again."""
        self._choked = not yes
        self.deadline = math.inf if yes else self._hub.now() + self._hub.bounds.write_stall_secs
        if yes:
            self._wake()

    def lost(self) -> None:
        """The connection is gone: nothing is sent any more, and nobody waits."""
        self._gone = True
        self.deadline = math.inf
        self._wake()

    async def room(self) -> None:
        """Waits until the caller has taken most of what was sent."""
        while self._choked and not self._gone:
            self._waiter = self._hub.loop.create_future()
            await self._waiter
        self._waiter = None

    async def reply(self, response: Response, shape: Framing, raw_head: bytes) -> None:
        """Sends a reply to its end."""
        body = response.body
        if not isinstance(body, bytes):
            await self._stream(body, shape, raw_head)
        elif not shape.has_body:
            self.send(raw_head)
        elif len(body) <= limits.WRITE_SLICE_BYTES:
            self.send(raw_head + body)
        else:
            self.send(raw_head)
            for at in range(0, len(body), limits.WRITE_SLICE_BYTES):
                await self.room()
                self.send(body[at : at + limits.WRITE_SLICE_BYTES])
        await self.room()

    async def _stream(self, body: AsyncIterable[bytes], shape: Framing, raw_head: bytes) -> None:
        try:
            self.send(raw_head)
            if not shape.has_body:
                return
            async for piece in body:
                if piece:
                    self.send(b"%x\r\n%b\r\n" % (len(piece), piece) if shape.chunked else piece)
                    await self.room()
            if shape.chunked:
                self.send(LAST_CHUNK)
        finally:
            if (close := getattr(body, "aclose", None)) is not None:
                await close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
