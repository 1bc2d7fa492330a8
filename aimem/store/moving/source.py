"""What is asked of a store that others are filled from: its feed, single records, and what it knows of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from aimem.core.feed import Cursor
from aimem.core.record import Record, Ref


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
