"""Reading what a node of the existing system holds: its memories by `updated_at`, the only thing that it shows.

It selects what is strictly above a stamp and cuts pages anywhere, also between rows of one stamp; so one that was cut
is followed from the last stamp below its greatest. A row may come to it with an old stamp, so readings overlap, and at
times all is read again. A row that can't be taken is kept aside and told; the reading goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

from aimem.core.fields import object_of
from aimem.core.legacy.rows import check_shape, stamp
from aimem.core.record import Ref
from aimem.core.timestamp import parse_timestamp
from aimem.errors import AimemError, Invalid
from aimem.limits import LEGACY_OVERLAP_NS, LEGACY_PAGE_ROWS, LEGACY_PAGE_ROWS_MAX, LEGACY_REREAD_SECS
from aimem.mesh.legacy_taking import LegacyTaking, Sender
from aimem.node.background import wait

log = logging.getLogger(__name__)

SINCE = "/api/v1/sync/since"
Fetch = Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]
"""Method, path and body of a request to them, and the status and body of the reply."""


class LegacyPull:
    """See the module. `again(refs)` is told what the peer shows in an older version than stands here."""

    def __init__(
        self, sender: Sender, fetch: Fetch, taking: LegacyTaking, again: Callable[[Sequence[Ref]], None], secs: float
    ) -> None:
        self._sender = sender
        self._fetch = fetch
        self._taking = taking
        self._again = again
        self._secs = secs
        self._since = ""
        self._all_at = 0.0
        self._poked = asyncio.Event()
        self.finished = asyncio.Event()
        """Set when all that the peer holds was read once since the start."""
        self.ended_at: float | None = None
        """When (loop time) the peer was last read to its end."""
        self.rows = 0

    def poke(self) -> None:
        """Read now."""
        self._poked.set()

    async def everything(self) -> None:
        """Read all that the peer holds. Raises: AimemError: it does not answer, or the store takes no writes."""
        self._since, self._all_at = "", asyncio.get_running_loop().time()
        await self._to_the_end()

    async def run(self) -> None:
        """Read what is new, for ever. Raises as `everything`."""
        while True:
            self._poked.clear()
            await wait(self._poked, self._secs or None)
            if asyncio.get_running_loop().time() > self._all_at + LEGACY_REREAD_SECS:
                await self.everything()
            else:
                if self._since:
                    self._since = stamp(max(0, parse_timestamp(self._since) - LEGACY_OVERLAP_NS))
                await self._to_the_end()

    async def _to_the_end(self) -> None:
        limit = LEGACY_PAGE_ROWS
        while True:
            page = await self._page(limit)
            _, behind = await self._taking.memories(page, self._sender)
            self.rows += len(page)
            if behind:
                self._again(behind)
            self._since, limit, more = follow(self._since, [row["updated_at"] for row in page], limit)
            if not more:
                break
        self.ended_at = asyncio.get_running_loop().time()
        self.finished.set()

    async def _page(self, limit: int) -> list[Any]:
        status, content = await self._fetch("GET", f"{SINCE}?since={quote(self._since, safe='')}&limit={limit}", b"")
        if status != 200:
            raise AimemError(f"{self._sender.name} shows no memories: status {status}")
        try:
            page = object_of(json.loads(content)).get("memories")
        except ValueError as error:
            raise Invalid(f"{self._sender.name} sent no JSON") from error
        if not isinstance(page, list):
            raise Invalid(f"{self._sender.name} sent no list of memories")
        for row in page:
            check_shape(row)
        return page


def follow(since: str, stamps: Sequence[str], limit: int) -> tuple[str, int, bool]:
    """From which stamp and with which limit to read on after a page, and whether there is more.

    A full page may have been cut between rows of one stamp. Where all rows of it have that one, only a longer page
    can show the rest; beyond the most that they give nothing can.
    """
    if len(stamps) < limit:
        return (max(stamps) if stamps else since), LEGACY_PAGE_ROWS, False
    last = max(stamps)
    below = [each for each in stamps if each < last]
    if below:
        return max(below), LEGACY_PAGE_ROWS, True
    if limit < LEGACY_PAGE_ROWS_MAX:
        return since, min(4 * limit, LEGACY_PAGE_ROWS_MAX), True
    log.error("more than %d rows have the stamp %s: what is beyond can't be read", limit, last)
    return last, LEGACY_PAGE_ROWS, True
