"""Vectors of float16 between our records (bytes, low byte first) and pgvector's `halfvec`."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

_HEAD = 4  # bytes before the numbers in the form that `halfvec_send` gives: how many, and nothing


def to_server(vector: Sequence[float]) -> str:
    """A vector as the server reads it: five digits tell every float16 apart."""
    return f"[{','.join([f'{number:.5g}' for number in vector])}]"


def from_server(sent: bytes) -> bytes:
    """The numbers of what `halfvec_send` gives."""
    return _swapped(sent[_HEAD:])


def received(piece: bytes) -> bytes:
    """One piece of a record as a binary COPY takes it: its length, and what `halfvec_recv` reads."""
    return struct.pack(">iHH", _HEAD + len(piece), len(piece) // 2, 0) + _swapped(piece)


def _swapped(piece: bytes) -> bytes:
    numbers = array("H", piece)
    numbers.byteswap()  # the server has the high byte first
    return numbers.tobytes()


def unpacked(piece: bytes) -> tuple[float, ...]:
    """The numbers of one piece of a record."""
    return struct.unpack(f"<{len(piece) // 2}e", piece)
