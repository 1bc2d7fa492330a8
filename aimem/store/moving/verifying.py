"""Does a store hold everything that a source holds? Compared record by record, and counted by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aimem.core.kinds import QUARANTINE, VECTOR, compound_key
from aimem.core.record import Record, Ref
from aimem.core.taking import outlived
from aimem.limits import MIGRATE_NOTES_MAX
from aimem.store.base import Store
from aimem.store.moving.copying import STAYS, label_of
from aimem.store.moving.source import Source


@dataclass(slots=True)
class Compared:
    """Of one kind of one source: `equal` records are here as they are there; for `newer` ones a later version is here,
    from another source or written here; `aside` are kept in quarantine; `missing` are not here, and `keys` names them.
    """

    source: str
    kind: str
    equal: int = 0
    newer: int = 0
    aside: int = 0
    missing: int = 0
    keys: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


async def verify(source: Source, store: Store, now: int) -> list[Compared]:
    """Compare all records of a source with the store's. Reads the whole source; bounded memory."""
    found: dict[str, Compared] = {}
    after = 0
    while True:
        page = await source.page(after)
        records = [each for each in page.records if each.kind not in STAYS and not outlived(each, now)]
        await _compare(source, store, records, found)
        after = page.cursor.seq
        if not page.more:
            return list(found.values())


async def _compare(source: Source, store: Store, records: Sequence[Record], found: dict[str, Compared]) -> None:
    held = await store.get([record.ref for record in records])
    for record, here in zip(records, held, strict=True):
        label = label_of(record)
        count = found.setdefault(label, Compared(source.name, label))
        if here is not None and here == record:
            count.equal += 1
        elif here is not None and here.order > record.order:
            count.newer += 1
        elif await _is_aside(source, store, record):
            count.aside += 1
        elif record.kind == VECTOR:  # its memory has ended, or came back under another birth: it is made anew
            count.newer += 1
        else:
            count.missing += 1
            if len(count.keys) < MIGRATE_NOTES_MAX:
                count.keys.append(record.key)


async def _is_aside(source: Source, store: Store, record: Record) -> bool:
    (kept,) = await store.get([Ref(QUARANTINE, compound_key(source.incarnation, *record.ref))])
    return kept is not None and not kept.deleted
