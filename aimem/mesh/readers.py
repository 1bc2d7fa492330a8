"""How far other stores have read this store's feed, and which of them have missed tombstones that were swept.

A tombstone waits until every peer has read past it, a year at most. Whoever had not read it by then, or began to read
when it was gone, may still hold what it deleted: for ever after, the floor as it stood then binds what comes from that
store. A row at or below it whose address is not held here is not taken (see `core.taking.take`).
"""

from __future__ import annotations

from collections.abc import Iterable

from aimem.core.upkeep import advance
from aimem.limits import MESH_READERS_KEPT
from aimem.mesh.messages import Envelope
from aimem.node.lane import Lane
from aimem.store.base import Store

_READ, _MISSED = "read/", "missed/"


class Readers:
    """See the module. Stores go by their incarnation. What is noted here is kept with the positions of the mesh."""

    def __init__(self, store: Store, lane: Lane) -> None:
        self._store = store
        self._lane = lane
        self._read: dict[str, int] = {}
        self._missed: dict[str, int] = {}
        self._forgotten: list[str] = []

    async def open(self) -> None:
        """Read what was kept."""
        self._read = await self._kept(_READ)
        self._missed = await self._kept(_MISSED)

    async def refresh(self) -> None:
        """Take in what other nodes on this store noted: whichever is further."""
        for known, kept in ((self._read, await self._kept(_READ)), (self._missed, await self._kept(_MISSED))):
            for incarnation, at in kept.items():
                known[incarnation] = max(at, known.get(incarnation, 0))

    async def _kept(self, prefix: str) -> dict[str, int]:
        return {name.removeprefix(prefix): at for name, at in (await self._store.positions(prefix)).items()}

    def note(self, source: Envelope, seq: int) -> None:
        """A store has read the feed up to `seq`. It is remembered of the latest so many only."""
        incarnation = source.incarnation
        if self._read.pop(incarnation, None) is None and self._store.floor:
            self._missed[incarnation] = self._store.floor
        self._read[incarnation] = seq
        while len(self._read) > MESH_READERS_KEPT:
            self._forgotten.append(longest_silent := next(iter(self._read)))
            del self._read[longest_silent]
            self._missed.pop(longest_silent, None)

    def by_all(self, incarnations: Iterable[str]) -> int:
        """Up to which `seq` all of these have read the feed; without any, all of it."""
        return min((self.read(each) for each in incarnations), default=self._store.head)

    def read(self, incarnation: str) -> int:
        """Up to which `seq` one has read the feed: 0 for one that never did."""
        return self._read.get(incarnation, 0)

    async def floor_for(self, source: Envelope) -> int:
        """The floor (ns) that binds what comes from a store: 0 for one that has read the feed without a gap.

        Raises:
            AimemError: a shared store can't be read.
        """
        if source.behind or source.incarnation not in self._read:
            await self._store.hear()  # another node may have swept a moment ago
            return self._store.floor
        return self._missed.get(source.incarnation, 0)

    async def pass_by(self, until: int, floor: int) -> bool:
        """Tombstones up to `seq` `until`, of versions up to `floor` (ns), are about to be swept: who has not read them
        is bound by that floor from now on. Durable when it returns. Whether there was anybody.

        Raises:
            AimemError: the store takes no writes.
        """
        missed = {each: floor for each, seq in self._read.items() if seq < until and self._missed.get(each, 0) < floor}
        if missed:
            await self._lane.write([advance({f"{_MISSED}{each}": at for each, at in missed.items()})])
            self._missed |= missed
        return bool(missed)

    def positions(self) -> dict[str, int]:
        """What is to be kept."""
        read = {f"{_READ}{each}": seq for each, seq in self._read.items()}
        return read | {f"{_MISSED}{each}": at for each, at in self._missed.items()}

    def gone(self) -> dict[str, int]:
        """What is kept and need not be any longer."""
        gone = [each for each in self._forgotten if each not in self._read]
        return {f"{prefix}{each}": -1 for each in gone for prefix in (_READ, _MISSED)}

    def kept(self) -> None:
        """All of that was written down."""
        self._forgotten.clear()
