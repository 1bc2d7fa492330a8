"""Which tombstones may be swept here: those that every peer has read, or that those who have not are bound for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aimem.limits import MESH_KEEP_POSITIONS_SECS
from aimem.mesh.links import Links
from aimem.mesh.peer import Peer
from aimem.mesh.readers import Readers
from aimem.store.base import Store


class Sweeping:
    """See the module. `behind()` tells whether this store is: then it sweeps nothing. `max_skew` in ns."""

    def __init__(self, store: Store, links: Links, readers: Readers, behind: Callable[[], bool], max_skew: int) -> None:
        self.unswept = 0
        """Up to which `seq` tombstones are old enough to go, and were not read by all."""
        self._store = store
        self._links = links
        self._readers = readers
        self._behind = behind
        self._max_skew = max_skew

    def read_by_all(self) -> int:
        """Up to which `seq` every peer has read this store's feed: what is above must not be swept."""
        if self._behind():
            return 0
        return self._readers.by_all(map(_incarnation, self._waited_for()))

    async def pass_by(self, until: int, floor: int) -> bool:
        """See `Fleet.pass_by`."""
        if self._behind():
            return False
        noted = await self._readers.pass_by(until, floor + 2 * self._max_skew)
        if noted and self._store.shared:
            await asyncio.sleep(2 * MESH_KEEP_POSITIONS_SECS)  # until the other nodes on this store have read it there
        return True

    def _waited_for(self) -> list[Peer]:
        """The peers that are to have read a tombstone before it goes. Those of the existing system never read any, and
        those on the same store need not."""
        return [link.peer for link in self._links.outside if not link.legacy.known]

    def held_up_by(self, peer: Peer) -> bool:
        """Whether tombstones wait for a peer to read them."""
        return peer in self._waited_for() and self._readers.read(_incarnation(peer)) < self.unswept


def _incarnation(peer: Peer) -> str:
    """The store behind a peer; that of one that was not met has no name."""
    return peer.identity.incarnation if peer.identity is not None else ""
