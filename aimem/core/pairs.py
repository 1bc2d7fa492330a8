"""Ids and pairs: which record holds a (namespace, title).

A new id derives from the pair, so two nodes that create the same pair make the same record. While that id is held by a
record that now has another pair, or is archived, the next id derives from the pair and that record's time and origin,
until one is free or a tombstone. Only records whose id is not the plain derived one need an index on the pair. Where
several live records have one pair, the newest holds it and the others are hidden; this is computed from the records
held, so the order in which they arrived can't matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from aimem.core.automatic import is_archived
from aimem.core.record import Record
from aimem.core.version import Version


class Pair(NamedTuple):
    """What a memory is called: unique among the visible ones."""

    namespace: str
    title: str


class PairState(NamedTuple):
    """Who has a pair: the `holder`, the `hidden` behind it (newest first), and where a new memory of it would go:
    `free_id`, with the tombstone there, if any (of no meaning while somebody holds it)."""

    holder: Record | None
    hidden: tuple[Record, ...]
    free_id: str
    tombstone: Record | None


def _derive(*parts: str) -> str:
    text = hashlib.sha256("\0".join(("aimem id", *parts)).encode()).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    # Version 8: an id of one's own making (RFC 9562, section 5.8).
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def plain_id(pair: Pair) -> str:
    """The id that a pair derives when nothing stands in its way."""
    return _derive(*pair)


def next_id(pair: Pair, blocked_by: Version) -> str:
    """The id after one that a record of another pair, or an archived one, holds."""
    return _derive(*pair, str(blocked_by.base()))


def pair_of(record: Record) -> Pair | None:
    """The pair that a memory record lays claim to: None when it is deleted or archived."""
    if record.deleted or is_archived(record):
        return None
    return Pair(record.body["namespace"], record.body["title"])


def by_age(records: Iterable[Record]) -> list[Record]:
    """Newest first: the first of the live records of one pair holds it."""
    return sorted(records, key=lambda record: (record.order, record.key), reverse=True)


def resolve(pair: Pair, lookup: Callable[[str], Record | None], others: Iterable[Record]) -> PairState:
    """Who has `pair`: from point lookups by id, and from `others`, its live records whose id is not the plain one."""
    claims = {record.key: record for record in others}
    free, tombstone = plain_id(pair), None
    while (found := lookup(free)) is not None:
        if found.deleted:
            tombstone = found
            break
        if pair_of(found) == pair:
            claims[found.key] = found
            break  # the pair is held, so no id need be free; whatever derived from this one is among the others
        free = next_id(pair, found.version)
    ranked = by_age(claims.values())
    return PairState(ranked[0] if ranked else None, tuple(ranked[1:]), free, tombstone)
