"""Bodies of vector records: what goes in comes out, and what is not a vector is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from aimem.errors import Invalid
from aimem.recall.vector_record import decode, encode, text_sha256

DIMS = 64


def unit_rows(count: int) -> np.ndarray:
    rows = np.random.default_rng(count).standard_normal((count, DIMS)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize("count", [1, 3, 16])
def test_round_trip(count: int) -> None:
    rows = unit_rows(count)
    body = json.loads(json.dumps(encode("model-1", "text", rows)))
    found = decode(body, DIMS)
    assert (found.model, found.text_sha256) == ("model-1", text_sha256("text"))
    assert np.array_equal(found.pieces, rows.astype(np.float16))
    assert encode("model-1", "text", found.pieces.astype(np.float32)) == body


def test_the_bytes_are_fixed() -> None:
    """Other nodes read them: little-endian float16, base64."""
    row = np.zeros((1, DIMS), dtype=np.float32)
    row[0, 1] = -1
    body = encode("m", "", row)
    assert base64.b64decode(body["pieces"][0]) == b"\x00\x00\x00\xbc" + bytes(2 * DIMS - 4)
    assert body["text"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def piece(values: list[float]) -> str:
    return base64.b64encode(np.array(values, dtype="<f2").tobytes()).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"model": 7},
        {"text": None},
        {"text": "abc"},
        {"text": 64 * "G"},
        {"pieces": None},
        {"pieces": []},
        {"pieces": 17 * [piece([1.0] + 63 * [0.0])]},
        {"pieces": [7]},
        {"pieces": ["not base64!"]},
        {"pieces": ["\u00e9"]},
        {"pieces": [piece(63 * [0.0])]},
        {"pieces": [piece(64 * [0.0])]},
        {"pieces": [piece([2.0] + 63 * [0.0])]},
        {"pieces": [piece([float("nan")] + 63 * [0.0])]},
        {"pieces": [piece([float("inf")] + 63 * [0.0])]},
    ],
)
def test_refused(change: dict[str, Any]) -> None:
    body = encode("m", "text", unit_rows(1))
    assert decode(body, DIMS)
    with pytest.raises(Invalid):
        decode({**body, **change}, DIMS)
