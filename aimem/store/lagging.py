"""Which reads a copy of the store may answer that lags behind a little: those of callers, once they have said so.

All else that is read (what a write builds on, the feed, positions, what is kept in memory) comes from the store itself.
Who serves a caller's read puts it inside `lagging`, with the position in the feed that the caller must find there: that
of its own last write. A store without copies takes no notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_after: ContextVar[int | None] = ContextVar("after", default=None)


@contextmanager
def lagging(after: int) -> Iterator[None]:
    """What is read inside may come from a copy that holds the feed up to `after` at least."""
    token = _after.set(after)
    try:
        yield
    finally:
        _after.reset(token)


def wanted() -> int | None:
    """The position that a copy must have reached to answer this read; None where no copy will do."""
    return _after.get()
