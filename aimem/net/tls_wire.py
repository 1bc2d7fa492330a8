"""HTTP over TLS: a `Wire` whose bytes go through memory BIOs.

By hand, because asyncio's own TLS transport throws away the alert of a refused handshake and holds 256 KiB for each
idle connection. What always holds: there is a session only after the handshake, with the peer's fingerprint judged
once more, so no byte of HTTP from a refused peer is parsed; and whoever is refused is told so by an alert, for which
the connection lingers: closing it at once would let a reset overtake the alert.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from enum import Enum, auto

from OpenSSL import SSL

from aimem.net.hub import Hub
from aimem.net.message import Peer
from aimem.net.session import Session
from aimem.net.tls_context import peer_fingerprint
from aimem.net.tls_server import ServerTls

log = logging.getLogger(__name__)

_RECORD_BYTES = 16_384  # the most that one TLS record holds
_CIPHER_BYTES = 65_536


class _Stage(Enum):
    HANDSHAKE = auto()
    OPEN = auto()
    REFUSED = auto()  # an alert is out, or there is no place; what still comes is thrown away


class TlsWire(asyncio.BufferedProtocol):
    """A `Wire` with encryption."""

    __slots__ = ("_connection", "_deadline", "_discarded", "_ended", "_hub", "_session", "_stage", "_tls", "_transport")

    _transport: asyncio.Transport
    _session: Session

    def __init__(self, hub: Hub, tls: ServerTls) -> None:
        self._hub = hub
        self._tls = tls
        self._connection = tls.connection()
        self._stage = _Stage.HANDSHAKE
        self._deadline = math.inf
        self._discarded = 0
        self._ended = False  # the session was told that nothing more comes

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        hub, bounds = self._hub, self._hub.bounds
        if hub.draining or hub.held >= bounds.connections_max + bounds.connections_refused_max:
            hub.counters.refused_total += 1
            self._stage = _Stage.REFUSED
            transport.abort()
            return
        hub.handshakes.add(self)
        self._deadline = hub.now() + bounds.handshake_secs

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._hub.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._stage is _Stage.REFUSED:
            self._discard(nbytes)
            return
        self._connection.bio_write(bytes(self._hub.receive_buffer[:nbytes]))
        if self._stage is _Stage.HANDSHAKE:
            self._shake_hands()
        if self._stage is _Stage.OPEN:
            self._read()

    def eof_received(self) -> bool:
        if self._stage is _Stage.OPEN:
            self._end()
            return True
        return False  # the transport closes

    def connection_lost(self, exc: Exception | None) -> None:
        self._hub.handshakes.discard(self)
        if self._stage is _Stage.OPEN:
            self._session.lost()
        elif self._stage is _Stage.HANDSHAKE:
            self._hub.counters.handshakes_failed_total += 1

    def pause_writing(self) -> None:
        if self._stage is _Stage.OPEN:
            self._session.writable(False)

    def resume_writing(self) -> None:
        if self._stage is _Stage.OPEN:
            self._session.writable(True)

    # What the server calls, before there is a session.

    def sweep(self, now: float) -> None:
        """Cuts a handshake, or the rest of a refused one, whose time is up."""
        if now >= self._deadline:
            self.abort()

    # The handshake.

    def _shake_hands(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except SSL.Error as err:
            self._refuse(err)
            return
        fingerprint = peer_fingerprint(self._connection)
        if not self._tls.lets_in(fingerprint):
            self._refuse(None)
            return
        self._hub.handshakes.discard(self)
        self._stage = _Stage.OPEN
        address, port = (self._transport.get_extra_info("peername") or ("", 0))[:2]
        self._session = Session(self._hub, self, Peer(address, port, fingerprint))
        self._flush()
        self._session.open()

    def _refuse(self, err: SSL.Error | None) -> None:
        """The alert goes out, and nothing more is read."""
        reason = _reason(err)
        if self._tls.refused(reason):
            self._hub.counters.handshakes_refused_total += 1
        else:
            self._hub.counters.handshakes_failed_total += 1
        address = (self._transport.get_extra_info("peername") or ("",))[0]
        self._hub.tell_refusal(f"TLS handshake with {address} refused: {reason}")
        self._stage = _Stage.REFUSED
        self._flush()
        self.finish()
        self._deadline = self._hub.now() + self._hub.bounds.linger_secs

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > self._hub.bounds.linger_bytes_max:
            self.abort()

    # The open connection.

    def _read(self) -> None:
        while True:
            try:
                data = self._connection.recv(_RECORD_BYTES)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._end()
                break
            except SSL.Error:  # not ciphertext of this connection: nothing can be said on it any more
                self._flush()
                self.abort()
                return
            self._session.received(data)
        self._flush()  # answers of TLS itself, such as new keys

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._session.ended()

    def _flush(self) -> None:
        """Hands over the ciphertext that is there to be sent."""
        pieces = []
        with suppress(SSL.Error):
            while True:
                pieces.append(self._connection.bio_read(_CIPHER_BYTES))
        if pieces:
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    # What the session calls.

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        with suppress(SSL.Error):  # after a close there is nobody to send to; the loop tells the session
            while rest:
                rest = rest[self._connection.send(rest[:_RECORD_BYTES]) :]
        self._flush()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def finish(self) -> None:
        self._say_close()
        with suppress(OSError):  # the peer may have reset the connection, and its socket knows it before we do
            self._transport.write_eof()

    def close(self) -> None:
        self._say_close()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _say_close(self) -> None:
        with suppress(SSL.Error):
            self._connection.shutdown()
        self._flush()


def _reason(err: SSL.Error | None) -> str:
    """What OpenSSL said, in its words."""
    if err is None:
        return "its certificate is not listed"
    told = err.args[0] if err.args and isinstance(err.args[0], list) else []
    return "; ".join(reason for _, _, reason in told if reason) or "the connection broke off"
