"""Whether this node may take a caller's write: its clock agrees with its peers', and it has heard what they hold."""

from __future__ import annotations

import asyncio
import logging

from aimem.errors import CatchingUp, ClockSkewed
from aimem.mesh.links import Links
from aimem.mesh.peer import Peer
from aimem.mesh.settings import Clock
from aimem.store.base import Store

log = logging.getLogger(__name__)


class Admission:
    """Judged anew with every write. `max_skew` in ns."""

    def __init__(self, store: Store, links: Links, now: Clock, max_skew: int) -> None:
        self.restamped = 0
        """How many records got new versions since the start, for having been written under a clock that ran ahead."""
        self._store = store
        self._links = links
        self._now = now
        self._max_skew = max_skew
        self._empty = store.head == 0

    @property
    def _peers(self) -> list[Peer]:
        return [link.peer for link in self._links.others]

    def check(self) -> None:
        """Raises: ClockSkewed, CatchingUp: this node must not take a caller's write now."""
        skew = self._max_skew
        offsets = [peer.offset for peer in self._peers if peer.up and peer.offset is not None]
        off = [offset for offset in offsets if abs(offset) > skew]
        if offsets and 2 * len(off) > len(offsets):
            raise ClockSkewed(
                f"this node's clock is {-off[0] / 1e9:+.1f} s off those of most peers, more than {skew / 1e9:g} s",
                hint="set the clock right (chronyc tracking tells); writes are taken again by themselves",
            )
        if self._links and self._store.clock > self._now() + skew:
            raise ClockSkewed(
                f"this store holds versions {(self._store.clock - self._now()) / 1e9:.1f} s ahead of this node's clock",
                hint="set the clock right, or wait until it has passed them",
            )
        if self._empty and self._peers and not self._caught_up():
            raise CatchingUp(
                "this node is new and has not read any peer's feed to its end yet",
                hint="write to another node meanwhile; aimem status --peers shows how far it is",
            )

    def _caught_up(self) -> bool:
        """Whether a peer's feed was read to its end. Those on the same store have none of their own: where nobody else
        was ever met, there is nothing to read."""
        outside = self._links.outside
        if len(outside) < len(self._links.others) and not any(link.peer.identity or link.met for link in outside):
            return True
        return any(link.caught_up for link in outside)

    async def restamp(self) -> None:
        """When most peers agree with this node's clock and its store is far ahead of it, the store was wrong.

        They are asked now: what they said before may be about the clock as it was before it was set back."""
        skew, before = self._max_skew, self._now()
        if self._store.clock <= before + 2 * skew:
            return
        peers = self._peers
        said = await asyncio.gather(*(peer.hello() for peer in peers), return_exceptions=True)
        right = [peer for peer, failed in zip(peers, said, strict=True) if failed is None and peer.agrees(skew)]
        limit = max(before, self._now()) + 2 * skew  # they agreed with a clock that may have been set back meanwhile
        if self._store.clock > limit and 2 * len(right) > len(peers):
            self.restamped += await self._store.restamp(limit)
            log.error("%d records were written under a clock that ran ahead: they have new versions", self.restamped)
