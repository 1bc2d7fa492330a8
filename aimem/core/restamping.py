"""Records of a clock that ran ahead, brought back into time: rewritten with versions that others can take.

A store whose clock was far ahead holds versions that no peer accepts, and would give out ever higher ones. Once its
clock is right, what is above a limit is written anew here, and the old versions are dropped: nobody else holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aimem.core.kinds import EMBEDDING, SUPERSEDED, TOUCH, VECTOR, kind_of
from aimem.core.record import Record
from aimem.core.version import Version


def too_far(record: Record, limit: int) -> bool:
    """Whether a record, or its birth, lies above `limit` (ns)."""
    return max(record.version.time, record.born.time) > limit


def in_order(records: Iterable[Record]) -> list[Record]:
    """Records in the order in which they are written anew: vectors of another program last, for one that were born
    before its memory would count as that of an earlier one."""
    return sorted(records, key=lambda record: record.kind == EMBEDDING)


def restamped(record: Record, limit: int, version: Callable[[], Version]) -> Record | None:
    """The record with a new version; None for our own vectors, which are made again, for touches, which count for a
    birth that may be another now, and for what has a short life anyway.

    A copy of a superseded write keeps its place beside its memory: its key names the new version.
    """
    if record.kind in (VECTOR, TOUCH) or kind_of(record.kind).life_of(record.deleted) is not None:
        return None
    new = version()
    born = new if record.born.time > limit else record.born
    key = record.key
    if record.kind == SUPERSEDED and not record.deleted:  # the tombstone of one stays where the copy was
        key = f"{record.key.rpartition('/')[0]}/{new}"
    return Record(record.kind, key, new, born, record.raw, deleted=record.deleted, extra=record.extra)
