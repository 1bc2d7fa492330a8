"""What a caller can't do: hold a connection, a handler or memory for longer or more than the bounds say."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from aimem import limits
from aimem.errors import AimemError, Misconfigured
from aimem.net.message import Request, Response
from aimem.net.plain import PlainWire
from aimem.net.server import Server
from tests.waiting import until

from .conftest import Serve

GET = b"GET / HTTP/1.1\r\nHost: n\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG_SECS = 1_000.0


async def ok(request: Request) -> Response:
    return Response(200, request.body)


class Gate:
    """A handler that waits until it is opened, and knows who entered and who was cancelled."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = self.cancelled = 0

    async def __call__(self, request: Request) -> Response:
        self.entered += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Response(200, b"through")


# Slow callers.


async def test_a_slow_head_is_a_408(serve: Serve) -> None:
    node = await serve(ok, head_secs=0.05, idle_secs=LONG_SECS)
    caller = await node.call()
    await caller.send(GET[:10])
    reply = await caller.reply()
    assert (reply.status, reply.json()["code"], reply.headers["connection"]) == (408, "too_slow", "close")


async def test_a_silent_body_is_a_408(serve: Serve) -> None:
    node = await serve(ok, body_idle_secs=0.05)
    caller = await node.call()
    await caller.send(POST + b"12345")
    assert (await caller.reply()).status == 408


async def test_an_idle_connection_is_closed_without_a_word(serve: Serve) -> None:
    node = await serve(ok, idle_secs=0.05)
    caller = await node.call()
    assert await caller.closed()
    assert node.done == []


# Callers that leave.


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
async def test_a_handler_is_cancelled_when_its_caller_leaves(serve: Serve, how: str) -> None:
    gate = Gate()
    node = await serve(gate)
    callers = [await node.call() for _ in range(50)]
    for caller in callers:
        await caller.send(GET)
    await until(lambda: gate.entered == 50)
    for caller in callers:
        if how == "half-close":
            caller.writer.write_eof()
        elif how == "reset":
            caller.writer.transport.abort()
        else:
            await caller.close()
    await until(lambda: len(node.done) == 50)
    assert gate.cancelled == 50
    assert {status for _, status, _ in node.done} == {499}
    assert node.server.counters.abandoned_total == 50


async def test_a_request_and_a_fin_in_one_go(serve: Serve) -> None:
    """The handler's task may be cancelled before its first step: it is accounted for all the same."""
    node = await serve(Gate())
    caller = await node.call()
    caller.writer.write(GET)
    caller.writer.write_eof()
    assert await caller.closed()
    await until(lambda: [status for _, status, _ in node.done] == [499])


# Callers that do not read.


async def test_a_long_reply_waits_for_its_caller(serve: Serve) -> None:
    """Only what the kernel and the high-water mark hold is made before the caller reads."""
    made = 0
    total = 32 * 1024 * 1024

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal made
        while made < total:
            made += 65_536
            yield b"x" * 65_536

    async def export(request: Request) -> Response:
        return Response(200, pieces())

    node = await serve(export, write_stall_secs=LONG_SECS)
    caller = await node.call()
    await caller.send(GET + GET)
    await until(lambda: made > 0)
    sent = -1
    while sent != node.server.counters.sent_bytes_total:
        sent = node.server.counters.sent_bytes_total
        await asyncio.sleep(0.05)
    assert made < total / 2
    assert len((await caller.reply()).body) == total


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_caller_that_stops_reading_is_cut(serve: Serve, streamed: bool) -> None:
    ended = asyncio.Event()
    size = 64 * 1024 * 1024

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
        finally:
            ended.set()

    async def export(request: Request) -> Response:
        return Response(200, pieces() if streamed else bytes(size))

    node = await serve(export, write_stall_secs=0.05)
    caller = await node.call()
    caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await caller.send(GET)
    await until(lambda: len(node.done) == 1)
    assert node.server.counters.sent_bytes_total < size
    if streamed:
        await until(ended.is_set)


async def test_a_reply_that_breaks_off_is_seen_to(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("the disk went away")

    async def export(request: Request) -> Response:
        return Response(200, pieces())

    node = await serve(export)
    caller = await node.call()
    await caller.send(GET)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await caller.reader.readuntil(b"0\r\n\r\n")
    assert "the disk went away" in caplog.text


# Bodies taken as they come.


class Import:
    """A handler that takes a streamed body piece by piece, once it is let."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.taken = 0
        self.error: AimemError | None = None

    async def __call__(self, request: Request) -> Response:
        assert request.stream is not None
        await self.go.wait()
        try:
            async for piece in request.stream:
                self.taken += len(piece)
        except AimemError as err:
            self.error = err
            raise
        return Response(200, b"%d" % self.taken)


async def test_a_streamed_body_has_no_bound_and_waits_for_its_handler(serve: Serve) -> None:
    handler = Import()
    node = await serve(handler, streams=lambda head: True)
    caller = await node.call()
    size = 16 * limits.BODY_BYTES_MAX
    sending = asyncio.create_task(caller.send(POST.replace(b"10", b"%d" % size) + bytes(size) + GET))
    received = -1
    while received != node.server.counters.received_bytes_total:
        received = node.server.counters.received_bytes_total
        await asyncio.sleep(0.05)
    assert received < 4 * limits.READ_AHEAD_BYTES_MAX
    handler.go.set()
    assert (await caller.reply()).body == b"%d" % size
    await sending
    assert (await caller.reply()).status == 200  # a GET has an empty stream


@pytest.mark.parametrize(
    ("raw", "status"),
    [(CHUNKED + b"3\r\nabc\r\nzz\r\n", 400), (CHUNKED + b"3\r\nabc\r\n", 408)],
    ids=["malformed", "slow"],
)
async def test_a_streamed_body_that_ends_badly(serve: Serve, raw: bytes, status: int) -> None:
    handler = Import()
    handler.go.set()
    node = await serve(handler, streams=lambda head: True, body_idle_secs=0.1)
    caller = await node.call()
    await caller.send(raw)
    reply = await caller.reply()
    assert (reply.status, reply.headers["connection"]) == (status, "close")
    assert handler.error is not None
    assert handler.taken == 3


async def test_a_handler_that_answers_before_the_body_is_through(serve: Serve) -> None:
    async def refuse(request: Request) -> Response:
        raise AimemError("no")

    node = await serve(refuse, streams=lambda head: True)
    caller = await node.call()
    size = 2 * limits.BODY_BYTES_MAX
    await caller.send(POST.replace(b"10", b"%d" % size) + bytes(size))
    reply = await caller.reply()
    assert (reply.status, reply.headers["connection"]) == (500, "close")


# Too many at once.


async def test_more_requests_than_are_taken_get_503(serve: Serve) -> None:
    gate = Gate()
    node = await serve(gate, in_flight_max=8)
    callers = [await node.call() for _ in range(40)]
    for caller in callers:
        await caller.send(POST + b"0123456789")
    await until(lambda: node.server.counters.refused_total == 32)
    gate.open.set()
    replies = [await caller.reply() for caller in callers]
    assert sorted(reply.status for reply in replies) == [200] * 8 + [503] * 32
    for caller, reply in zip(callers, replies, strict=True):
        if reply.status == 503:
            assert (reply.headers["retry-after"], reply.json()["code"]) == ("1", "busy")
            await caller.send(GET)  # the connection was kept
            assert (await caller.reply()).status == 200


async def test_more_streams_than_are_taken_get_503(serve: Serve) -> None:
    gate = Gate()
    node = await serve(gate, streams=lambda head: True, in_flight_max=1)
    first = await node.call()
    await first.send(CHUNKED)
    await until(lambda: gate.entered == 1)
    reply = await node.ask(CHUNKED)
    assert (reply.status, reply.headers["connection"]) == (503, "close")
    assert node.server.counters.bad_requests_total == {}
    assert node.server.counters.refused_total == 1


async def test_more_bytes_of_bodies_than_are_held_get_503(serve: Serve) -> None:
    gate = Gate()
    node = await serve(gate, bodies_bytes_max=15)
    first = await node.call()
    await first.send(POST + b"0123456789")
    await until(lambda: gate.entered == 1)
    second = await node.call()
    await second.send(POST + b"0123456789")
    assert (await second.reply()).status == 503
    gate.open.set()
    assert (await first.reply()).status == 200
    await second.send(POST + b"0123456789")
    assert (await second.reply()).status == 200


async def test_more_connections_than_are_taken(serve: Serve) -> None:
    node = await serve(ok, connections_max=2, connections_refused_max=1, linger_secs=LONG_SECS)
    kept = [await node.call() for _ in range(2)]
    for caller in kept:
        await caller.send(GET)
        assert (await caller.reply()).status == 200
    told = await node.ask(GET)
    assert (told.status, told.headers["retry-after"], told.headers["connection"]) == (503, "1", "close")
    cut = await node.call()
    assert await cut.closed()
    assert node.server.counters.refused_total == 2
    await kept[0].close()
    await until(lambda: node.server.counters.connections == 2)


# Start and stop.


async def test_drain_finishes_what_was_begun(serve: Serve) -> None:
    gate = Gate()
    node = await serve(gate)
    idle = await node.call()
    busy = [await node.call() for _ in range(5)]
    for caller in busy:
        await caller.send(GET + GET)
    sending = await node.call()
    await sending.send(POST + b"01234")
    await until(lambda: gate.entered == 5 and node.server.counters.requests_total == 6)
    drained = asyncio.create_task(node.server.drain(LONG_SECS))
    assert await idle.closed()
    with pytest.raises(ConnectionRefusedError):
        await node.call()
    await sending.send(b"56789")
    await until(lambda: gate.entered == 6)
    gate.open.set()
    for caller in [*busy, sending]:
        reply = await caller.reply()
        assert (reply.body, reply.headers["connection"]) == (b"through", "close")
        await caller.close()
    assert await drained == 0
    assert gate.entered == 6  # what was pipelined behind was not begun


async def test_drain_cuts_what_outlives_its_grace(serve: Serve) -> None:
    gate = Gate()
    node = await serve(gate)
    caller = await node.call()
    await caller.send(GET)
    await until(lambda: gate.entered == 1)
    assert await node.server.drain(0.01) == 1
    assert gate.cancelled == 1
    assert node.server.counters.requests_in_flight == 0


async def test_a_taken_port_is_a_configuration_error(serve: Serve) -> None:
    node = await serve(ok)
    with pytest.raises(Misconfigured, match=str(node.port)):
        await Server(ok).start("127.0.0.1", node.port)


async def test_replies_do_not_wait_for_more(serve: Serve) -> None:
    """TCP_NODELAY: a small reply must not wait for the acknowledgement of the one before it."""
    seen: list[int] = []

    async def look(request: Request) -> Response:
        for transport in transports:
            sock = transport.get_extra_info("socket")
            seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return Response(200)

    transports: list[asyncio.BaseTransport] = []
    original = PlainWire.connection_made

    def remember(self: PlainWire, transport: asyncio.BaseTransport) -> None:
        transports.append(transport)
        original(self, transport)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainWire, "connection_made", remember)
        node = await serve(look)
        await node.ask(GET)
    assert seen == [1]
