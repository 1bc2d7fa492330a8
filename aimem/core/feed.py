"""Cursors: places in a store's change feed, and where a reader who comes back with one must go on.

A store lists its starts, each with the first `seq` that it gave out. A cursor names the incarnation and start under
which its reader last read. When this store does not know that start, or that start did not get as far here as the
reader was told (the file was restored from a backup, or is a copy that went another way), the reader goes back to the
last point that both sides know, and reads from there what it may have read before: merging twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aimem.errors import Invalid


class Cursor(NamedTuple):
    """A place in a feed: after `seq`, as start `start` of incarnation `incarnation` saw it."""

    incarnation: str
    start: str
    seq: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.start}.{self.seq}"


def parse_cursor(text: str) -> Cursor:
    """The cursor that `text` prints.

    Raises:
        Invalid: when it is not the text of a cursor.
    """
    parts = text.split(".")
    if len(parts) == 3 and all(parts) and parts[2].isascii() and parts[2].isdecimal():
        cursor = Cursor(parts[0], parts[1], int(parts[2]))
        if str(cursor) == text:
            return cursor
    raise Invalid(f"not a cursor: {text!r}", hint="use the `cursor` of an earlier reply as it is, or none to begin")


def resolve(cursor: Cursor, *, starts: Sequence[tuple[str, int]], head: int) -> int:
    """The `seq` after which the reader must go on. `starts` are (id, first seq) in the order they happened."""
    for position, (start, first) in enumerate(starts):
        if start == cursor.start:
            end = starts[position + 1][1] - 1 if position + 1 < len(starts) else head
            return min(cursor.seq, end) if cursor.seq >= first - 1 else cursor.seq
    return 0


def betrays_the_past(cursor: Cursor, *, incarnation: str, starts: Sequence[tuple[str, int]], head: int) -> bool:
    """True when a cursor of this very incarnation proves that the store's past is not what it was: it lies past what
    its start wrote here, or names a start that this store does not know. The store must take a new incarnation."""
    if cursor.incarnation != incarnation:
        return False
    known = any(start == cursor.start for start, _ in starts)
    return not known or cursor.seq > resolve(cursor, starts=starts, head=head)
