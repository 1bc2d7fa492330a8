"""The one way from a node to its store's writes: use cases and background work alike go through here.

What the store says about the disk is noted as a condition of the node: set by the write that met it, cleared by the
first write that gets through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aimem.core.intent import Intent
from aimem.errors import AimemError, DiskFull, StorageFailed
from aimem.node.conditions import DISK_FULL, STORAGE_FAILED, Conditions
from aimem.store.base import Outcome, Store


class Lane:
    """Writes to the store, and watches what comes of it."""

    def __init__(self, store: Store, conditions: Conditions, now: Callable[[], int]) -> None:
        self._store = store
        self._conditions = conditions
        self._now = now

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        """As `Store.write`: one outcome per intent, durable when it returns."""
        try:
            outcomes = await self._store.write(intents)
        except DiskFull as error:
            self._conditions.set(DISK_FULL, error.message, self._now())
            raise
        except StorageFailed as error:
            self._conditions.set(STORAGE_FAILED, error.message, self._now())
            raise
        if self._conditions.codes():
            self._conditions.clear(DISK_FULL)
            self._conditions.clear(STORAGE_FAILED)
        return outcomes

    async def one(self, intent: Intent) -> Any:
        """The reply of one intent.

        Raises:
            AimemError: whatever it was refused with, or the store's trouble.
        """
        (outcome,) = await self.write([intent])
        if isinstance(outcome, AimemError):
            raise outcome
        return outcome.reply
