"""The right to do for all nodes over one store what need be done once: a lease, which whoever does the work renews."""

from __future__ import annotations

import asyncio

from aimem.store.base import SearchingStore

_RENEWALS = 3  # in the life of a lease, so that one that comes late loses nothing


class Lease:
    """One lease of a store. Two may think for a moment that they hold it: the work must bear that."""

    def __init__(self, store: SearchingStore, name: str, secs: float) -> None:
        self.pause = secs / _RENEWALS
        self._store = store
        self._name = name
        self._secs = secs
        self._renewed: float | None = None

    async def held(self) -> bool:
        """Whether this node has it, taking or renewing it where it is time to.

        Raises:
            AimemError: the store can't be reached.
        """
        now = asyncio.get_running_loop().time()
        if self._renewed is None or now - self._renewed >= self.pause:
            self._renewed = None
            if await self._store.lease(self._name, self._secs):
                self._renewed = now
        return self._renewed is not None

    async def release(self) -> None:
        """Let another have it at once."""
        if self._renewed is not None:
            self._renewed = None
            await self._store.release(self._name)
