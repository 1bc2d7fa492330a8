"""Requests out of a stream of bytes: a state machine without I/O, clock or policy.

Bytes go in by `feed`; `next_event` gives, in this order and once per request, a `Head`, any number of pieces of body,
and `END`; then `PAUSED` until `next_request` is called, so that pipelined requests wait for the reply before them.
How the bytes were cut on their way never changes the events, but for the size of the pieces. Bounds on the body are
the caller's, who knows the route; the head's bound is here. After an error no further event comes.
"""

from __future__ import annotations

from enum import Enum

from aimem import limits
from aimem.errors import AimemError, HeadTooLarge
from aimem.net import head
from aimem.net.chunked import ChunkedReader
from aimem.net.head import Head


class Signal(Enum):
    """What `next_event` says when it has neither a head nor body bytes."""

    NEED_DATA = "need data"
    END = "end of the request"
    PAUSED = "paused"


Event = Head | bytes | Signal
NEED_DATA, END, PAUSED = Signal.NEED_DATA, Signal.END, Signal.PAUSED


class RequestReader:
    """One connection's incoming side."""

    __slots__ = ("_buffer", "_chunks", "_failed", "_left", "_state", "_trimmed")

    def __init__(self) -> None:
        self._buffer = b""
        self._state = _HEAD
        self._left = 0  # bytes of a counted body that are still to come
        self._chunks: ChunkedReader | None = None
        self._trimmed = False
        self._failed = False

    @property
    def buffered(self) -> int:
        """Bytes taken in and not yet given out."""
        return len(self._buffer)

    @property
    def paused(self) -> bool:
        """The request is read to its end, and the next one was not asked for."""
        return self._state == _PAUSED

    def feed(self, data: bytes) -> None:
        """Takes what came in. After an error it is dropped."""
        if self._failed:
            return
        self._buffer = self._buffer + data if self._buffer else data

    def next_request(self) -> None:
        """The reply is out: go on with the next request."""
        assert self._state == _PAUSED, "the request before is not at its end"
        self._state = _HEAD
        self._trimmed = False

    def next_event(self) -> Event:
        """The next event. Raises the error that answers a malformed request; then nothing more can be read."""
        if self._failed:
            return NEED_DATA
        try:
            return _STEPS[self._state](self)
        except AimemError:
            self._failed = True
            self._buffer = b""
            raise

    def _read_head(self) -> Head | Signal:
        if not self._trimmed and self._buffer.startswith(b"\r\n"):
            self._buffer = self._buffer[2:]  # one empty line before a request: old clients end a body so (RFC 9112 2.2)
            self._trimmed = True
        buffer = self._buffer
        if not buffer:
            return NEED_DATA
        end = buffer.find(head.END, 0, limits.HEAD_BYTES_MAX)
        if end < 0:
            head.refuse_bytes(buffer[: limits.HEAD_BYTES_MAX])
            if len(buffer) >= limits.HEAD_BYTES_MAX:
                raise HeadTooLarge(f"the request head is over {limits.HEAD_BYTES_MAX} bytes")
            return NEED_DATA
        end += len(head.END)
        found = head.parse(buffer[:end])
        self._buffer = buffer[end:]
        self._expect_body(found)
        return found

    def _expect_body(self, found: Head) -> None:
        if found.length is None:
            self._chunks = ChunkedReader()
            self._state = _CHUNKED
        else:
            self._left = found.length
            self._state = _COUNTED if found.length else _END

    def _read_counted(self) -> bytes | Signal:
        if not self._buffer:
            return NEED_DATA
        piece = self._buffer[: self._left]
        self._buffer = self._buffer[self._left :]
        self._left -= len(piece)
        if not self._left:
            self._state = _END
        return piece

    def _read_chunked(self) -> bytes | Signal:
        assert self._chunks is not None
        piece, self._buffer = self._chunks.read(self._buffer)
        if self._chunks.done:
            self._chunks = None
            self._state = _END
        elif not piece:
            return NEED_DATA
        return piece or self._end()

    def _end(self) -> Signal:
        self._state = _PAUSED
        return END

    def _wait(self) -> Signal:
        return PAUSED


_HEAD, _COUNTED, _CHUNKED, _END, _PAUSED = range(5)
_STEPS = (
    RequestReader._read_head,
    RequestReader._read_counted,
    RequestReader._read_chunked,
    RequestReader._end,
    RequestReader._wait,
)
