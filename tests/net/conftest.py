"""A real server on a free loopback port, and a caller that sends bytes as it likes and reads replies with h11."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import h11
import pytest

from aimem.net.head import Head
from aimem.net.hub import Bounds
from aimem.net.message import Handler, Request
from aimem.net.server import Server
from aimem.net.tls_server import ServerTls
from tests.waiting import PATIENCE_SECS


@dataclass
class Reply:
    """One reply as h11 read it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


class Caller:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._left = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, method: str = "GET") -> Reply:
        """The next reply, to a request with `method`."""
        async with asyncio.timeout(PATIENCE_SECS):
            return await self._reply(method)

    async def _reply(self, method: str) -> Reply:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "n")]))
        connection.send(h11.EndOfMessage())
        if self._left:
            connection.receive_data(self._left)
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await self.reader.read(65_536))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                assert isinstance(event, h11.InformationalResponse), event
        assert head is not None
        self._left = connection.trailing_data[0]
        return Reply(head.status_code, {name.decode(): value.decode() for name, value in head.headers}, bytes(body))

    async def closed(self) -> bool:
        """True once the server has ended the connection, and nothing came that was not read."""
        async with asyncio.timeout(PATIENCE_SECS):
            try:
                return not self._left and await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Running:
    """A server that listens, and what it told `on_done`."""

    def __init__(self, server: Server, port: int, done: list[tuple[str, int, int]]) -> None:
        self.server, self.port, self.done = server, port, done
        self._callers: list[Caller] = []

    async def call(self) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        self._callers.append(caller)
        return caller

    async def ask(self, raw: bytes, method: str = "GET") -> Reply:
        """Sends `raw` on a new connection and reads one reply."""
        caller = await self.call()
        await caller.send(raw)
        return await caller.reply(method)

    async def close(self) -> None:
        for caller in self._callers:
            await caller.close()
        await self.server.drain(0.0)
        counters = self.server.counters
        assert (counters.connections, counters.requests_in_flight, counters.bodies_bytes) == (0, 0, 0)


Serve = Callable[..., Awaitable[Running]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers: `await serve(handler, streams=..., **bounds)`; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start(
            handler: Handler, streams: Callable[[Head], bool] | None = None, tls: ServerTls | None = None, **bounds: Any
        ) -> Running:
            done: list[tuple[str, int, int]] = []

            def on_done(request: Request, status: int, sent: int, seconds: float) -> None:
                assert seconds >= 0
                done.append((request.path, status, sent))

            kept = Bounds(**{"sweep_secs": 0.005, **bounds})
            server = Server(handler, streams=streams or (lambda head: False), on_done=on_done, bounds=kept, tls=tls)
            sockets = await server.start("127.0.0.1", 0)
            running = Running(server, sockets[0].getsockname()[1], done)
            stack.push_async_callback(running.close)
            return running

        yield start
