"""The splitter of a JSON object: the same elements as a parser of the whole, wherever the text is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.cli.json_elements import elements_of
from aimem.errors import Malformed
from aimem.limits import BODY_BYTES_MAX

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def parsed(pieces: list[bytes]) -> list[tuple[str, Any]]:
    return [(name, json.loads(text)) for name, text in elements_of(pieces)]


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=5), st.integers(1, 9), st.sampled_from([None, 1]))
def test_it_gives_what_a_parser_of_the_whole_gives(value: dict[str, Any], size: int, indent: int | None) -> None:
    data = json.dumps(value, ensure_ascii=False, indent=indent).encode(errors="surrogatepass")
    wanted = [(name, each) for name, inner in value.items() if isinstance(inner, list) for each in inner]
    assert parsed(cut(data, size)) == wanted


def test_numbers_are_not_cut_and_a_mark_at_the_start_is_passed_over() -> None:
    assert parsed(cut(b'\xef\xbb\xbf{"n": 12, "a": [123, 4.5e6, true]} \n', 1)) == [
        ("a", 123),
        ("a", 4.5e6),
        ("a", True),
    ]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (b"", 0),
        (b"[1]", 0),
        (b"{", 0),
        (b'{"a": [1, 2', 1),
        (b'{"a": [1, {"b": 1 2}]}', 1),
        (b'{"a": [1 2]}', 0),
        (b'{"a": [1],}', 1),
        (b'{"a": [1], b: 2}', 1),
        (b'{"a": [1, "\xff"]}', 0),
        (b'{"a": [1]} {}', 1),
        (b'{"a": [1, ' + b"[" * 100_000, 1),
        (b'{"a": [1, "line\nend"]}', 1),
    ],
)
def test_what_is_no_object_is_refused_after_what_was_whole(text: bytes, whole: int) -> None:
    elements = elements_of(cut(text, 40_000))
    assert [next(elements)[0] for _ in range(whole)] == ["a"] * whole
    with pytest.raises(Malformed, match="not JSON at character"):
        next(elements)


def test_the_place_of_a_fault_counts_from_the_start_of_the_file() -> None:
    text = b'{"a": [' + b"1, " * 50_000 + b"oops]}"
    with pytest.raises(Malformed, match=f"not JSON at character {text.index(b'oops') + 1}:"):
        list(elements_of(cut(text, 1_000)))


def test_a_value_without_an_end_is_not_gathered_for_ever() -> None:
    taken = 0

    def endless() -> Any:
        nonlocal taken
        yield b'{"a": ["'
        while True:
            taken += 1
            yield b"x" * 65_536

    with pytest.raises(Malformed):
        list(elements_of(endless()))
    assert taken * 65_536 < 2 * BODY_BYTES_MAX
