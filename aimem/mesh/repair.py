"""The safety net under catching up: two nodes that stay different though neither changes are compared key by key.

Under load two nodes are never equal at one instant, so a difference counts as drift only when the same key differs with
the same two versions in two comparisons, at least one catch-up apart. Then each gets what the other has newer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aimem.core.digest import bucket_of, counts
from aimem.core.record import Record, Ref
from aimem.core.taking import Taken
from aimem.core.version import Version
from aimem.errors import Invalid
from aimem.limits import MESH_BATCH_RECORDS, MESH_BUCKETS_COMPARED
from aimem.mesh.messages import DIGEST, FETCH, HEADS, RECORDS, Envelope, list_of, record_bytes, records_of
from aimem.mesh.peer import Peer
from aimem.store.base import Store

log = logging.getLogger(__name__)

Head = tuple[str, str]
"""Version and the beginning of the content hash, as texts."""
Difference = tuple[Head | None, Head | None]
"""What stands here and at the peer."""

TakeIn = Callable[[Sequence[Record | str], Envelope, dict[str, int] | None], Awaitable[Sequence[Taken]]]
HASH_HEX = 16  # of a content hash: enough to tell two records of one version apart


async def heads_of(store: Store, buckets: Iterable[int]) -> dict[Ref, Head]:
    """The heads of all live records in these buckets of the digest. Reads the whole store."""
    wanted, found, after = set(buckets), dict[Ref, Head](), 0
    while True:
        page = await store.changes(after, MESH_BATCH_RECORDS, 1 << 22)
        for _, record in page.changes:
            if counts(record) and bucket_of(record.kind, record.key) in wanted:
                found[record.ref] = head_of(record)
        after = page.cursor.seq
        if not page.more:
            return found


def head_of(record: Record) -> Head:
    """The head of a record."""
    return shown_of(record.version, record.hash)


def shown_of(version: Version, hash: bytes) -> Head:
    """The head of a record of this version and content hash."""
    return str(version), hash.hex()[:HASH_HEX]


class Repair:
    """Compares with one peer. `drifted` counts keys that were found to drift."""

    def __init__(self, peer: Peer, store: Store, take_in: TakeIn) -> None:
        self._peer = peer
        self._store = store
        self._take_in = take_in
        self._before: tuple[str, str] | None = None
        self._suspects: dict[Ref, Difference] = {}
        self.drifted = 0

    async def compare(self, theirs: str) -> None:
        """After a catch-up: `theirs` is the peer's digest. Looks closer when both are as they were, and differ.

        Raises:
            AimemError: the peer does not answer, or the store takes no writes.
        """
        now = (self._store.digest.root(), theirs)
        still, self._before = now == self._before, now
        if now[0] == theirs:
            self._suspects = {}
        elif still:
            await self._look()

    async def _look(self) -> None:
        buckets = await self._differing()
        if not buckets:
            return
        reply = await self._peer.call(HEADS, {"buckets": buckets}, lane="pull")
        theirs = _heads(reply, self._peer.url)
        ours = await heads_of(self._store, buckets)
        found: dict[Ref, Difference] = {
            ref: (ours.get(ref), theirs.get(ref)) for ref in {*ours, *theirs} if ours.get(ref) != theirs.get(ref)
        }
        drift = {ref: pair for ref, pair in found.items() if self._suspects.get(ref) == pair}
        self._suspects = found
        if drift:
            self.drifted += len(drift)
            log.error("%d records drifted from %s: repairing", len(drift), self._peer.url)
            await self._mend(drift)

    async def _differing(self) -> list[int]:
        reply = await self._peer.call(DIGEST, {}, lane="pull")
        theirs = list_of(reply, "buckets", len(self._store.digest.sums))
        ours = [f"{total:064x}" for total in self._store.digest.sums]
        return [index for index, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]][
            :MESH_BUCKETS_COMPARED
        ]

    async def _mend(self, drift: dict[Ref, Difference]) -> None:
        """Each side gets what the other has. Whichever is newer stands, a tombstone that only one holds too."""
        refs = list(drift)
        for at in range(0, len(refs), MESH_BATCH_RECORDS):
            batch = refs[at : at + MESH_BATCH_RECORDS]
            reply = await self._peer.call(FETCH, {"refs": [list(ref) for ref in batch]}, lane="pull")
            identity = self._peer.identity
            assert identity is not None
            await self._take_in(records_of(list_of(reply, "records", len(batch))), identity, None)
            ours = [record_bytes(each) for each in await self._store.get(batch) if each is not None]
            await self._peer.call(RECORDS, {}, lists={"records": ours}, lane="pull")


def _heads(reply: dict[str, Any], url: str) -> dict[Ref, Head]:
    found: dict[Ref, Head] = {}
    for head in list_of(reply, "heads", 1 << 24):
        match head:
            case [str(kind), str(key), str(version), str(content)]:
                found[Ref(kind, key)] = (version, content)
            case _:
                raise Invalid(f"{url} sent a head that is none")
    return found
