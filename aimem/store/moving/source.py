"""What is asked of a store that others are filled from: its feed, single records, and what it knows of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from aimem.core.feed import Cursor, resolve
from aimem.core.record import Record, Ref
from aimem.limits import MIGRATE_BATCH_BYTES, MIGRATE_BATCH_RECORDS
from aimem.store.base import Store


class Page(NamedTuple):
    """Records of a feed, oldest first, and the cursor after them. `more` when the page was cut by its bounds."""

    records: Sequence[Record]
    cursor: Cursor
    more: bool


class Source(Protocol):
    """See the module. `name` stands for it in what is told, without credentials."""

    name: str

    @property
    def incarnation(self) -> str:
        """As `Store.incarnation`."""

    @property
    def head(self) -> int:
        """As `Store.head`."""

    @property
    def floor(self) -> int:
        """As `Store.floor`."""

    @property
    def clock(self) -> int:
        """As `Store.clock`."""

    @property
    def digest(self) -> str:
        """The root of its digest."""

    async def resolve(self, cursor: Cursor) -> int:
        """Where in its feed a reader with this cursor goes on."""

    async def page(self, after: int) -> Page:
        """A page of its feed, of all kinds."""

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        """The records under these addresses, tombstones included."""

    async def positions(self, prefix: str) -> dict[str, int]:
        """As `Store.positions`."""


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
