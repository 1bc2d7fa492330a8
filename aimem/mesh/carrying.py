"""What a narrowed peer may carry: records of the namespaces that its line of the allowlist names, and no others.

A receiver checks only this of a member's record. A record has the namespace of its memory where it has none of its own;
one that has none at all (an agent, a vote) does not travel to or from a narrowed peer. A pair so narrowed is compared
by no digest: it holds the same over the part that both may carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aimem.core.kinds import MEMORY
from aimem.core.reach import memories_of, namespace_of
from aimem.core.record import Record, Ref
from aimem.store.base import Store

Carries = Callable[[str], bool]
"""Whether a namespace is among those that a peer may carry."""


async def carried(store: Store, records: Sequence[Record], carries: Carries | None) -> list[bool]:
    """Of each record whether the peer may carry it. None: it may carry all."""
    if carries is None:
        return [True] * len(records)
    arriving = {record.key: record for record in records if record.kind == MEMORY}
    sources = {ref: None for record in records if (ref := _source(record)) is not None and ref.key not in arriving}
    found = dict(zip(sources, await store.get(list(sources)), strict=True))
    allowed = []
    for record in records:
        ref = _source(record)
        owner = record if ref is None else arriving.get(ref.key) or found.get(ref)
        namespace = namespace_of(owner) if owner is not None else None
        allowed.append(namespace is not None and carries(namespace))
    return allowed


def _source(record: Record) -> Ref | None:
    """The memory whose namespace counts for a record that has none of its own."""
    return next(iter(memories_of(record)), None)
