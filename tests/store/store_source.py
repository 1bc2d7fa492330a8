"""Any open store as the source of a move, for tests of what a move does with sources."""

from __future__ import annotations

from collections.abc import Sequence

from aimem.core.feed import Cursor, resolve
from aimem.core.record import Record, Ref
from aimem.limits import MIGRATE_BATCH_BYTES, MIGRATE_BATCH_RECORDS
from aimem.store.base import Store
from aimem.store.moving.source import Page


class StoreSource:
    """An open store as a source."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self._store = store

    @property
    def incarnation(self) -> str:
        return self._store.incarnation

    @property
    def head(self) -> int:
        return self._store.head

    @property
    def floor(self) -> int:
        return self._store.floor

    @property
    def clock(self) -> int:
        return self._store.clock

    @property
    def digest(self) -> str:
        return self._store.digest.root()

    async def resolve(self, cursor: Cursor) -> int:
        if cursor.incarnation != self.incarnation:
            return 0
        return resolve(cursor, starts=await self._store.starts(), head=self._store.head)

    async def page(self, after: int) -> Page:
        page = await self._store.changes(after, MIGRATE_BATCH_RECORDS, MIGRATE_BATCH_BYTES)
        return Page([record for _, record in page.changes], page.cursor, page.more)

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        return await self._store.get(refs)

    async def positions(self, prefix: str) -> dict[str, int]:
        return await self._store.positions(prefix)
