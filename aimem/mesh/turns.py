"""Work about different things side by side, and about one thing one after the other, in the order in which it came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class Turns:
    """Remembers for each key who came last, while anybody works or waits: whoever comes next waits for that one."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    @property
    def waiting(self) -> int:
        """About how many keys somebody works, or waits."""
        return len(self._last)

    @asynccontextmanager
    async def about(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """The only one at work about any of these keys."""
        keys, mine = set(keys), asyncio.get_running_loop().create_future()
        before = {self._last[key] for key in keys if key in self._last}
        self._last |= dict.fromkeys(keys, mine)

        def over(_: object = None) -> None:
            mine.set_result(None)
            for key in keys:
                if self._last[key] is mine:
                    del self._last[key]

        try:
            if before:
                await asyncio.wait(before)
            yield
        finally:
            unfinished = [each for each in before if not each.done()]
            if unfinished:  # cancelled while it waited: who comes after it has those to wait for all the same
                asyncio.gather(*unfinished).add_done_callback(over)
            else:
                over()
