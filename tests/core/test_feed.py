"""Cursors: where a reader goes on, and when a cursor proves that the past is another."""

from __future__ import annotations

import pytest

from aimem.core.feed import Cursor, betrays_the_past, parse_cursor, resolve
from aimem.errors import Invalid

STARTS = [("one", 1), ("two", 5), ("three", 5), ("four", 9)]  # `two` wrote nothing
HEAD = 12


@pytest.mark.parametrize(
    ("start", "seq", "goes_on", "betrays"),
    [
        ("one", 0, 0, False),
        ("one", 4, 4, False),
        ("one", 5, 4, True),
        ("two", 4, 4, False),
        ("two", 5, 4, True),
        ("three", 8, 8, False),
        ("three", 2, 2, False),
        ("three", 9, 8, True),
        ("four", 12, 12, False),
        ("four", 13, 12, True),
        ("unknown", 3, 0, True),
    ],
)
def test_a_reader_goes_on_at_the_last_point_that_both_sides_know(
    start: str, seq: int, goes_on: int, betrays: bool
) -> None:
    cursor = Cursor("here", start, seq)
    assert resolve(cursor, starts=STARTS, head=HEAD) == goes_on
    assert betrays_the_past(cursor, incarnation="here", starts=STARTS, head=HEAD) is betrays


def test_a_cursor_of_another_incarnation_betrays_nothing() -> None:
    assert not betrays_the_past(Cursor("there", "unknown", 99), incarnation="here", starts=STARTS, head=HEAD)


def test_a_cursor_survives_its_text() -> None:
    cursor = Cursor("a" * 16, "b" * 16, 7)
    assert parse_cursor(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "a.b", "a.b.", "a..1", "a.b.1.2", "a.b.x", "a.b.-1", "a.b.01", "a.b.¹", "a.b. 1"])
def test_what_no_cursor_prints_is_no_cursor(text: str) -> None:
    with pytest.raises(Invalid, match="not a cursor"):
        parse_cursor(text)
