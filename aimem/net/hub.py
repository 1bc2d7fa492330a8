"""What all connections of one server share: the handler, the bounds, the counters, and who is there.

Plain state: the server makes one, sessions read and count on it. Nothing here reads or writes a socket.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aimem import limits
from aimem.net.head import Head
from aimem.net.message import Handler, Request

if TYPE_CHECKING:
    from aimem.net.session import Session
    from aimem.net.tls_wire import TlsWire

log = logging.getLogger(__name__)

CLIENT_LEFT = 499  # never sent: what the access log shows where the caller left before its reply

OnDone = Callable[[Request, int, int, float], None]
"""Called once per request: (request, status, bytes sent, seconds from its head to its end). Must not raise."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one server; their reasons stand in `limits`. Tests pass shorter ones."""

    handshake_secs: float = limits.HANDSHAKE_SECS
    head_secs: float = limits.HEAD_SECS
    body_idle_secs: float = limits.BODY_IDLE_SECS
    body_bytes_per_sec_min: float = limits.BODY_BYTES_PER_SEC_MIN
    idle_secs: float = limits.IDLE_SECS
    write_stall_secs: float = limits.WRITE_STALL_SECS
    linger_secs: float = limits.LINGER_SECS
    linger_bytes_max: int = limits.LINGER_BYTES_MAX
    sweep_secs: float = limits.SWEEP_SECS
    body_bytes_max: int = limits.BODY_BYTES_MAX
    bodies_bytes_max: int = limits.BODIES_BYTES_MAX
    connections_max: int = limits.CONNECTIONS_MAX
    connections_refused_max: int = limits.CONNECTIONS_REFUSED_MAX
    in_flight_max: int = limits.REQUESTS_IN_FLIGHT_MAX


@dataclass(slots=True)
class Counters:
    """What the metrics page reads. Names in `_total` only rise; the others are of this moment."""

    connections: int = 0
    connections_total: int = 0
    requests_in_flight: int = 0
    requests_total: int = 0
    refused_total: int = 0  # 503: too many connections, requests or bytes of bodies at once
    abandoned_total: int = 0  # requests whose caller left before the reply was out
    bad_requests_total: Counter[str] = field(default_factory=Counter)  # by error code: the bytes were at fault
    handshakes_refused_total: int = 0  # TLS: the client's certificate is not listed, or it showed none
    handshakes_failed_total: int = 0  # TLS: not a handshake, broken off, or too slow
    received_bytes_total: int = 0
    sent_bytes_total: int = 0
    bodies_bytes: int = 0  # request bodies held in memory


_REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")


class Hub:
    """The shared state. `streams` says of a head whether its body is handed over as it comes in."""

    def __init__(self, handler: Handler, streams: Callable[[Head], bool], on_done: OnDone, bounds: Bounds) -> None:
        self.handler = handler
        self.streams = streams
        self.on_done = on_done
        self.bounds = bounds
        self.counters = Counters()
        self.loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = self.loop.time
        self.draining = False
        self.sessions: set[Session] = set()
        self.handshakes: set[TlsWire] = set()  # connections that have no session yet
        self._refusal_told = -math.inf
        self.tasks: set[asyncio.Task[None]] = set()  # handlers that run
        self.empty = asyncio.Event()  # no session is left
        self.empty.set()
        self.receive_buffer = memoryview(bytearray(limits.READ_AHEAD_BYTES_MAX))
        """One for all connections: its content is taken out in the call that filled it."""
        self._id_prefix = secrets.token_hex(4)
        self._id_numbers = itertools.count(1)

    @property
    def held(self) -> int:
        """Connections that there are, with or without a session."""
        return len(self.sessions) + len(self.handshakes)

    def tell_refusal(self, words: str) -> None:
        """Log a refused handshake, unless one was just told."""
        if self.now() - self._refusal_told >= limits.REFUSALS_TOLD_SECS:
            self._refusal_told = self.now()
            log.warning("%s", words)

    def join(self, session: Session) -> None:
        """A connection was made."""
        self.sessions.add(session)
        self.empty.clear()
        self.counters.connections += 1
        self.counters.connections_total += 1

    def leave(self, session: Session) -> None:
        """A connection is gone."""
        self.sessions.discard(session)
        self.counters.connections -= 1
        if not self.sessions:
            self.empty.set()

    def request_id(self, headers: Mapping[str, str]) -> str:
        """The caller's own `X-Request-Id` when it is a plain word, else one that this process gives once."""
        given = headers.get("x-request-id", "")
        if given and _REQUEST_ID.fullmatch(given):
            return given
        return f"{self._id_prefix}-{next(self._id_numbers):x}"
