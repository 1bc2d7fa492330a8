"""What is being fetched right now, from whichever peer: two peers have mostly the same, and once is enough.

A claim is no promise: whoever finds a record still missing when its claim was let go fetches it itself. So a slow peer
holds up the others for a moment at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from aimem.core.record import Ref
from aimem.limits import MESH_CLAIM_SECS


class InFlight:
    """The claimed addresses of one node."""

    def __init__(self) -> None:
        self._claimed: set[Ref] = set()
        self._let_go = asyncio.Event()

    def claim(self, refs: Sequence[Ref]) -> list[Ref]:
        """Those of the addresses that nobody has claimed; from now on they are the caller's."""
        free = [ref for ref in refs if ref not in self._claimed]
        self._claimed.update(free)
        return free

    def release(self, refs: Iterable[Ref]) -> None:
        """The caller is done with these, whether or not it got them."""
        self._claimed.difference_update(refs)
        self._let_go.set()
        self._let_go = asyncio.Event()

    async def settled(self, refs: Iterable[Ref]) -> bool:
        """Wait until nobody claims these any more: True. False when that takes too long."""
        try:
            async with asyncio.timeout(MESH_CLAIM_SECS):
                while not self._claimed.isdisjoint(refs):
                    await self._let_go.wait()
        except TimeoutError:
            return False
        return True
