"""One kept HTTP/1.1 connection of a node to another server: a POST at a time. For asyncio, over TCP or TLS.

A protocol of its own instead of streams: a message costs a write, a read and a search for the end of the head. What
always holds: after anything but a whole reply the connection is closed, so a late reply can't be taken for another.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from aimem.errors import NoAnswer, Unreachable
from aimem.limits import REPLY_BYTES_MAX, REPLY_HEAD_BYTES_MAX
from aimem.net.client import Address

RESOLVERS = ThreadPoolExecutor(32, thread_name_prefix="aimem-resolve")
"""Names are looked up here, so that one which does not resolve holds up nobody but those who wait for it."""


class Link(asyncio.Protocol):
    """See the module. Made by `connect`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._reply: asyncio.Future[tuple[int, bytes]] | None = None
        self._status = 0
        self._length: int | None = None
        self._keeps = True

    @classmethod
    async def connect(cls, address: Address, context: ssl.SSLContext | None) -> Self:
        """A connection to `address`. `context` where it is https.

        Raises:
            Unreachable: the name does not resolve, nobody listens, or the handshake failed.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                RESOLVERS, lambda: socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            )
            return await cls._first(address, list(dict.fromkeys(each[4][:2] for each in found)), context)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "verify_message", "") or error.strerror or str(error)
            raise Unreachable(f"can't reach {address}: {reason}") from error

    @classmethod
    async def _first(cls, address: Address, places: Sequence[tuple[Any, ...]], context: ssl.SSLContext | None) -> Self:
        """A connection to the first of the addresses of a name where somebody listens. Raises what the last one did."""
        loop = asyncio.get_running_loop()
        for number, (host, port) in enumerate(places, 1):
            try:
                _, link = await loop.create_connection(
                    lambda: cls(address),
                    host,
                    port,
                    ssl=context if address.secure else None,
                    server_hostname=address.host if address.secure else None,
                )
            except OSError as error:
                if number == len(places) or isinstance(error, ssl.SSLError):
                    raise
            else:
                return link
        raise OSError("the name has no address")

    @property
    def open(self) -> bool:
        """Whether another message can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def address(self) -> str:
        """The network address of the other end."""
        assert self._transport is not None
        return str(self._transport.get_extra_info("peername")[0])

    async def send(
        self, method: str, path: str, body: bytes, key: str | None = None, more: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the reply. `key` is an API key, `more` further headers. Cancelling it closes the
        connection.

        Raises:
            NoAnswer: the connection broke after the message was sent.
        """
        assert self._transport is not None
        fields = {
            "host": self._address.authority,
            "content-type": "application/json",
            "content-length": str(len(body)),
            **({"x-api-key": key} if key else {}),
            **(more or {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"{method} {self._address.prefix}{path} HTTP/1.1\r\n{lines}\r\n"
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(head.encode("ascii") + body)
        try:
            status, content = await self._reply
        except BaseException:
            self.close()
            raise
        finally:
            self._reply = None
        if not self._keeps:
            self.close()
        return status, content

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"{self._address} broke the connection" + (f": {exc}" if exc else ""))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._length is None and not self._read_head():
            return
        if self._length is not None and len(self._buffer) >= self._length:
            content = bytes(self._buffer[: self._length])
            self._buffer.clear()
            status, self._length = self._status, None
            if self._reply is not None and not self._reply.done():
                self._reply.set_result((status, content))

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > REPLY_HEAD_BYTES_MAX:
                self._fail(f"{self._address} sent a reply head that has no end")
            return False
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = first[9:12]
        if not (first.startswith("HTTP/1.") and status.isascii() and status.isdigit()):
            self._fail(f"{self._address} sent a reply that is not HTTP")
            return False
        self._status = int(status)
        self._keeps = first.startswith("HTTP/1.1") and fields.get("connection", "").lower() != "close"
        return self._take_length(fields)

    def _take_length(self, fields: Mapping[str, str]) -> bool:
        """Learn from a head how long the body is. Whether this can be taken: nodes always say it."""
        length = fields.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            self._fail(f"{self._address} sent a reply that is not of a node")
            return False
        if int(length) > REPLY_BYTES_MAX:
            self._fail(f"{self._address} sent a reply of {length} bytes")
            return False
        self._length = int(length)
        return True

    def _fail(self, message: str) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(NoAnswer(message))
        self.close()
