"""The disk of a simulated node: a store in memory that keeps what an fsync has ended, and loses the rest in a crash."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from aimem.core.intent import Intent
from aimem.core.record import Record
from aimem.errors import Busy
from aimem.store.base import Outcome, Swept
from aimem.store.memory.store import Cell, MemoryStore


class Disk:
    """What of a store is on disk: the last synced state. `shared`: several nodes may have it `open`."""

    def __init__(self, *, shared: bool = False) -> None:
        self.synced: MemoryStore | None = None
        self.shared = shared
        self.open: list[DiskStore] = []

    def copy(self) -> MemoryStore | None:
        """The state as it is on disk now."""
        return None if self.synced is None else _frozen(self.synced)

    def records(self) -> list[Record]:
        """All that is on it."""
        return [] if self.synced is None else [row.record for row in self.synced._state.rows.values()]


def _frozen(store: MemoryStore) -> MemoryStore:
    kept = MemoryStore.__new__(MemoryStore)
    kept._cell = Cell(store._state.copy())
    return kept


class DiskStore(MemoryStore):
    """A store in memory that acknowledges after a simulated fsync; a crash before it leaves the disk as it was. What
    another node wrote to a shared one is heard of a moment later."""

    def __init__(self, disk: Disk, rand: random.Random, **options: Any) -> None:
        beside = disk.open[0] if disk.open else None
        super().__init__(
            after=disk.synced, beside=beside, shared=disk.shared, rand=lambda: f"{rand.getrandbits(64):016x}", **options
        )
        self._disk = disk
        self._random = rand
        self.alive = True
        self.restamping = False
        self._looking = False
        if disk.shared:
            disk.open.append(self)
        self._sync_now()

    def end(self) -> None:
        """The node is gone: nothing more reaches the disk by this opening, and it hears of nothing."""
        self.alive = False
        self._cell.openings.remove(self)
        if self in self._disk.open:
            self._disk.open.remove(self)

    @property
    def anybody_restamps(self) -> bool:
        """Whether this opening or another one is giving new versions."""
        return any(opening.restamping for opening in (self, *self._disk.open))

    def _look_soon(self) -> None:
        if self.anybody_restamps:
            self._hear_now()  # so that it is known for what it is
        elif not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(0.3 * self._random.random(), self._look)

    def _look(self) -> None:
        self._looking = False
        if self.alive:
            self._hear_now()

    async def hear(self) -> None:
        await asyncio.sleep(0.002 * self._random.random())
        if not self.alive:
            raise Busy("the node has crashed")
        await super().hear()

    def _sync_now(self) -> None:
        self._disk.synced = _frozen(self)

    async def _fsync(self) -> None:
        await asyncio.sleep(0.0005 + 0.003 * self._random.random())
        if not self.alive:
            raise Busy("the node has crashed")

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        await self._fsync()
        outcomes = await super().write(intents)
        self._sync_now()
        return outcomes

    async def sweep(self, before: int, read_by_all: int, now: int, limit: int) -> Swept:
        await self._fsync()
        swept = await super().sweep(before, read_by_all, now, limit)
        self._sync_now()
        return swept

    async def restamp(self, limit: int) -> int:
        await self._fsync()
        for opening in self._disk.open:
            opening._hear_now()  # what was written before is heard as what it is
        self.restamping = True
        count = await super().restamp(limit)
        self.restamping = False
        self._sync_now()
        return count

    async def raise_floor(self, floor: int) -> None:
        await self._fsync()
        await super().raise_floor(floor)
        self._sync_now()

    async def renew_incarnation(self) -> None:
        await self._fsync()
        await super().renew_incarnation()
        self._sync_now()
