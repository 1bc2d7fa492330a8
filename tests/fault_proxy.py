"""A proxy on loopback between a client and a server that does to the bytes what a bad network does.

It runs in a thread with an event loop of its own, so that tests of every kind can use it. Faults are set by attributes
and hold for connections that are open as well. With a TLS context it answers the SSLRequest of a Postgres client, so
that a server that was built without TLS can be reached with it.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.waiting import PATIENCE_SECS

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""A client's first message when it wants TLS (PostgreSQL manual, "Message Formats": SSLRequest)."""


class FaultProxy:
    """Made by `fault_proxy`. `port` is where clients connect."""

    def __init__(self, server_port: int, tls: ssl.SSLContext | None = None) -> None:
        self.delay = 0.0
        """Seconds that every piece of data waits, in either direction."""
        self.black_hole = False
        """Take all data and hand on nothing; new connections are taken too."""
        self.refuse = False
        """Cut every new connection."""
        self.port = 0
        self.swallowed = 0
        """How many answers were lost."""
        self._server_port = server_port
        self._tls = tls
        self._lose: bytes | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    def cut(self) -> None:
        """Reset every open connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def lose_answer_to(self, words: bytes) -> None:
        """The next request with these words reaches the server; its answer is lost, and the connection cut."""
        self._lose = words

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self.refuse:
                return
            first = await reader.read(65_536)
            if self._tls is not None and first == SSL_REQUEST:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._tls)
                first = await reader.read(65_536)
            back, upstream = await asyncio.open_connection("127.0.0.1", self._server_port)
            self._open.add(upstream)
            lost = asyncio.Event()
            await self._pass(first, upstream)
            both = [asyncio.create_task(self._requests(reader, upstream, lost))]
            both.append(asyncio.create_task(self._answers(back, writer, lost)))
            _, left = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        except OSError:
            pass  # one side is gone, or no TLS was agreed on
        finally:
            for each in (writer, upstream):
                if each is not None:
                    self._open.discard(each)
                    each.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(65_536):
            if self._lose is not None and self._lose in data:
                self._lose = None
                lost.set()
            await self._pass(data, writer)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(65_536):
            if lost.is_set():
                self.swallowed += 1
                return
            await self._pass(data, writer)

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        if not self.black_hole:
            writer.write(data)
            with suppress(OSError):  # it is gone: the reading side says so
                await writer.drain()

    async def _listen(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        server.close()
        self._cut()
        await asyncio.sleep(0)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._listen(ready))
        self._loop.run_until_complete(self._task)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError):
                self._loop.run_until_complete(task)
        self._loop.run_until_complete(asyncio.sleep(0))  # what was cut is closed in the next turn of the loop
        self._loop.close()


@contextmanager
def fault_proxy(server_port: int, tls: ssl.SSLContext | None = None) -> Iterator[FaultProxy]:
    """A proxy before the server at this port; all its connections are cut at the end."""
    proxy, ready = FaultProxy(server_port, tls), threading.Event()
    thread = threading.Thread(target=proxy._run, args=(ready,), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_SECS)
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(proxy._task.cancel)
        thread.join(PATIENCE_SECS)
