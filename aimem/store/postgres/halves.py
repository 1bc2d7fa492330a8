"""Vectors of float16 between our records (bytes, low byte first) and pgvector's `halfvec`."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

_HEAD = 4  # bytes before the numbers in the form that `halfvec_send` gives


def to_server(vector: Sequence[float]) -> str:
    """A vector as the server reads it: five digits tell every float16 apart."""
    return f"[{','.join([f'{number:.5g}' for number in vector])}]"


def from_server(sent: bytes) -> bytes:
    """The numbers of what `halfvec_send` gives."""
    numbers = array("H", sent[_HEAD:])
    numbers.byteswap()  # they come high byte first
    return numbers.tobytes()


def unpacked(piece: bytes) -> tuple[float, ...]:
    """The numbers of one piece of a record."""
    return struct.unpack(f"<{len(piece) // 2}e", piece)
