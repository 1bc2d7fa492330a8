"""Does a store hold everything that its sources hold? Compared record by record, and counted by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aimem.core.kinds import QUARANTINE, TOUCH, VECTOR, compound_key
from aimem.core.legacy.taking import is_taken, standing
from aimem.core.legacy.values import Horizon
from aimem.core.record import Record, Ref
from aimem.core.taking import outlived
from aimem.limits import MIGRATE_NOTES_MAX
from aimem.store.base import Store
from aimem.store.migrate.mapping import Mapping
from aimem.store.migrate.report import Report
from aimem.store.migrate.running import FIRST_TIME, batches
from aimem.store.migrate.tables import Source as OldSource
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

    def lacks(self, record: Record) -> None:
        """Count a record that is not here."""
        self.missing += 1
        if len(self.keys) < MIGRATE_NOTES_MAX:
            self.keys.append(record.key)


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


async def verify_old(sources: Sequence[OldSource], store: Store, now: int) -> list[Compared]:
    """As `verify`, of databases of the existing system: what their rows become together is looked for, and counted for
    the database whose row stands. Reads all of them once more."""
    horizon = Horizon(now, await store.progress(FIRST_TIME) or now)
    found: dict[tuple[str, str], Compared] = {}
    async for batch in batches(Mapping(sources, horizon, Report()).groups()):
        items = [(item.source, item.record, group) for group in batch for item in group]
        held = await store.get([record.ref for _, record, _ in items])
        for (name, record, group), here in zip(items, held, strict=True):
            label = label_of(record)
            count = found.setdefault((name, label), Compared(name, label))
            wanted = standing(record, [each.record for each in group if each.record.kind == TOUCH])
            if here is not None and is_taken(wanted, here):
                count.equal += 1
            elif here is not None and here.order > record.order:
                count.newer += 1
            else:
                count.lacks(record)
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
            count.lacks(record)


async def _is_aside(source: Source, store: Store, record: Record) -> bool:
    (kept,) = await store.get([Ref(QUARANTINE, compound_key(source.incarnation, *record.ref))])
    return kept is not None and not kept.deleted
