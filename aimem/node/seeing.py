"""What of records a caller sees: those of memories in its reach. Others are as if absent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from aimem.core.kinds import ALIAS, LINK, MEMORY, POLICY, STANDARD, SUPERSEDED, kind_of
from aimem.core.reach import Reach, memories_of, namespace_of
from aimem.core.record import Record
from aimem.limits import ARCHIVE_LIMIT_MAX
from aimem.store.base import Store


async def seen(store: Store, records: Sequence[Record], reach: Reach | None) -> list[Record]:
    """Those of the records that a caller sees. Of a link it must see both ends. A tombstone tells no more than that
    something is gone, and a policy or standard holds for whoever writes there: they go by the namespace alone. All
    else (agents, votes, what was parked, what is kept for this node itself) is not for a caller that is bound."""
    if reach is None:
        return list(records)
    refs = list({ref: None for record in records for ref in memories_of(record)})
    found = dict(zip(refs, await store.get(refs), strict=True))
    visible = {ref for ref, held in found.items() if held is not None and not held.deleted and reach.shows(held)}
    return [record for record in records if _is_seen(record, reach, visible.issuperset(memories_of(record)))]


def _is_seen(record: Record, reach: Reach, memories_seen: bool) -> bool:
    if record.kind in (LINK, ALIAS) or (kind_of(record.kind).derived and record.kind != SUPERSEDED):
        return memories_seen
    if record.kind in (MEMORY, SUPERSEDED) and not record.deleted:
        return reach.shows(record)
    namespace = namespace_of(record) if record.kind in (MEMORY, SUPERSEDED, POLICY, STANDARD) else None
    return namespace is not None and reach.covers(namespace)


async def archive_of(store: Store, namespace: str | None, reach: Reach) -> AsyncIterator[Record]:
    """What a caller sees of the archive, the latest first."""
    offset = 0
    while page := await store.archived(namespace, ARCHIVE_LIMIT_MAX, offset):
        for record in page:
            if reach.shows(record):
                yield record
        offset += len(page)


async def archive_page(store: Store, namespace: str | None, reach: Reach, limit: int, offset: int) -> list[Record]:
    """A page of what a caller sees of the archive."""
    found: list[Record] = []
    skipped = 0
    async for record in archive_of(store, namespace, reach):
        if skipped < offset:
            skipped += 1
        elif len(found) < limit:
            found.append(record)
        else:
            break
    return found
