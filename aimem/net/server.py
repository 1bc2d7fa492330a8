"""The HTTP server: listens, sweeps over deadlines, drains. What it answers is the handler's business.

server = Server(handler)
sockets = await server.start("127.0.0.1", 0)
...
await server.drain(30.0)
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from aimem.errors import Misconfigured
from aimem.net.head import Head
from aimem.net.hub import Bounds, Counters, Hub, OnDone
from aimem.net.message import Handler, Request
from aimem.net.plain import PlainWire

if TYPE_CHECKING:
    from aimem.net.tls_server import ServerTls

_BACKLOG = 1_024  # connects that wait while the loop is busy: a fleet's agents may all come back at once
_CANCEL_SECS = 1.0  # for handlers that were cut to end: one that takes longer is left behind


def _never(head: Head) -> bool:
    return False


def _silent(request: Request, status: int, sent_bytes: int, seconds: float) -> None:
    return None


class Server:
    """One listener and its connections. Make it inside the running loop that serves it.

    `handler` answers each request in a task of its own, which is cancelled when its caller leaves; an `AimemError`
    that it raises becomes the reply. `streams(head)` is asked before a body is read: True hands it over as
    `Request.stream`, without a bound on the whole. `on_done` is told of every request, for the access log. With `tls`
    all connections are encrypted.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        streams: Callable[[Head], bool] = _never,
        on_done: OnDone = _silent,
        bounds: Bounds | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self._tls = tls
        self._hub = Hub(handler, streams, on_done, bounds or Bounds())
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._grace: asyncio.Timeout | None = None  # of the drain that waits

    @property
    def counters(self) -> Counters:
        """The live counters; read only."""
        return self._hub.counters

    async def start(self, host: str, port: int) -> list[socket.socket]:
        """Listens; port 0 takes a free one. The sockets tell the addresses. Raises `Misconfigured`."""
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(self._wires(), host, port, backlog=_BACKLOG)
        except OSError as err:
            raise Misconfigured(
                f"can't listen on {host}:{port}: {err.strerror or err}",
                hint="is another program on this port? `--bind HOST:PORT` chooses another",
            ) from err
        self._listener = listener
        self._sweep()
        return list(listener.sockets)

    def cut_unlisted(self) -> int:
        """Cuts the connections whose certificate is not listed any more. Returns how many."""
        if self._tls is None:
            return 0
        cut = [session for session in self._hub.sessions if not self._tls.lets_in(session.peer.fingerprint)]
        for session in cut:
            session.abort()
        return len(cut)

    def _wires(self) -> Callable[[], asyncio.BaseProtocol]:
        hub, tls = self._hub, self._tls
        if tls is None:
            return lambda: PlainWire(hub)
        from aimem.net.tls_wire import TlsWire  # only here: a node without TLS does not load it

        return lambda: TlsWire(hub, tls)

    async def drain(self, grace_secs: float) -> int:
        """Stops: no new connection, idle ones closed at once, requests in flight finished within `grace_secs`.

        What is left then, or when `hurry` is called, is cut. Returns how many connections that were.
        """
        hub = self._hub
        hub.draining = True
        if self._listener is not None:
            self._listener.close()
        for wire in tuple(hub.handshakes):
            wire.abort()
        for session in tuple(hub.sessions):
            session.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_secs) as self._grace:
                await hub.empty.wait()
        self._grace = None
        cut = tuple(hub.sessions)
        for session in cut:
            session.abort()
        if hub.tasks:
            await asyncio.wait(tuple(hub.tasks), timeout=_CANCEL_SECS)
        await hub.empty.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return len(cut)

    def hurry(self) -> None:
        """Ends the grace of the drain that waits, if one does."""
        if self._grace is not None and not self._grace.expired():
            self._grace.reschedule(0.0)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session in tuple(self._hub.sessions):
            session.sweep(now)
        for wire in tuple(self._hub.handshakes):
            wire.sweep(now)
        self._sweeper = loop.call_later(self._hub.bounds.sweep_secs, self._sweep)
