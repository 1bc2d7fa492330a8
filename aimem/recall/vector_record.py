"""The body of a vector record: how vectors travel and lie on disk.

    {"model": "all-MiniLM-L6-v2/int8-1", "text": "<sha256 of the embedded text>", "pieces": ["<base64>", ...]}

Each piece is little-endian float16: half the bytes of float32, and no measurable loss of recall. A vector counts only
while its model is the reader's and its hash is that of the memory's text as it is now; comparing these is the
caller's part.

A body of known model and number of pieces has one length, and everything in its known place. So bodies of one length
are read all at once (`decode_many`); what is not exactly so is read one at a time, with the same outcome.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aimem.core.record import canonical
from aimem.errors import Invalid
from aimem.limits import PIECES_MAX
from aimem.recall.block import SCALE, widened
from aimem.recall.signs import Halves

_SHA256 = re.compile("[0-9a-f]{64}")
_HASH_HEX = 64
_MARK_HEX = 16  # 64 bits of the hash: that two texts of one memory share them does not happen
_LENGTH_ERROR_MAX = 0.01  # float16 moves a unit vector's length by less than 0.001


class Vectors(NamedTuple):
    """A decoded body: one row of `pieces` per piece of the text, each of length 1."""

    model: str
    text_sha256: str
    pieces: Halves


class Many(NamedTuple):
    """The bodies of one model among many: their `numbers` among those given, the marks of their texts, how many pieces
    each has, and all pieces in that order."""

    numbers: NDArray[np.intp]
    marks: NDArray[np.uint64]
    counts: NDArray[np.intp]
    pieces: Halves


def text_sha256(text: str) -> str:
    """The hash that ties a vector to the text it was made from."""
    return hashlib.sha256(text.encode()).hexdigest()


def mark(digest: str) -> int:
    """The first 64 bits of a text's hash: enough to tell two texts of one memory apart."""
    return int(digest[:_MARK_HEX], 16)


def encode(model: str, text: str, vectors: NDArray[np.float32]) -> dict[str, Any]:
    """The body for the vectors of `text`, one row per piece."""
    rows = [base64.b64encode(row.tobytes()).decode() for row in vectors.astype("<f2")]
    return {"model": model, "text": text_sha256(text), "pieces": rows}


def decode(body: Mapping[str, Any], dims: int) -> Vectors:
    """Reads a body that may come from anywhere. `Invalid` unless it holds 1 to `PIECES_MAX` unit vectors of `dims`."""
    model, digest, pieces = body.get("model"), body.get("text"), body.get("pieces")
    if not isinstance(model, str) or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise Invalid("a vector needs the id of its model and the SHA-256 of its text")
    if not isinstance(pieces, list) or not 1 <= len(pieces) <= PIECES_MAX:
        raise Invalid(f"a vector has 1 to {PIECES_MAX} pieces")
    return Vectors(model, digest, np.stack([_piece(piece, dims) for piece in pieces]))


def decode_many(bodies: Sequence[bytes], model: str, dims: int, unusable: Callable[[int, Invalid], None]) -> Many:
    """Reads canonical bodies; those of another model are left out. `unusable` hears the number of each that `decode`
    refuses, and why."""
    by_length: dict[int, list[int]] = {}
    for number, body in enumerate(bodies):
        by_length.setdefault(len(body), []).append(number)
    forms = _forms(model, dims)
    parts = [_nothing(dims)]
    for length, numbers in by_length.items():
        part = forms[length].read(bodies, numbers) if length in forms else _nothing(dims)
        parts.append(part)
        others = sorted(set(numbers).difference(part.numbers.tolist())) if len(part.numbers) < len(numbers) else ()
        parts += (_one(bodies[number], number, model, dims, unusable) for number in others)
    return Many(*(np.concatenate(each) for each in zip(*parts, strict=True)))


class _Form:
    """What bodies of one model with so many pieces look like: the same bytes in the same places, but for the values."""

    def __init__(self, model: str, dims: int, count: int) -> None:
        self._count, self._dims = count, dims
        self._width = len(base64.b64encode(bytes(2 * dims)))
        filled = {"model": model, "pieces": [self._width * "A"] * count, "text": _HASH_HEX * "0"}
        self.text = canonical(filled)
        self._first = self.text.index(b'"pieces":["') + len(b'"pieces":["')
        self._hash = len(self.text) - _HASH_HEX - len(b'"}')
        self._fixed = np.ones(len(self.text), dtype=np.bool_)
        for start in self._starts():
            self._fixed[start : start + self._width] = False
        self._fixed[self._hash : self._hash + _HASH_HEX] = False

    def _starts(self) -> list[int]:
        return [self._first + number * (self._width + len(b'","')) for number in range(self._count)]

    def read(self, bodies: Sequence[bytes], numbers: list[int]) -> Many:
        """Those of these bodies that have this form and are sound."""
        chars = np.frombuffer(b"".join([bodies[number] for number in numbers]), dtype=np.uint8)
        chars = chars.reshape(len(numbers), len(self.text))
        sound = (chars[:, self._fixed] == np.frombuffer(self.text, dtype=np.uint8)[self._fixed]).all(axis=1)
        digits = _HEX.take(chars[:, self._hash : self._hash + _HASH_HEX])
        sound &= (digits < 16).all(axis=1)
        encoded = np.stack([chars[:, start : start + self._width] for start in self._starts()], axis=1)
        try:
            data = binascii.a2b_base64(encoded.tobytes(), strict_mode=True)
        except ValueError:
            return _nothing(self._dims)
        if len(data) != len(numbers) * self._count * 2 * self._dims:
            return _nothing(self._dims)
        pieces = np.frombuffer(data, dtype="<f2").astype(np.float16, copy=False).reshape(-1, self._dims)
        sound &= _of_length_1(pieces).reshape(len(numbers), self._count).all(axis=1)
        marks = (digits[:, :_MARK_HEX].astype(np.uint64) << _DIGIT_PLACES).sum(axis=1, dtype=np.uint64)
        if not sound.all():
            pieces = pieces[np.repeat(sound, self._count)]
        count = int(np.count_nonzero(sound))
        return Many(np.array(numbers)[sound], marks[sound], np.full(count, self._count), pieces)


_HEX = np.full(256, 255, dtype=np.uint8)  # the value of each digit
_HEX[list(b"0123456789abcdef")] = range(16)
_DIGIT_PLACES = np.arange(4 * (_MARK_HEX - 1), -1, -4, dtype=np.uint64)


@lru_cache(maxsize=4)
def _forms(model: str, dims: int) -> dict[int, _Form]:
    """By length of the body. Without any where a piece's base64 is padded: pieces could not be decoded in one go."""
    forms = [] if 2 * dims % 3 else [_Form(model, dims, count + 1) for count in range(PIECES_MAX)]
    return {len(form.text): form for form in forms}


def _one(body: bytes, number: int, model: str, dims: int, unusable: Callable[[int, Invalid], None]) -> Many:
    """One body, in any form."""
    parsed = json.loads(body)
    if parsed.get("model") != model:
        return _nothing(dims)
    try:
        found = decode(parsed, dims)
    except Invalid as error:
        unusable(number, error)
        return _nothing(dims)
    marks = np.array([mark(found.text_sha256)], dtype=np.uint64)
    return Many(np.array([number]), marks, np.array([len(found.pieces)]), found.pieces)


def _nothing(dims: int) -> Many:
    none = np.array([], dtype=np.intp)
    return Many(none, none.astype(np.uint64), none, np.empty((0, dims), dtype=np.float16))


def _of_length_1(pieces: Halves) -> NDArray[np.bool_]:
    wide = widened(pieces)
    wide *= SCALE
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return np.asarray(np.abs(lengths - 1) <= _LENGTH_ERROR_MAX)


def _piece(text: object, dims: int) -> NDArray[np.float16]:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError) as error:
        raise Invalid("a piece of a vector is not base64") from error
    if len(data) != 2 * dims:
        raise Invalid(f"a piece of a vector has {len(data)} bytes, not {2 * dims}")
    row = np.frombuffer(data, dtype="<f2").astype(np.float16)
    length = float(np.linalg.norm(row.astype(np.float32)))
    if not abs(length - 1) <= _LENGTH_ERROR_MAX:  # also true for NaN
        raise Invalid("a piece of a vector has not length 1")
    return row
