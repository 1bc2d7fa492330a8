"""HTTP over plain TCP: the one place where a session meets an asyncio transport.

A `BufferedProtocol` that reads into one buffer shared by all connections: an idle connection holds no memory for
bytes to come. asyncio sets TCP_NODELAY on every accepted socket.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aimem.net.hub import Hub
from aimem.net.message import Peer
from aimem.net.session import Session


class PlainWire(asyncio.BufferedProtocol):
    """A `Wire` without encryption."""

    __slots__ = ("_hub", "_session", "_transport")

    _session: Session
    _transport: asyncio.Transport

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self._session = Session(self._hub, self, Peer(address, port))
        self._session.open()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._hub.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._session.received(bytes(self._hub.receive_buffer[:nbytes]))

    def eof_received(self) -> bool:
        self._session.ended()
        return True  # the session closes, once it has said what it has to say

    def connection_lost(self, exc: Exception | None) -> None:
        self._session.lost()

    def pause_writing(self) -> None:
        self._session.writable(False)

    def resume_writing(self) -> None:
        self._session.writable(True)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def finish(self) -> None:
        with suppress(OSError):  # the peer may have reset the connection, and its socket knows it before we do
            self._transport.write_eof()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
