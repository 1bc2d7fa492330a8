"""Where the last write of each caller stands in the feed of a shared store, so that its reads find it wherever they are
answered.

A reply to a write carries the position; a caller that goes on at another node takes it there. At the same node it need
not: who it is, is known by its connection. Positions of an incarnation that is gone are dropped: a store that lost a
part of its past can't be asked for it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from aimem.core.feed import Cursor, parse_cursor
from aimem.limits import CALLERS_REMEMBERED_MAX
from aimem.store.base import Store
from aimem.store.lagging import lagging


class Positions:
    """The positions of callers at this node. Those that are not remembered any more count as the last of them."""

    def __init__(self, store: Store, most: int = CALLERS_REMEMBERED_MAX) -> None:
        self._store = store
        self._most = most
        self._incarnation = ""
        self._after: dict[str, int] = {}  # the longest ago first
        self._forgotten = 0

    def wrote(self, who: str) -> str | None:
        """Note a write of this caller, and its position as a text; None for a store of this node's alone, which is
        read as it is anyway."""
        store = self._store
        if not store.shared:
            return None
        self._drop_others()
        self._after.pop(who, None)
        self._after[who] = store.head
        if len(self._after) > self._most:
            self._forgotten = max(self._forgotten, self._after.pop(next(iter(self._after))))
        return str(Cursor(store.incarnation, store.start, store.head))

    def reading(self, who: str, named: str | None) -> AbstractContextManager[None]:
        """The block in which a read of this caller is answered. `named` is the position that it brought.

        Raises:
            Invalid: that is none.
        """
        cursor = parse_cursor(named) if named else None
        if not self._store.shared:
            return nullcontext()
        self._drop_others()
        if cursor is not None and cursor.incarnation != self._incarnation:
            return nullcontext()  # of another past than the one that is known here: the store itself is asked
        known = self._after.get(who, self._forgotten)
        return lagging(max(known, cursor.seq) if cursor is not None else known)

    def _drop_others(self) -> None:
        if self._incarnation != self._store.incarnation:
            self._incarnation = self._store.incarnation
            self._after.clear()
            self._forgotten = 0
