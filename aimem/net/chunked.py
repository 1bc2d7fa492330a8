"""The chunked transfer coding, read piece by piece.

Strict where leniency would let two readers disagree: sizes are plain hexadecimal digits, every line ends in CRLF, and
every line has a bound. Chunk extensions and trailer fields are read over: nothing here uses them.
"""

from __future__ import annotations

import re

from aimem.errors import Malformed

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_LINE_BYTES_MAX = 1_024  # no extension or trailer in use comes near
_TRAILERS_BYTES_MAX = 16_384
_SIZE_LINE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkedReader:
    """Takes the bytes after a head and gives back the body's; says where the body ends."""

    __slots__ = ("_left", "_state", "_trailer_bytes")

    def __init__(self) -> None:
        self._state = _SIZE_LINE
        self._left = 0  # bytes of the current chunk that are still to come
        self._trailer_bytes = 0

    @property
    def done(self) -> bool:
        """The last chunk and its trailers were read: what follows belongs to the next request."""
        return self._state == _DONE

    def read(self, raw: bytes) -> tuple[bytes, bytes]:
        """The body bytes that `raw` holds, and the rest, which to put before the next bytes.

        Raises `Malformed`; the connection can't be used further, for where the body ends is not known.
        """
        body: list[bytes] = []
        at = 0
        try:
            while self._state != _DONE and at < len(raw):
                if self._state == _DATA:
                    body.append(self._take_data(raw, at))
                    at += len(body[-1])
                elif (line := _line(raw, at)) is not None:
                    self._take_line(line)
                    at += len(line) + 2
                else:
                    break
        except Malformed:
            if not body:
                raise
            # What came before the fault is given first; the next call meets the fault again.
        return b"".join(body), raw[at:]

    def _take_data(self, raw: bytes, at: int) -> bytes:
        piece = raw[at : at + self._left]
        self._left -= len(piece)
        if not self._left:
            self._state = _DATA_END
        return piece

    def _take_line(self, line: bytes) -> None:
        if self._state == _DATA_END:
            if line:
                raise Malformed("a chunk is longer than it said")
            self._state = _SIZE_LINE
        elif self._state == _SIZE_LINE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise Malformed("a chunk does not begin with its size")
            self._left = int(match[1], 16)
            self._state = _DATA if self._left else _TRAILERS
        elif not line:
            self._state = _DONE
        else:
            self._trailer_bytes += len(line)
            if _TRAILER.fullmatch(line) is None or self._trailer_bytes > _TRAILERS_BYTES_MAX:
                raise Malformed("a trailer field is malformed, or there are too many")


def _line(raw: bytes, at: int) -> bytes | None:
    """The line at `at` without its CRLF; None when it is not whole yet."""
    end = raw.find(b"\n", at, at + _LINE_BYTES_MAX)
    if end < 0:
        if len(raw) - at >= _LINE_BYTES_MAX:
            raise Malformed("a line of the chunked coding is too long")
        return None
    if end == at or raw[end - 1] != 0x0D:
        raise Malformed("a bare LF stands in the chunked coding")
    return raw[at : end - 1]
