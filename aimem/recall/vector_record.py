"""The body of a vector record: how vectors travel and lie on disk.

    {"model": "all-MiniLM-L6-v2/int8-1", "text": "<sha256 of the embedded text>", "pieces": ["<base64>", ...]}

Each piece is little-endian float16: half the bytes of float32, and no measurable loss of recall. A vector counts only
while its model is the reader's and its hash is that of the memory's text as it is now; comparing these is the
caller's part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aimem.errors import Invalid
from aimem.limits import PIECES_MAX

_SHA256 = re.compile("[0-9a-f]{64}")
_LENGTH_ERROR_MAX = 0.01  # float16 moves a unit vector's length by less than 0.001


class Vectors(NamedTuple):
    """A decoded body: one row of `pieces` per piece of the text, each of length 1."""

    model: str
    text_sha256: str
    pieces: NDArray[np.float16]


def text_sha256(text: str) -> str:
    """The hash that ties a vector to the text it was made from."""
    return hashlib.sha256(text.encode()).hexdigest()


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
