"""What a store in memory holds: plain dicts, and what the records in them say by the rules of `core` and nothing else.

There is no column, index or count that could say something different.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from aimem.core.archiving import archived_at
from aimem.core.automatic import effect_of, is_archived, use_of
from aimem.core.digest import Digest
from aimem.core.kinds import EMBEDDING, LINK, MEMORY, SUPERSEDED, TOUCH, VECTOR, source_key
from aimem.core.pairs import Pair, by_age, pair_of
from aimem.core.record import Record, Ref


class Row(NamedTuple):
    """A record as it stands: its number, the `seq` of its last change, and when it was stored (ns)."""

    row: int
    seq: int
    stored: int
    record: Record


@dataclass
class State:
    """Everything that a store holds. `claims` are the ids of the live records of each pair, whoever holds it."""

    incarnation: str
    starts: list[tuple[str, int]] = field(default_factory=list)
    rows: dict[Ref, Row] = field(default_factory=dict)
    claims: dict[Pair, frozenset[str]] = field(default_factory=dict)
    progress: dict[str, int] = field(default_factory=dict)
    digest: Digest = field(default_factory=Digest)
    head: int = 0
    last_row: int = 0
    clock: int = 0
    floor: int = 0

    def copy(self) -> State:
        """A state that can be changed without changing this one."""
        return replace(
            self,
            starts=list(self.starts),
            rows=dict(self.rows),
            claims=dict(self.claims),
            progress=dict(self.progress),
            digest=Digest(self.digest.sums),
        )

    def memory(self, memory_id: str) -> Record | None:
        """The memory record under an id, tombstones included."""
        row = self.rows.get(Ref(MEMORY, memory_id))
        return row.record if row else None

    def claimants(self, pair: Pair) -> list[Record]:
        """The live records of a pair, newest first: the first holds it."""
        return by_age(self.rows[Ref(MEMORY, key)].record for key in self.claims.get(pair, ()))

    def holder(self, pair: Pair | None) -> Record | None:
        """The memory that is visible under a pair."""
        ranked = self.claimants(pair) if pair else []
        return ranked[0] if ranked else None

    def shows(self, record: Record) -> bool:
        """True for a memory that reads may show."""
        return record.kind == MEMORY and (holder := self.holder(pair_of(record))) is not None and holder == record

    def shown(self) -> list[Row]:
        """The rows of all visible memories, expired ones included."""
        return [row for row in self.rows.values() if self.shows(row.record)]

    def touches(self, memory_id: str) -> list[Record]:
        """The touch records of a memory."""
        return [row.record for ref, row in self.rows.items() if ref.kind == TOUCH and source_key(*ref) == memory_id]

    def vectors(self, memory_id: str) -> list[Record]:
        """The vectors of a memory, and those that other programs made of it."""
        kinds = (VECTOR, EMBEDDING)
        return [row.record for ref, row in self.rows.items() if ref.kind in kinds and source_key(*ref) == memory_id]

    def links(self, ids: set[str]) -> list[Record]:
        """The live links from or to any of these memories."""
        records = (row.record for ref, row in self.rows.items() if ref.kind == LINK)
        found = [
            each for each in records if not each.deleted and {each.body["source_id"], each.body["target_id"]} & ids
        ]
        return sorted(found, key=lambda link: (link.body["created_at"], link.key))

    def archive(self, namespace: str | None) -> list[Record]:
        """What the archive holds, the latest first."""
        records = (row.record for row in self.rows.values() if not row.record.deleted)
        kept = (each for each in records if each.kind == SUPERSEDED or (each.kind == MEMORY and is_archived(each)))
        found = [each for each in kept if namespace is None or each.body["namespace"] == namespace]
        return sorted(found, key=lambda record: (-archived_at(record), record.key))

    def expires(self, record: Record) -> int:
        """When a memory ends, extensions considered; NEVER for no end."""
        return max(effect_of(record).expires, use_of(record, self.touches(record.key)).expires)

    def check(self) -> list[str]:
        """What is wrong, in words; empty when all is well."""
        records = [row.record for row in self.rows.values()]
        claims: dict[Pair, set[str]] = {}
        for record in records:
            if record.kind == MEMORY and (pair := pair_of(record)):
                claims.setdefault(pair, set()).add(record.key)
        wrong = [] if self.digest == Digest.of(records) else ["digest: it is not that of the records"]
        if {pair: set(keys) for pair, keys in self.claims.items() if keys} != claims:
            wrong.append("pairs: they are not those of the records")
        if any(row.seq > self.head for row in self.rows.values()):
            wrong.append(f"feed: a record has a seq past the head {self.head}")
        return wrong
