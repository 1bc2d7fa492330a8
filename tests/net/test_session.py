"""Deadlines of a connection, with a clock that the test turns: a session needs no socket and no time to pass."""

from __future__ import annotations

import asyncio

import pytest

from aimem import limits
from aimem.net.head import Head
from aimem.net.hub import Bounds, Hub
from aimem.net.message import Peer, Request, Response
from aimem.net.session import Session

GET = b"GET / HTTP/1.1\r\nHost: n\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAMED = CHUNKED.replace(b"POST /", b"POST /stream")


class Tape:
    """A wire that keeps what it is told."""

    def __init__(self) -> None:
        self.written = b""
        self.paces: list[str] = []
        self.calls: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.paces.append("pause")

    def resume_reading(self) -> None:
        self.paces.append("resume")

    def finish(self) -> None:
        self.calls.append("finish")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


class Table:
    """A session between a tape, a turned clock, and a handler that waits until it may answer."""

    def __init__(self) -> None:
        self.bounds = Bounds()
        self.answer = asyncio.Event()
        self.hub = Hub(self._handle, self._streams, self._done, self.bounds)
        self.time = 1_000.0
        self.hub.now = lambda: self.time
        self.wire = Tape()
        self.statuses: list[int] = []
        self.sent: list[int] = []
        self.session = Session(self.hub, self.wire, Peer("test"))
        self.session.open()

    async def _handle(self, request: Request) -> Response:
        await self.answer.wait()
        if request.stream is not None:
            async for _ in request.stream:
                pass
        return Response(200)

    def _streams(self, head: Head) -> bool:
        return head.path == "/stream"

    def _done(self, request: Request, status: int, sent: int, seconds: float) -> None:
        self.statuses.append(status)
        self.sent.append(sent)

    def pass_secs(self, secs: float) -> None:
        self.time += secs
        self.session.sweep(self.time)

    async def run(self) -> None:
        """Lets the handler go as far as it can."""
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def table() -> Table:
    return Table()


async def test_an_idle_connection_is_closed(table: Table) -> None:
    table.pass_secs(limits.IDLE_SECS - 0.1)
    assert table.wire.calls == []
    table.pass_secs(0.2)
    assert (table.wire.calls, table.wire.written) == (["close"], b"")


async def test_a_kept_connection_is_idle_anew(table: Table) -> None:
    table.answer.set()
    table.pass_secs(limits.IDLE_SECS - 0.1)
    table.session.received(GET)
    await table.run()
    assert table.statuses == [200]
    table.pass_secs(limits.IDLE_SECS - 0.1)
    assert table.wire.calls == []
    table.pass_secs(0.2)
    assert table.wire.calls == ["close"]


async def test_a_dripping_head_gains_no_time(table: Table) -> None:
    table.pass_secs(limits.IDLE_SECS - 0.1)
    for byte in GET[:10]:
        table.session.received(bytes([byte]))
        table.pass_secs(limits.HEAD_SECS / 10.1)
    assert table.wire.written == b""
    table.pass_secs(limits.HEAD_SECS / 10.1)
    assert table.wire.written.startswith(b"HTTP/1.1 408 ")
    assert table.wire.calls == ["finish"]


async def test_lingering_ends(table: Table) -> None:
    table.session.received(b"\0")
    table.session.received(b"x" * 1_000)
    table.pass_secs(limits.LINGER_SECS - 0.1)
    assert table.wire.calls == ["finish"]
    table.pass_secs(0.2)
    assert table.wire.calls == ["finish", "abort"]


@pytest.mark.parametrize("start", [CHUNKED, STREAMED], ids=["whole", "streamed"])
async def test_a_byte_a_second_is_too_slow(table: Table, start: bytes) -> None:
    table.answer.set()
    table.session.received(start)
    for _ in range(9):
        table.pass_secs(1.0)
        table.session.received(b"1\r\nx\r\n")
    await table.run()
    assert table.wire.written == b""
    table.pass_secs(1.1)
    await table.run()
    assert table.wire.written.startswith(b"HTTP/1.1 408 ")


async def test_the_least_rate_is_enough_for_ever(table: Table) -> None:
    table.session.received(CHUNKED)
    piece = b"%x\r\n%b\r\n" % (limits.BODY_BYTES_PER_SEC_MIN, b"x" * limits.BODY_BYTES_PER_SEC_MIN)
    for _ in range(100):
        table.pass_secs(1.0)
        table.session.received(piece)
    assert table.wire.written == b""


async def test_a_fast_start_buys_no_long_silence(table: Table) -> None:
    table.session.received(CHUNKED + b"%x\r\n" % 1_000_000 + b"x" * 1_000_000)
    table.pass_secs(limits.BODY_IDLE_SECS + 0.1)
    assert table.wire.written.startswith(b"HTTP/1.1 408 ")


async def test_a_handler_has_no_deadline_of_the_connection(table: Table) -> None:
    table.session.received(CHUNKED + b"0\r\n\r\n")
    await table.run()
    table.pass_secs(10_000.0)
    table.answer.set()
    await table.run()
    assert table.wire.written.startswith(b"HTTP/1.1 200 ")


async def test_a_caller_is_not_late_while_it_is_not_read(table: Table) -> None:
    size = limits.READ_AHEAD_BYTES_MAX + 1
    table.session.received(STREAMED + b"%x\r\n%b\r\n" % (size, bytes(size)))
    assert table.wire.paces == ["pause"]
    table.pass_secs(10_000.0)
    table.answer.set()
    await table.run()
    assert table.wire.paces == ["pause", "resume"]
    table.pass_secs(limits.BODY_IDLE_SECS - 0.1)
    assert table.wire.written == b""
    table.pass_secs(0.2)
    await table.run()
    assert table.wire.written.startswith(b"HTTP/1.1 408 ")


async def test_a_caller_that_takes_nothing_is_cut(table: Table) -> None:
    table.answer.set()
    table.session.writable(False)
    table.session.received(GET + GET)
    await table.run()
    assert table.statuses == []  # the reply waits for room, and so does the next request
    table.pass_secs(limits.WRITE_STALL_SECS - 0.1)
    assert table.wire.calls == []
    table.session.writable(True)
    table.session.writable(False)
    table.pass_secs(limits.WRITE_STALL_SECS - 0.1)
    assert table.wire.calls == []
    table.pass_secs(0.2)
    assert table.wire.calls == ["abort"]


async def test_a_close_that_does_not_get_through_is_cut(table: Table) -> None:
    table.session.drain()
    assert table.wire.calls == ["close"]
    table.pass_secs(limits.WRITE_STALL_SECS + 0.1)
    assert table.wire.calls == ["close", "abort"]


async def test_a_caller_lost_in_its_body_is_accounted_for(table: Table) -> None:
    table.answer.set()
    table.session.received(GET)
    await table.run()
    table.session.received(CHUNKED + b"3\r\nabc\r\n")
    assert table.hub.counters.bodies_bytes == 3
    table.session.lost()
    assert table.statuses == [200, 499]
    assert table.sent == [len(table.wire.written), 0]
    assert table.hub.counters.bodies_bytes == 0
    assert table.hub.empty.is_set()
