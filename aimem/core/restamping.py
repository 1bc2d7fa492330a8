"""Records of a clock that ran ahead, brought back into time: rewritten with versions that others can take.

A store whose clock was far ahead holds versions that no peer accepts, and would give out ever higher ones. Once its
clock is right, what is above a limit is written anew here, and the old versions are dropped: nobody else holds them.
"""

from __future__ import annotations

from collections.abc import Callable

from aimem.core.kinds import SUPERSEDED, kind_of
from aimem.core.record import Record
from aimem.core.version import Version


def too_far(record: Record, limit: int) -> bool:
    """Whether a record, or its birth, lies above `limit` (ns)."""
    return max(record.version.time, record.born.time) > limit


def restamped(record: Record, limit: int, version: Callable[[], Version]) -> Record | None:
    """The record with a new version; None for what is made again from others, or has a short life anyway.

    A copy of a superseded write keeps its place beside its memory: its key names the new version.
    """
    kind = kind_of(record.kind)
    if kind.life_ns is not None or (kind.derived and record.kind != SUPERSEDED):
        return None
    new = version()
    born = new if record.born.time > limit else record.born
    key = record.key
    if record.kind == SUPERSEDED and not record.deleted:  # the tombstone of one stays where the copy was
        key = f"{record.key.rpartition('/')[0]}/{new}"
    return Record(record.kind, key, new, born, record.raw, deleted=record.deleted, extra=record.extra)
