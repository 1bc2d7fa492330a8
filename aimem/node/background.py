"""Background work that a node starts when it opens and ends when it closes.

A piece of work that fails is logged, counted, and started again after a pause: nothing in the background may end the
node, and nothing may fail without being seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aimem.errors import AimemError
from aimem.limits import BACKGROUND_RETRY_SECS
from aimem.node.metrics import Meters

log = logging.getLogger(__name__)


class Background:
    """Owns the tasks."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` until it returns or the node closes."""
        self._tasks.append(asyncio.create_task(self._run(name, work), name=f"aimem-{name}"))

    async def close(self) -> None:
        """Cancel all work and wait for it. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except AimemError as error:
                log.warning("%s: %s", name, error)
            except Exception:
                log.exception("%s failed", name)
            else:
                return
            self._meters.failures.inc(task=name)
            await asyncio.sleep(BACKGROUND_RETRY_SECS)


async def wait(event: asyncio.Event, secs: float | None) -> None:
    """Until the event is set, `secs` at most; None for no bound."""
    with suppress(TimeoutError):
        async with asyncio.timeout(secs):
            await event.wait()
