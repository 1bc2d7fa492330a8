"""Taking in the feed of a source, page by page, by the merge of the mesh: of two records the higher version stands.

How far the feed was read is kept in the target, in a write that comes after the records were durable there, so a move
that was broken off goes on where it was. What a source holds of records that another one has deleted and swept since is
kept aside, as in the mesh: no move brings back what was deleted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple

from aimem.core.automatic import is_archived
from aimem.core.feed import Cursor
from aimem.core.intent import Intent
from aimem.core.kinds import (
    ACCEPTOR,
    ARRIVED,
    EMBEDDING,
    MEMORY,
    MOVED,
    SUPERSEDED,
    TOUCH,
    VECTOR,
    kind_of,
    source_key,
)
from aimem.core.record import Record, Ref
from aimem.core.taking import RESEED, UNUSABLE, outlived, quarantine
from aimem.core.upkeep import advance, receive
from aimem.errors import AimemError, Busy, DiskFull, StorageFailed
from aimem.limits import MIGRATE_BATCHES_IN_FLIGHT
from aimem.store.base import Store, Written
from aimem.store.migrate.mapping import LABELS
from aimem.store.migrate.report import Report
from aimem.store.migrate.running import FIRST_TIME, write
from aimem.store.moving.source import Page, Source

STAYS = frozenset({ACCEPTOR, MOVED, ARRIVED})
"""Kinds that mean their own store, and are of no use in another."""
_LABELS = {**LABELS, TOUCH: "accesses", SUPERSEDED: "superseded", EMBEDDING: "embeddings", VECTOR: "vectors"}
BEGUN = "moved.begun"  # named position: when the first move into this store began, ns
_READ = "moved/"  # named positions: how far the feed of which source was read
_FLOOR = "moved-floor/"  # ... the floor of the target that binds what comes from it

Shown = Callable[[int], None]
"""Told how many more records have been read."""
Holds = Callable[[Sequence[Ref]], Awaitable[list[Record | None]]]


class Bound(NamedTuple):
    """What binds the records of a source: those at or below `floor` (ns) that are not among what `holds` gives may have
    been deleted there, and the tombstone swept."""

    floor: int
    holds: Holds

    async def unknown(self, records: Sequence[Record], refs: Sequence[Ref]) -> list[Record]:
        """Those of the records whose address, of `refs`, is not held."""
        held = await self.holds(refs) if refs else []
        return [record for record, found in zip(records, held, strict=True) if found is None]


def label_of(record: Record) -> str:
    """What a report counts a record as."""
    if record.deleted:
        return "tombstones"
    if record.kind == MEMORY:
        return "archived" if is_archived(record) else "memories"
    return _LABELS.get(record.kind, record.kind)


async def begun(store: Store) -> bool:
    """Whether this store is empty, or has been filled by a move before."""
    return store.head == 0 or bool(await store.progress(BEGUN)) or bool(await store.progress(FIRST_TIME))


async def bounds_of(source: Source, others: Sequence[Source], store: Store | None) -> list[Bound]:
    """What binds the records of one source: other sources, and the target as it was before it got any."""
    found = [Bound(await _floor_for(source, other, other.floor), other.get) for other in others]
    if store is not None:
        name = f"{_FLOOR}{source.incarnation}"
        kept = await store.positions(name)
        floor = kept[name] if name in kept else await _floor_for(source, store, store.floor)
        if name not in kept:
            await store.write([advance({name: floor})])
        found.append(Bound(floor, store.get))
    return [bound for bound in found if bound.floor]


async def _floor_for(source: Source, judge: Source | Store, floor: int) -> int:
    """As `mesh.readers` says of one that sends: no floor binds what has read the other's feed without a gap."""
    if not floor or f"read/{source.incarnation}" not in await judge.positions(f"read/{source.incarnation}"):
        return floor
    return (await judge.positions("missed/")).get(f"missed/{source.incarnation}", 0)


class Copy:
    """One source on its way into `store`; without one, everything is read and only counted."""

    def __init__(
        self,
        source: Source,
        store: Store | None,
        report: Report,
        *,
        now: int,
        bounds: Sequence[Bound] = (),
        shown: Shown = lambda count: None,
    ) -> None:
        self._source = source
        self._store = store
        self._report = report
        self._now = now
        self._bounds = bounds
        self._shown = shown
        self._running: deque[tuple[asyncio.Task[None], Cursor]] = deque()
        self._kept: Cursor | None = None  # as the target has it
        self._done: Cursor | None = None  # what is durable there

    async def run(self) -> None:
        """Read the feed from where the last one came to, up to its end.

        Raises:
            DiskFull, StorageFailed, Busy: the target can't be written; what was taken in until then stays.
            AimemError: the source can't be read.
        """
        after = await self._resume()
        try:
            while True:
                page = await self._source.page(after)
                after = page.cursor.seq
                await self._take_up(page)
                self._shown(len(page.records))
                if not page.more:
                    break
            while self._running:
                await self._finish_one()
            await self._keep()
        finally:
            await asyncio.gather(*(task for task, _ in self._running), return_exceptions=True)

    async def _resume(self) -> int:
        if self._store is None:
            return 0
        found = []
        for name, seq in (await self._store.positions(f"{_READ}{self._source.incarnation}/")).items():
            incarnation, start = name.split("/")[1:]
            found.append(Cursor(incarnation, start, seq))
        self._kept = self._done = max(found, key=lambda cursor: cursor.seq, default=None)
        return 0 if self._kept is None else await self._source.resolve(self._kept)

    async def _take_up(self, page: Page) -> None:
        records = [record for record in page.records if self._wanted(record)]
        if self._store is None:
            self._count(records, [True] * len(records))
            return
        barred = await self._barred(records)
        ahead = await self._memories_of(records, barred)
        await self._keep()
        self._running.append((asyncio.create_task(self._take(self._store, ahead, records, barred)), page.cursor))
        await asyncio.sleep(0)  # hands the page to the writer; the next one is read meanwhile
        if len(self._running) >= MIGRATE_BATCHES_IN_FLIGHT:
            await self._finish_one()

    def _wanted(self, record: Record) -> bool:
        return record.kind not in STAYS and not outlived(record, self._now)

    async def _finish_one(self) -> None:
        task, cursor = self._running[0]
        await task
        self._running.popleft()
        self._done = cursor

    async def _keep(self) -> None:
        """Note how far the feed was read, behind what is durable by now."""
        if self._store is None or self._done is None or self._done == self._kept:
            return
        forgotten = {} if self._kept is None else {_name(self._kept): -1}
        await self._store.write([advance({**forgotten, _name(self._done): self._done.seq})])
        self._kept = self._done

    async def _barred(self, records: Sequence[Record]) -> set[Ref]:
        """What may have been deleted elsewhere."""
        barred: set[Ref] = set()
        for bound in self._bounds:
            old = [each for each in records if not each.deleted and each.version.time <= bound.floor]
            unknown = await bound.unknown(old, [each.ref for each in old])
            made_of = [Ref(MEMORY, source_key(*each.ref)) for each in unknown if kind_of(each.kind).derived]
            alone = [each for each in unknown if not kind_of(each.kind).derived]
            derived = [each for each in unknown if kind_of(each.kind).derived]
            barred |= {each.ref for each in [*alone, *await bound.unknown(derived, made_of)]}
        return barred

    async def _memories_of(self, records: Sequence[Record], barred: Collection[Ref]) -> list[Record]:
        """The memories that must be there before their vectors are taken: those that were written again since. Not
        those of vectors that are barred: they may have been deleted elsewhere too."""
        assert self._store is not None
        before, refs = set[str](), list[Ref]()
        for each in records:
            if each.kind == MEMORY:
                before.add(each.key)
            elif each.kind == VECTOR and not each.deleted and each.key not in before and each.ref not in barred:
                refs.append(Ref(MEMORY, each.key))
        if not refs:
            return []
        held = await self._store.get(refs)
        missing = [ref for ref, found in zip(refs, held, strict=True) if found is None]
        return [each for each in await self._source.get(missing) if each is not None] if missing else []

    async def _take(self, store: Store, ahead: list[Record], records: list[Record], barred: set[Ref]) -> None:
        intents: list[Intent] = [receive(each) for each in ahead]
        intents += [self._aside(each, RESEED) if each.ref in barred else receive(each) for each in records]
        outcomes = (await write(store, intents))[len(ahead) :]
        written: list[bool | None] = []
        refused: list[Intent] = []
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, DiskFull | StorageFailed | Busy):
                raise outcome
            if isinstance(outcome, AimemError):
                refused.append(self._aside(record, f"{UNUSABLE}: {outcome.message}"))
                self._report.lost(self._source.name, label_of(record), f"{record.key}: {outcome.message}")
            elif record.ref in barred:
                what = f"{record.key}: may have been deleted elsewhere since: see aimem quarantine"
                self._report.left(self._source.name, label_of(record), what)
            kept = isinstance(outcome, Written) and record.ref not in barred
            written.append(bool(getattr(outcome, "reply", False)) if kept else None)
        if refused:
            await write(store, refused)
        self._count(records, written)

    def _aside(self, record: Record, reason: str) -> Intent:
        return quarantine(record, self._source.incarnation, reason)

    def _count(self, records: Sequence[Record], written: Sequence[bool | None]) -> None:
        for record, taken in zip(records, written, strict=True):
            count = self._report.count(label_of(record))
            count.read += 1
            if taken:
                count.written += 1
            elif taken is None:
                count.not_taken += 1
            else:
                count.present += 1


def _name(cursor: Cursor) -> str:
    return f"{_READ}{cursor.incarnation}/{cursor.start}"
