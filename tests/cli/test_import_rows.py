"""Lines to send: one for each row, and a way back from its number to its place."""

from __future__ import annotations

from aimem.cli.import_rows import LineRows, ObjectRows
from aimem.limits import BODY_BYTES_MAX


def test_a_line_that_is_too_long_is_an_empty_one_wherever_it_is_cut() -> None:
    longest = b"x" * BODY_BYTES_MAX
    rows = LineRows("f", iter([longest, b"\na\n", longest, b"y" * 9, b"\n", b"b"]))
    assert list(rows.lines()) == [longest + b"\n", b"a\n", b"\n", b"b\n"]
    assert list(rows.problems) == [3]
    assert rows.where(3) == "f:3"
    assert rows.bytes_read == 2 * BODY_BYTES_MAX + 14


def test_links_follow_the_memories_and_are_named_by_their_own_place() -> None:
    rows = ObjectRows("f", iter([b'{"links": [1, 2], "memories": [3], "x": [0]', b', "links": [4]}']))
    assert b"".join(rows.lines()) == b'{"memory":3}\n{"link":1}\n{"link":2}\n{"link":4}\n'
    assert [rows.where(number) for number in range(1, 5)] == [
        "f: memories[0]",
        "f: links[0]",
        "f: links[1]",
        "f: links[2]",
    ]
    assert rows.left_out == {"x": 1}
