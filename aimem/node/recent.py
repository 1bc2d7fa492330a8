"""Records that were read lately, kept until they change: what is looked at again and again is not read each time."""

from __future__ import annotations

from collections import OrderedDict

from aimem.core.record import Record


class RecentlyRead:
    """Of one kind, by key: as many as fit into `budget` bytes of their JSON; in memory they take some five times that.
    Whoever keeps one drops it when it changes."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._kept: OrderedDict[str, Record] = OrderedDict()  # the one that was used last stands last
        self._bytes = 0

    def get(self, key: str) -> Record | None:
        """The record under a key, if it is kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, record: Record) -> None:
        """Keep a record, and let go of those that were not used for longest."""
        self.drop(record.key)
        self._kept[record.key] = record
        self._bytes += len(record.raw)
        while self._bytes > self._budget:
            self.drop(next(iter(self._kept)))

    def drop(self, key: str) -> None:
        """Forget what is kept under a key."""
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone.raw)
