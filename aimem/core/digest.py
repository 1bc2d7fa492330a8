"""The state digest: equal digests mean equal live records.

Per bucket of keys, the sum modulo 2**256 of one SHA-256 per live record over kind, key, version and content hash (the
additive set hash of Bellare and Micciancio 1997, section 5). The order of changes can't matter, and one change costs
two additions. Buckets let two nodes find where they differ without comparing everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from aimem.core.kinds import kind_of
from aimem.core.record import Record

BUCKETS = 256
_MODULUS = 1 << 256
WIDTH = 32  # bytes of one bucket's sum


def bucket_of(kind: str, key: str) -> int:
    """The bucket of an address, 0 to 255."""
    return hashlib.sha256(f"{kind}\0{key}".encode()).digest()[0]


def entry(record: Record) -> int:
    """What one record adds to its bucket."""
    head = f"{record.kind}\0{record.key}\0{record.stamp}\0".encode()
    return int.from_bytes(hashlib.sha256(head + record.hash).digest(), "big")


def counts(record: Record) -> bool:
    """True when the digest covers the record."""
    return not record.deleted and kind_of(record.kind).digested


class Digest:
    """The sums of all buckets."""

    def __init__(self, sums: Iterable[int] = ()) -> None:
        self.sums = list(sums) or [0] * BUCKETS
        self._root: str | None = None

    @classmethod
    def of(cls, records: Iterable[Record]) -> Digest:
        """The digest of a whole state, computed anew."""
        made, deltas = cls(), dict[int, int]()
        for record in records:
            stage(deltas, None, record)
        made.apply(deltas)
        return made

    def apply(self, deltas: Mapping[int, int]) -> None:
        """Add what a committed group changed."""
        self._root = None
        for bucket, delta in deltas.items():
            self.sums[bucket] = (self.sums[bucket] + delta) % _MODULUS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and self.sums == other.sums

    __hash__ = None  # type: ignore[assignment]

    def root(self) -> str:
        """One text for the whole state: 64 hex digits. Kept until a change: every page of a feed carries it."""
        if self._root is None:
            self._root = hashlib.sha256(b"".join(total.to_bytes(WIDTH, "big") for total in self.sums)).hexdigest()
        return self._root


def stage(deltas: dict[int, int], old: Record | None, new: Record | None) -> None:
    """Note in `deltas` (bucket to signed sum) that `new` takes the place of `old`."""
    change = 0
    if old is not None and counts(old):
        change -= entry(old)
    if new is not None and counts(new):
        change += entry(new)
    if change:
        record = new or old
        assert record is not None
        bucket = bucket_of(record.kind, record.key)
        deltas[bucket] = deltas.get(bucket, 0) + change
