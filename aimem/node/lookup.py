"""Records of one kind by a name that stands inside them, kept in memory from the store's changes.

Read in full when it is first asked, so who never asks pays nothing; from then on it follows what is committed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from aimem.core.record import Record
from aimem.store.base import Change, Store


class Lookup:
    """`names_of` gives the names of a record; a tombstone has none."""

    def __init__(self, store: Store, kind: str, names_of: Callable[[Record], Iterable[str]]) -> None:
        self._store = store
        self._kind = kind
        self._names_of = names_of
        self._keys: dict[str, set[str]] = defaultdict(set)
        self._names: dict[str, tuple[str, ...]] = {}
        self._loading: set[str] | None = None  # what changed while the store is read: that is newer
        self._loaded = False
        self._lock = asyncio.Lock()

    async def of(self, name: str) -> Sequence[str]:
        """The keys of the records of that name, in order."""
        async with self._lock:
            if not self._loaded:
                await self._load()
        return sorted(self._keys.get(name, ()))

    async def _load(self) -> None:
        changed = self._loading = set[str]()
        self._store.subscribe(self._changed)
        async for batch in self._store.scan(self._kind):
            for _, record in batch:
                if record.key not in changed:
                    self._learn(record)
        self._loading = None
        self._loaded = True

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.record.kind == self._kind:
                if self._loading is not None:
                    self._loading.add(change.record.key)
                self._learn(change.record)

    def _learn(self, record: Record) -> None:
        for name in self._names.pop(record.key, ()):
            self._keys[name].discard(record.key)
            if not self._keys[name]:
                del self._keys[name]
        names = () if record.deleted else tuple(self._names_of(record))
        if names:
            self._names[record.key] = names
        for name in names:
            self._keys[name].add(record.key)
