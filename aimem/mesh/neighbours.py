"""Which other nodes have this shared store open, and which of them this node's fleet does not know.

Each node holds a lease that names it, for as long as it runs. Nodes of one fleet know each other: as peers, as peers of
peers, or by the name of their fleet. A node that is none of that is a stranger: perhaps another fleet was pointed at
this database. It is told, and no more: a fleet may be wired so that some of its own look strange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from aimem.errors import AimemError
from aimem.limits import STORE_LEAVE_SECS, STORE_NODE_SECS
from aimem.mesh.links import Links
from aimem.node.leasing import Lease
from aimem.store.base import SearchingStore, Store

NODES = "node/"
"""What the names of these leases begin with; fleet (or nothing) and node follow."""


class Neighbour(NamedTuple):
    """A node that has the store open, and the fleet that it says, if any."""

    fleet: str
    node: str


def neighbour_of(lease: str) -> Neighbour:
    """Who holds a lease of this name."""
    fleet, _, node = lease.removeprefix(NODES).partition("/")
    return Neighbour(fleet, node)


class Neighbours:
    """Looked up every few seconds; where a store is the node's own there are none. `looked()` is called after each
    look."""

    def __init__(self, store: Store, node: str, fleet: str | None, links: Links, looked: Callable[[], None]) -> None:
        self._own = Neighbour(fleet or "", node)
        self._store = store if isinstance(store, SearchingStore) else None
        self._lease = Lease(self._store, f"{NODES}{'/'.join(self._own)}", STORE_NODE_SECS) if self._store else None
        self._links = links
        self._looked = looked
        self._refused_since: float | None = None
        self._seen: dict[Neighbour, float] = {}  # since when (loop time) it has been there at each look

    async def look(self) -> None:
        """Be seen, and see who else is there.

        Raises:
            AimemError: the store can't be reached.
        """
        if self._store is None or self._lease is None:
            return
        now = asyncio.get_running_loop().time()
        if await self._lease.held():
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now
        found = [neighbour_of(name) for name in await self._store.leases(NODES)]
        self._seen = {each: self._seen.get(each, now) for each in found}
        self._looked()

    async def run(self) -> None:
        """Go on looking. A store that can't be reached is told elsewhere."""
        while self._store is not None:
            await asyncio.sleep(STORE_NODE_SECS / 3)
            with suppress(AimemError):
                await self.look()

    async def leave(self) -> None:
        """Be seen no longer: at once where the store answers, else when the lease ends."""
        if self._lease is not None:
            with suppress(AimemError, TimeoutError):
                async with asyncio.timeout(STORE_LEAVE_SECS):
                    await self._lease.release()

    @property
    def others(self) -> list[str]:
        """The other nodes that have this store open."""
        return sorted({each.node for each in self._seen} - {self._own.node})

    @property
    def strangers(self) -> list[str]:
        """Those of them that no peer of this node knows, and that are there for longer than the lease of one that was
        killed. None before all peers were met: one of them may know them; nor without peers, where nodes have nothing
        but the store in common."""
        peers = [link.peer for link in self._links.others if not link.legacy.active]
        met = [peer.identity for peer in peers if peer.identity is not None]
        if not met or len(met) < len(peers):
            return []
        known = {name for identity in met for name in (identity.node, *identity.peers)}
        known |= {each.node for each in self._seen if self._own.fleet and each.fleet == self._own.fleet}
        before = asyncio.get_running_loop().time() - STORE_NODE_SECS
        staying = {each.node for each, since in self._seen.items() if since < before}
        return [name for name in self.others if name in staying - known]

    def warnings(self) -> list[str]:
        """What an operator should know of that."""
        told = []
        if strangers := self.strangers:
            told.append(
                f"{', '.join(strangers)} have this store open too, and no peer of this node knows them: two fleets in "
                "one database read and govern each other's memories; give each its own, or say --fleet on all nodes of "
                "the one that it is"
            )
        held = self._refused_since
        if held is not None and asyncio.get_running_loop().time() - held > 2 * STORE_NODE_SECS:
            told.append(
                f"another process has this store open as the node {self._own.node}: give each node a name of its own "
                "(--node), and each fleet a database of its own"
            )
        return told
