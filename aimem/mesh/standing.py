"""Whether this store can be trusted about deletes: a store that is new, restored, or was away too long is *behind*.

A store that is behind may hold rows whose tombstones were swept everywhere. It sweeps nothing, and serves its feed only
to others that are behind, until it has read to its end the feed of a peer that is not. Then it takes over that peer's
floor, sets aside its own rows at or below it that the peer does not hold, and tells its peers, which can read it now.
When every peer is behind too, none is.

A store that never had a peer can't have missed a tombstone of theirs: what it holds alone it writes anew, so that they
take it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from aimem.core.digest import counts
from aimem.core.kinds import DAY_NS
from aimem.core.record import Record, Ref
from aimem.core.taking import set_aside, write_anew
from aimem.core.upkeep import advance
from aimem.limits import MESH_PAGE_HEADS
from aimem.mesh.messages import HELD, Envelope, list_of
from aimem.mesh.peer import Peer
from aimem.mesh.settings import Clock
from aimem.node.lane import Lane
from aimem.store.base import Store

log = logging.getLogger(__name__)

_JOINING = "joining"
_TRACES = "caught/", "pull/", "push/", "read/"
"""Positions that are kept of peers."""


class Standing:
    """See the module. `read` times are kept with the store, by its incarnation; `risen()` is told when it is behind no
    longer."""

    def __init__(self, store: Store, lane: Lane, now: Clock, tombstone_days: int, risen: Callable[[], None]) -> None:
        self._store = store
        self._lane = lane
        self._now = now
        self._risen = risen
        self._retention = tombstone_days * DAY_NS
        self._read_at = 0
        self._joining = False
        self.aside = 0

    async def open(self) -> None:
        """Find out when this store last read a peer's feed to its end."""
        self._read_at = await self._store.progress(self._name())

    async def join(self) -> None:
        """There are peers: find out whether there ever were. What says that there were none is kept until a feed was
        read to its end, for by then there are other traces of them."""
        self._joining = bool(await self._store.progress(_JOINING))
        if not self._joining and not [name for each in _TRACES for name in await self._store.positions(each)]:
            self._joining = True
            await self._lane.write([advance({_JOINING: 1})])

    def behind(self, met: Callable[[], Sequence[Envelope | None]]) -> bool:
        """Whether this store is behind. `met()` are the peers that were ever met, each as it last spoke: None for one
        that has not answered since the start."""
        if self._now() - self._read_at < self._retention:
            return False
        known = met()
        return not known or not all(peer is not None and peer.behind for peer in known)

    async def finished(self, peer: Peer, floor: int) -> None:
        """The feed of a peer was read to its end.

        Raises:
            AimemError: the peer does not answer any more, or the store takes no writes.
        """
        now = self._now()
        was_behind = now - self._read_at >= self._retention
        identity = peer.identity
        if identity is None or identity.behind:
            return
        if was_behind and self._store.floor < floor <= now - self._retention:
            await self._take_over(peer, floor)
        if self._joining:
            await self._lane.write([advance({_JOINING: -1})])
            self._joining = False
        if was_behind or now - self._read_at > DAY_NS // 24:  # an hour is exact enough for a bound of days
            await self._lane.write([advance({self._name(): now})])
            self._read_at = now
        if was_behind:
            self._risen()

    async def _take_over(self, peer: Peer, floor: int) -> None:
        """Set own rows aside that this peer, which has swept up to `floor`, does not hold, or write them anew; then
        have its floor."""
        after, end = 0, self._store.head
        while after < end:
            page = await self._store.changes(after, MESH_PAGE_HEADS, MESH_PAGE_HEADS * 1_000)
            old = [record for _, record in page.changes if counts(record) and record.version.time <= floor]
            for ref in await self._not_held(peer, old):
                if self._joining:
                    await self._lane.write([write_anew(ref, floor)])
                else:
                    (outcome,) = await self._lane.write([set_aside(ref, peer.node or peer.url, floor)])
                    self.aside += bool(getattr(outcome, "reply", False))
            after = page.cursor.seq
            if not page.more:
                break
        await self._store.raise_floor(floor)
        if self.aside:
            log.warning("%d rows were set aside: their tombstones may have been swept; aimem quarantine", self.aside)

    async def _not_held(self, peer: Peer, records: Sequence[Record]) -> list[Ref]:
        if not records:
            return []
        refs = [record.ref for record in records]
        reply = await peer.call(HELD, {"refs": [list(ref) for ref in refs]}, lane="pull")
        held = list_of(reply, "held", len(refs))
        return [ref for ref, there in zip(refs, held, strict=True) if there is False]

    def _name(self) -> str:
        return f"caught/{self._store.incarnation}"
