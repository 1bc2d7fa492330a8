"""How far each peer has this node's feed, kept with the store so that a restart goes on there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aimem.core.upkeep import advance
from aimem.limits import MESH_KEEP_POSITIONS_SECS
from aimem.mesh.links import Links, PeerLink
from aimem.mesh.readers import Readers
from aimem.node.lane import Lane
from aimem.store.base import Store


class Positions:
    """Those of the push lanes, and of the readers. `kept()` is awaited after each time they were written."""

    def __init__(
        self, store: Store, lane: Lane, links: Links, readers: Readers, node: str, kept: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._lane = lane
        self._links = links
        self._readers = readers
        self._node = node
        self._kept = kept
        self._last: dict[str, int] = {}

    async def open(self) -> None:
        """Tell every link what was kept of it."""
        kept = await self._store.positions("push/")
        await self._readers.open()
        for link in self._links:
            name = self._name_of(link)
            link.met, link.kept = name in kept, kept.get(name, 0)

    async def run(self) -> None:
        """Keep them, for ever."""
        while True:
            await asyncio.sleep(MESH_KEEP_POSITIONS_SECS)
            await self.keep()
            await self._kept()

    def _name_of(self, link: PeerLink) -> str:
        """Under which name it is kept how far a peer has the own feed: of a shared store each node has lanes of its
        own."""
        return f"push/{self._node}/{link.peer.url}" if self._store.shared else f"push/{link.peer.url}"

    async def keep(self) -> None:
        """Write down what moved."""
        positions = {self._name_of(link): link.push.position for link in self._links.outside if link.push}
        positions |= self._readers.positions()
        moved = {name: seq for name, seq in positions.items() if self._last.get(name) != seq}
        if changed := {**moved, **self._readers.gone()}:
            await self._lane.write([advance(changed)])
            self._last |= moved
            self._readers.kept()
