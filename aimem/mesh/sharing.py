"""Peers that speak for the very store that this node has open: how they are told from others, and how they acknowledge.

What is committed here is in their store already. So such a peer is told the address and version of a write and not its
body, and acknowledges when it reads the committed write there itself. It need not be asked before a write, is not
caught up with, and no tombstone waits for it: it holds what this node holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from aimem.core.quorum import UNREACHABLE, Applied, Failed, Outcome
from aimem.core.record import Record, Ref, is_text
from aimem.core.taking import APPLIED, CLOCK_SKEW, REFUSED
from aimem.core.version import Version, parse_version
from aimem.errors import AimemError, Conflict, Invalid
from aimem.limits import MESH_BATCH_RECORDS
from aimem.mesh.item import Item
from aimem.mesh.messages import HELLO, WITNESS, Envelope, list_of
from aimem.mesh.peer import Peer, reason_of
from aimem.store.base import Store

log = logging.getLogger(__name__)


async def has_open(store: Store, other: Envelope) -> bool:
    """Whether another process has this store open: it says its incarnation, and its start is recorded here. One whose
    start is not has a copy of it; then this store takes a new incarnation, so that nobody takes one for the other.

    Raises:
        AimemError: the store can't be read, or takes no writes.
    """
    if not store.shared or other.incarnation != store.incarnation:
        return False
    if any(start == other.start for start, _ in await store.starts()):
        return True
    log.error("%s speaks for a copy of this store: this one goes on under a new incarnation", other.node)
    await store.renew_incarnation()
    return False


async def shares(store: Store, peer: Peer) -> bool:
    """Whether a peer that has answered speaks for this store. Both sides must find it so.

    Raises:
        AimemError: it does not answer any more, or the store can't be read.
    """
    found = peer.identity
    if found is None or found.start == store.start or not await has_open(store, found):
        return False
    reply = await peer.call(HELLO, {}, lane="pull")
    return reply.get("shares") is True and peer.identity is not None and peer.identity.start == found.start


async def witnessed(store: Store, message: dict[str, Any], sender: Envelope, latest: int) -> list[str]:
    """Of the writes that a node on the same store tells of: `applied` where one, or a newer one, is read in it here,
    else why that is no acknowledgement. Versions above `latest` (ns) come from a clock that is off, and must not win.

    Raises:
        Conflict: the sender does not speak for this store.
        AimemError: it is no such message, or the store can't be read.
    """
    heads = [_head(each) for each in list_of(message, "heads", MESH_BATCH_RECORDS)]
    if not await has_open(store, sender):
        raise Conflict(f"{sender.node} does not speak for the store of this node")
    await store.hear()
    held = await store.get([ref for ref, _ in heads])
    return [_verdict(version, record, latest) for (_, version), record in zip(heads, held, strict=True)]


def _verdict(version: Version, record: Record | None, latest: int) -> str:
    if version.time > latest:
        return CLOCK_SKEW
    return APPLIED if record is not None and record.version >= version else REFUSED


def _head(value: object) -> tuple[Ref, Version]:
    match value:
        case [str(kind), str(key), str(version)] if is_text(kind + key):
            return Ref(kind, key), parse_version(version)
    raise Invalid("not a message of the mesh: a head that is none")


class Witness:
    """The lane to one peer on the same store: one message under way, and what is written meanwhile goes in the next.
    `timeout` (s) is that of a message."""

    def __init__(self, peer: Peer, timeout: float) -> None:
        self._peer = peer
        self._timeout = timeout
        self._waiting: deque[Item] = deque()
        self._task: asyncio.Task[None] | None = None

    def tell(self, items: Iterable[Item]) -> None:
        """Tell of committed records. The items hear what the peer says."""
        if not self._peer.up:
            for item in items:
                item.heard(self._peer.url, Failed(UNREACHABLE))
            return
        self._waiting.extend(items)
        if self._waiting and self._task is None:
            self._task = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """End the message under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MESH_BATCH_RECORDS))]
                for item, outcome in zip(batch, await self._outcomes(batch), strict=True):
                    item.heard(self._peer.url, outcome)
        finally:
            self._task = None

    async def _outcomes(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        heads = [[*item.record.ref, str(item.record.version)] for item in batch]
        try:
            reply = await self._peer.call(WITNESS, {"heads": heads}, lane="push", timeout=self._timeout)
            told = list_of(reply, "seen", len(batch))
        except AimemError as error:
            return [Failed(reason_of(error))] * len(batch)
        peer = self._peer.identity
        assert peer is not None
        if len(told) != len(batch):
            return [Failed(REFUSED)] * len(batch)
        applied = Applied(peer.node, peer.rack, peer.incarnation)
        return [applied if each == APPLIED else Failed(each if each == CLOCK_SKEW else REFUSED) for each in told]
