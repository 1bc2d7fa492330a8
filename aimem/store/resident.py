"""The records of resident kinds, kept in memory, and what of them has a say in a namespace: every write asks for that.

Any thread may read here while one takes in what it has committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from aimem.core.kinds import POLICY, STANDARD
from aimem.core.policy import Standing, standing_in, standing_over
from aimem.core.record import Record, Ref
from aimem.limits import CHAINS_MAX


class _Kept(NamedTuple):
    """What was found: chains by namespace, and their links, which namespaces below the same ones share."""

    chains: dict[str, Sequence[Standing]]
    links: dict[str, Standing]


class Resident:
    """Starts with what the store holds; `take` follows it."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = {record.ref: record for record in records}
        self._standing = standing_in(self.get)
        self._kept = _Kept({}, {})

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def get(self, ref: Ref) -> Record | None:
        """The record under an address, tombstones included."""
        return self._records.get(ref)

    def chain(self, namespace: str) -> Sequence[Standing]:
        """All that has a say in a namespace: see `policy.chain_of`. Kept until a rule changes."""
        kept = self._kept  # taken first: `take` leaves it behind, so nothing old is kept in its successor
        found = kept.chains.get(namespace)
        if found is None:
            if len(kept.chains) >= CHAINS_MAX:
                kept = self._kept = _Kept({}, {})
            found = kept.chains[namespace] = standing_over(namespace, lambda name: self._link(kept.links, name))
        return found

    def _link(self, links: dict[str, Standing], name: str) -> Standing:
        found = links.get(name)
        if found is None:
            found = links[name] = self._standing(name)
        return found

    def take(self, records: Iterable[Record]) -> None:
        """Take in what was committed."""
        taken = {record.ref: record for record in records}
        self._records.update(taken)
        if any(ref.kind in (STANDARD, POLICY) for ref in taken):
            self._kept = _Kept({}, {})

    def clear(self) -> None:
        """Forget everything."""
        self._records.clear()
        self._kept = _Kept({}, {})
