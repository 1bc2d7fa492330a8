"""One HTTP/1.1 connection: requests in, replies out, in order, within the bounds.

A session stands on a `Wire` and knows neither sockets nor TLS. It holds one exchange at a time: the next request is
read after the reply before it. Where it stands decides which deadline runs on what the caller sends:

    waiting    no request begun: the idle deadline; from a head's first byte on, the head's
    reading    a head came, its body does: a deadline that every byte moves on, never beyond the idle bound
    answering  the handler runs in its task: none; a FIN cancels it (half-closed callers are not served)
    lingering  an early reply is out: what still comes is thrown away for a while, or a reset would eat the reply
    closing    all is said, and leaves

A second deadline, in `Outgoing`, runs whenever the caller does not take what is sent.
"""

from __future__ import annotations

import asyncio
import logging
import math
from enum import Enum, auto

from aimem import limits
from aimem.errors import AimemError, Busy, Malformed, TooSlow
from aimem.net.exchange import Exchange
from aimem.net.head import Head
from aimem.net.hub import CLIENT_LEFT, Hub
from aimem.net.message import BodyStream, Peer, error_response
from aimem.net.outgoing import Outgoing
from aimem.net.reader import END, RequestReader
from aimem.net.reply_head import CONTINUE
from aimem.net.wire import Wire

log = logging.getLogger(__name__)


class _Stage(Enum):
    OPEN = auto()  # waiting, reading or answering
    LINGERING = auto()
    CLOSING = auto()


class Session:
    """The server's side of one connection."""

    __slots__ = (
        "_deadline",
        "_discarded",
        "_exchange",
        "_hub",
        "_in_head",
        "_out",
        "_peer",
        "_reader",
        "_reading",
        "_stage",
        "_wire",
    )

    def __init__(self, hub: Hub, wire: Wire, peer: Peer) -> None:
        self._hub = hub
        self._wire = wire
        self._peer = peer
        self._stage = _Stage.OPEN
        self._reader = RequestReader()
        self._reading = True
        self._out = Outgoing(hub, wire)
        self._exchange: Exchange | None = None
        self._in_head = False
        self._deadline = math.inf
        self._discarded = 0

    # What the wire calls.

    def open(self) -> None:
        """The connection is there; with TLS, its peer is known."""
        hub, bounds = self._hub, self._hub.bounds
        others = len(hub.sessions)
        hub.join(self)
        self._await_request()
        if hub.draining:
            self._close()
        elif others >= bounds.connections_max + bounds.connections_refused_max:
            hub.counters.refused_total += 1
            self.abort()
        elif others >= bounds.connections_max:
            self._refuse(Busy(f"all {bounds.connections_max} connections are taken"))

    def received(self, data: bytes) -> None:
        """Bytes came in."""
        self._hub.counters.received_bytes_total += len(data)
        if self._stage is not _Stage.OPEN:
            self._discard(len(data))
            return
        if self._exchange is not None and not self._reader.paused:
            self._extend_body_deadline(len(data))
        self._reader.feed(data)
        self._advance()

    def ended(self) -> None:
        """The caller closed its side."""
        if self._stage is _Stage.OPEN:
            if self._exchange is not None and self._exchange.task is not None:
                self.abort()
                return
            if self._exchange is not None or self._reader.buffered:
                self._fail(Malformed("the connection ended inside a request"))
        self._close()

    def lost(self) -> None:
        """The connection is gone. The only place where a handler is cancelled, so that it is cancelled once."""
        self._stage = _Stage.CLOSING
        self._deadline = math.inf
        self._out.lost()
        self._hub.leave(self)
        if self._exchange is None:
            return
        if self._exchange.task is not None:
            self._exchange.task.cancel()
        else:
            self._end_exchange(self._exchange)

    def writable(self, yes: bool) -> None:
        """The wire holds too much, or has room again."""
        self._out.writable(yes)

    # What the server calls.

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    def sweep(self, now: float) -> None:
        """Acts on the deadlines that passed by `now`, the loop's time."""
        if now >= self._out.deadline:
            self.abort()
        elif now >= self._deadline:
            self._expire()

    def drain(self) -> None:
        """Closes the connection if nothing was begun on it; else its reply will."""
        if self._stage is _Stage.OPEN and self._exchange is None and not self._reader.buffered:
            self._close()

    def abort(self) -> None:
        """Cuts the connection."""
        self._stage = _Stage.CLOSING
        self._deadline = math.inf
        self._wire.abort()

    # Reading.

    def _advance(self) -> None:
        """Takes all that the bytes so far say."""
        try:
            while True:
                event = self._reader.next_event()
                if isinstance(event, Head):
                    self._take_head(event)
                elif isinstance(event, bytes):
                    assert self._exchange is not None
                    self._exchange.take_body(event)
                elif event is END:
                    self._take_end()
                else:
                    break
        except AimemError as err:
            self._fail(err)
            return
        if self._exchange is None:
            self._await_request()
        self._pace_reading()

    def _take_head(self, head: Head) -> None:
        self._in_head = False
        self._out.sent = 0
        exchange = self._exchange = Exchange(self._hub, self._peer, head)
        if head.length != 0:
            self._deadline = self._hub.now() + self._hub.bounds.body_idle_secs
        if self._hub.streams(head):
            if refusal := self._no_place():
                raise refusal
            exchange.request.stream = BodyStream(self._pace_reading)
            self._dispatch(exchange)
        else:
            exchange.expect_body()
        if head.expects_continue and head.length != 0 and not self._reader.buffered:
            self._wire.write(CONTINUE)

    def _take_end(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._deadline = math.inf
        exchange.take_end()
        if exchange.task is None:
            exchange.refusal = exchange.refusal or self._no_place()
            self._dispatch(exchange)

    def _no_place(self) -> AimemError | None:
        in_flight_max = self._hub.bounds.in_flight_max
        if self._hub.counters.requests_in_flight < in_flight_max:
            return None
        return Busy(f"{in_flight_max} requests are in flight")

    def _pace_reading(self) -> None:
        """Reads on only while little waits to be taken: pipelined requests, or pieces of a stream."""
        if self._stage is not _Stage.OPEN:
            return
        stream = self._exchange.stream if self._exchange is not None else None
        ahead = self._reader.buffered + (stream.pending if stream is not None else 0)
        reading = ahead <= limits.READ_AHEAD_BYTES_MAX
        if reading == self._reading:
            return
        self._reading = reading
        if reading:
            self._wire.resume_reading()
        else:
            self._wire.pause_reading()
        if stream is not None and not self._reader.paused:  # the caller can't be late while we don't listen
            self._deadline = self._hub.now() + self._hub.bounds.body_idle_secs if reading else math.inf

    # Answering.

    def _dispatch(self, exchange: Exchange) -> None:
        counters = self._hub.counters
        if exchange.refusal is None:
            counters.requests_in_flight += 1
        else:
            counters.refused_total += 1
        exchange.task = task = self._hub.loop.create_task(self._answer(exchange))
        self._hub.tasks.add(task)
        task.add_done_callback(self._answered)

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        try:
            if exchange.refusal is not None:
                raise exchange.refusal
            response = await self._hub.handler(request)
        except AimemError as err:
            response = error_response(err)
        except Exception:
            log.exception("request %s: %s %s failed", request.request_id, request.method, request.path)
            response = error_response(AimemError("internal error", hint="the node's log tells more, by the request id"))
        shape, raw_head = exchange.reply_head(response, closes=self._hub.draining or not self._reader.paused)
        await self._out.reply(response, shape, raw_head)

    def _answered(self, task: asyncio.Task[None]) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._hub.tasks.discard(task)
        if exchange.refusal is None:
            self._hub.counters.requests_in_flight -= 1
        err = None if task.cancelled() else task.exception()
        if err is not None:
            log.error("request %s: its reply broke off", exchange.request.request_id, exc_info=err)
        broken = task.cancelled() or err is not None
        if task.cancelled() or not self._out.sent:
            exchange.status = CLIENT_LEFT
        self._end_exchange(exchange)
        if self._stage is not _Stage.OPEN:
            return
        if broken:
            self.abort()
        elif exchange.closes or self._hub.draining or not self._reader.paused:
            self._part()
        else:
            self._reader.next_request()
            self._advance()

    def _end_exchange(self, exchange: Exchange) -> None:
        self._exchange = None
        exchange.close(self._out.sent)

    # Ends.

    def _fail(self, err: AimemError) -> None:
        """The request can't be read on: the handler that reads its body learns it, else the caller at once."""
        self._deadline = math.inf
        if not isinstance(err, Busy):
            self._hub.counters.bad_requests_total[err.code] += 1
        exchange = self._exchange
        if exchange is not None and exchange.task is not None:
            assert exchange.stream is not None
            exchange.stream.end(err)
        else:
            self._refuse(err)

    def _refuse(self, err: AimemError) -> None:
        """Answers with `err` before a request is at its end, and parts."""
        if isinstance(err, Busy):
            self._hub.counters.refused_total += 1
        exchange = self._exchange or Exchange(self._hub, self._peer, None)
        response = error_response(err)
        shape, raw_head = exchange.reply_head(response, closes=True)
        assert isinstance(response.body, bytes)
        self._out.sent = 0
        self._out.send(raw_head + response.body if shape.has_body else raw_head)
        self._end_exchange(exchange)
        self._part()

    def _part(self) -> None:
        """The last reply is out: closes at once when nothing more can come, else lingers."""
        if self._reader.paused and not self._reader.buffered:
            self._close()
            return
        self._stage = _Stage.LINGERING
        self._deadline = self._hub.now() + self._hub.bounds.linger_secs
        self._wire.finish()
        if not self._reading:
            self._wire.resume_reading()

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > self._hub.bounds.linger_bytes_max:
            self.abort()

    def _close(self) -> None:
        self._stage = _Stage.CLOSING
        self._deadline = self._hub.now() + self._hub.bounds.write_stall_secs  # for what the caller has yet to take
        self._wire.close()

    # Deadlines.

    def _await_request(self) -> None:
        """No request is begun, or only a part of its head is there."""
        bounds = self._hub.bounds
        if not self._reader.buffered:
            self._in_head = False
            self._deadline = self._hub.now() + bounds.idle_secs
        elif not self._in_head:
            self._in_head = True
            self._deadline = self._hub.now() + bounds.head_secs

    def _extend_body_deadline(self, count: int) -> None:
        """Every byte buys time at the least rate; what is saved up never exceeds the idle bound."""
        bounds = self._hub.bounds
        latest = self._hub.now() + bounds.body_idle_secs
        self._deadline = min(latest, self._deadline + count / bounds.body_bytes_per_sec_min)

    def _expire(self) -> None:
        if self._stage is not _Stage.OPEN:
            self.abort()
        elif self._exchange is not None:
            self._fail(TooSlow("the request body came too slowly"))
        elif self._in_head:
            self._fail(TooSlow(f"the request head took over {self._hub.bounds.head_secs:g} s"))
        else:
            self._close()
