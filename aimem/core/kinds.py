"""The kinds of records and how each is treated. A kind that is not listed is treated as `UNKNOWN`: kept and carried.

Adding a kind adds a line here and the code that gives it meaning; storing, feeding, digesting and carrying it need
none.
"""

from __future__ import annotations

from typing import NamedTuple

MEMORY = "memory"
VECTOR = "vector"
TOUCH = "touch"
SUPERSEDED = "superseded"
LINK = "link"
IDEMPOTENCY = "idempotency"

DAY_NS = 86_400 * 10**9


class Kind(NamedTuple):
    """`digested`: part of the state digest. `life_ns`: dropped by age without a tombstone, or None. `derived`: made
    from another record, whose key `source_key` gives."""

    digested: bool = True
    life_ns: int | None = None
    derived: bool = False


UNKNOWN = Kind()

KINDS: dict[str, Kind] = {
    MEMORY: Kind(),
    LINK: Kind(),
    VECTOR: Kind(derived=True),
    SUPERSEDED: Kind(derived=True),
    TOUCH: Kind(digested=False, derived=True),
    IDEMPOTENCY: Kind(digested=False, life_ns=DAY_NS),
}


def kind_of(name: str) -> Kind:
    """How records of this kind are treated."""
    return KINDS.get(name, UNKNOWN)


def source_key(kind: str, key: str) -> str:
    """The id of the memory that a derived record was made from. Keys are `ID` or `ID/SUFFIX` without a slash in it."""
    return key if kind == VECTOR else key.rpartition("/")[0]
