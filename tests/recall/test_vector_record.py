"""Bodies of vector records: what goes in comes out, and what is not a vector is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from aimem.core.record import canonical
from aimem.errors import Invalid
from aimem.recall.vector_record import decode, decode_many, encode, mark, text_sha256

DIMS = 64


def unit_rows(count: int, dims: int = DIMS) -> np.ndarray:
    rows = np.random.default_rng(count).standard_normal((count, dims)).astype(np.float32)
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


@pytest.mark.parametrize("dims", [DIMS, 384])
def test_many_are_read_as_one_by_one(dims: int) -> None:
    """Numbers of pieces mixed, another model's between; 64 numbers have padded base64, 384 have none."""
    bodies = [encode("model-1", f"text {n}", unit_rows(1 + n % 4, dims)) for n in range(40)]
    bodies[7] = encode("another", "text 7", unit_rows(1, dims))
    bodies[8] = encode("model-2", "text 8", unit_rows(1, dims))  # a name of the same length
    refused: list[int] = []
    many = decode_many([canonical(each) for each in bodies], "model-1", dims, lambda number, _: refused.append(number))
    assert refused == []
    assert sorted(many.numbers.tolist()) == [n for n in range(40) if n not in (7, 8)]
    starts = np.cumsum(many.counts) - many.counts
    for number, of_text, count, start in zip(many.numbers, many.marks, many.counts, starts, strict=True):
        one = decode(bodies[number], dims)
        assert int(of_text) == mark(one.text_sha256)
        assert np.array_equal(many.pieces[start : start + count], one.pieces)


@pytest.mark.parametrize(("after", "put"), [('"text":"', "G"), ('"pieces":["', "!"), ('"pieces":["', "=")])
@pytest.mark.parametrize("sound", [0, 3])
def test_one_that_is_not_sound_does_not_hurt_the_others(after: str, put: str, sound: int) -> None:
    """One character is changed, so the length is that of a sound one."""
    good = [canonical(encode("m", str(n), unit_rows(1, 384))) for n in range(sound)]
    head, _, tail = canonical(encode("m", "text", unit_rows(1, 384))).decode().partition(after)
    bad = (head + after + put + tail[1:]).encode()
    refused: list[int] = []
    many = decode_many([*good, bad], "m", 384, lambda number, _: refused.append(number))
    assert refused == [sound]
    assert sorted(many.numbers.tolist()) == list(range(sound))
    assert many.pieces.shape == (sound, 384)


def test_vectors_of_another_length_are_refused_among_many() -> None:
    rows = unit_rows(3, 384)
    rows[1] *= 2
    bodies = [canonical(encode("m", "text", row[np.newaxis])) for row in rows]
    bodies.append(canonical(encode("m", "text", np.full((1, 384), np.nan, dtype=np.float32))))
    bodies.append(canonical(encode("m", "text", np.full((1, 384), np.inf, dtype=np.float32))))
    refused: list[int] = []
    many = decode_many(bodies, "m", 384, lambda number, _: refused.append(number))
    assert (refused, many.numbers.tolist()) == ([1, 3, 4], [0, 2])
    assert np.array_equal(many.pieces, rows[[0, 2]].astype(np.float16))


def test_what_is_not_in_the_usual_form_is_read_all_the_same() -> None:
    body = {**encode("m", "text", unit_rows(2, 384)), "note": "by another program"}
    many = decode_many([canonical(body)], "m", 384, lambda *_: None)
    assert (many.numbers.tolist(), many.counts.tolist()) == ([0], [2])
    assert many.marks.tolist() == [mark(text_sha256("text"))]
    assert decode_many([], "m", 384, lambda *_: None).pieces.shape == (0, 384)
