"""Does what a store of tables derives from its records still say what they say? The walk over all rows, and its end."""

from __future__ import annotations

from aimem.core.digest import Digest, stage
from aimem.core.kinds import MEMORY
from aimem.core.pairs import Pair, by_age, pair_of
from aimem.core.record import Record
from aimem.store.transaction import Row

SHOWN_MAX = 20
"""Complaints of one sort; more say nothing new."""


class Walk:
    """Goes past every row once, in any order; then `wrong` and `faults` tell what it has found."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.shown: set[str] = set()
        """The ids of the visible memories."""
        self.last_row = 0
        self._head = 0
        self._deltas: dict[int, int] = {}
        self._claims: dict[Pair, list[Record]] = {}

    def past(self, row: Row) -> None:
        """See a row."""
        record = _anew(row.record)
        self._head, self.last_row = max(self._head, row.seq), max(self.last_row, row.row)
        stage(self._deltas, None, record)
        if record.hash != row.record.hash:
            self.wrong.append(f"hash: {record.ref} does not match its body")
        if record.kind == MEMORY and (pair := pair_of(record)) is not None:
            self._claims.setdefault(pair, []).append(record)
        if row.visible:
            self.shown.add(record.key)

    def faults(self, digest: Digest, head: int) -> list[str]:
        """What is wrong in words, given what the store says of its state."""
        counted = Digest()
        counted.apply(self._deltas)
        wrong = [*self.wrong]
        if counted != digest:
            wrong.append("digest: it is not that of the records")
        if self._head > head:
            wrong.append(f"feed: a record has seq {self._head}, past the head {head}")
        holders = {by_age(records)[0].key for records in self._claims.values()}
        return wrong + [
            f"pairs: {key} is {'hidden, but holds its pair' if key in holders else 'shown, but does not hold its pair'}"
            for key in sorted(holders ^ self.shown)[:SHOWN_MAX]
        ]


def _anew(record: Record) -> Record:
    """The record with its hash computed anew."""
    return Record(
        record.kind,
        record.key,
        record.version,
        record.born,
        record.raw,
        deleted=record.deleted,
        extra=record.extra,
    )
