"""A migration as a whole: sources in, records through the store's one write path, a report out.

What always holds: the target has whole records only, and a migration that was broken off at any instant is finished
by running it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from aimem.core.intent import Intent
from aimem.core.legacy.taking import take, take_new
from aimem.core.legacy.values import Horizon
from aimem.core.upkeep import advance
from aimem.limits import (
    MIGRATE_BATCH_BYTES,
    MIGRATE_BATCH_RECORDS,
    MIGRATE_BATCHES_IN_FLIGHT,
    MIGRATE_SHARED_INTENTS,
    MIGRATE_YIELD_GROUPS,
)
from aimem.store.base import Outcome, Store, Written
from aimem.store.migrate.mapping import Item, Mapping
from aimem.store.migrate.report import Report
from aimem.store.migrate.tables import Source

FIRST_TIME = "migrate.first"  # named position: when this store took in its first migrated row, ns

Shown = Callable[[int], None]


async def migrate(sources: Sequence[Source], store: Store | None, *, now: int, shown: Shown) -> Report:
    """Take all sources in; without a store, only count. `shown` is told how many rows have been read.

    Rows stamped after `now` (ns) get the time of the first migration into this store, so that another run changes
    nothing.

    Raises:
        DiskFull, StorageFailed: the target can't be written; what was taken in until then stays.
    """
    report = _begun(sources)
    first = now
    if store is not None and not (first := await store.progress(FIRST_TIME)):
        first = now
        await store.write([advance({FIRST_TIME: now})])
    mapping = Mapping(sources, Horizon(now, first), report)
    if store is None:
        report.dry_run = True
        for group in mapping.groups():
            _count(group, True)
            shown(mapping.rows)
        _tell_damage(sources, report)
        return report
    running: deque[asyncio.Task[None]] = deque()
    try:
        async for batch in batches(mapping.groups()):
            running.append(asyncio.create_task(_take(store, batch, first, report)))
            if len(running) >= MIGRATE_BATCHES_IN_FLIGHT:
                await running.popleft()
            shown(mapping.rows)
        while running:
            await running.popleft()
    finally:
        await asyncio.gather(*running, return_exceptions=True)
    _tell_damage(sources, report)
    report.digest = store.digest.root()
    return report


def _tell_damage(sources: Sequence[Source], report: Report) -> None:
    for source in sources:
        report.damaged(source.name, source.faults())


def _begun(sources: Sequence[Source]) -> Report:
    """A report with what is known of the sources before their rows are read."""
    report = Report()
    for source in sources:
        name = source.name
        report.sources.append({"path": name, "rows": dict(source.counts), "lacks": list(source.lacks)})
        for table, (count, reason) in source.rest.items():
            report.left(name, table, f"{count} rows: {reason}")
    return report


async def batches(groups: Iterable[list[Item]]) -> AsyncIterator[list[list[Item]]]:
    """Groups for one write each, bounded in records and in bytes. They are read while the writer waits for its disk or
    its server, and stand in its way no longer than a few of them take."""
    batch: list[list[Item]] = []
    records = size = 0
    for number, group in enumerate(groups):
        if not number % MIGRATE_YIELD_GROUPS:
            await asyncio.sleep(0)
        batch.append(group)
        records += len(group)
        size += sum(len(item.record.raw) for item in group)
        if records >= MIGRATE_BATCH_RECORDS or size >= MIGRATE_BATCH_BYTES:
            yield batch
            batch, records, size = [], 0, 0
    if batch:
        yield batch


async def write(store: Store, intents: Sequence[Intent]) -> list[Outcome]:
    """As `Store.write`: at once where that is cheapest, in pieces where the store bounds how long a write may take. All
    of them are queued, so that the writer knows what comes next."""
    piece = MIGRATE_SHARED_INTENTS if store.shared else max(1, len(intents))
    writes = (store.write(intents[at : at + piece]) for at in range(0, len(intents), piece))
    outcomes: list[Outcome] = []
    for written in await asyncio.gather(*writes, return_exceptions=True):  # none goes on behind its caller
        if isinstance(written, BaseException):
            raise written
        outcomes += written
    return outcomes


async def _take(store: Store, batch: list[list[Item]], since: int, report: Report) -> None:
    """Take a batch in and count it: groups of which nothing is here at once, the records of others one by one."""
    outcomes = await write(store, [take_new([item.record for item in group]) for group in batch])
    rest: list[Item] = []
    for group, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, Written) and outcome.reply:
            _count(group, True)
        else:
            rest += group
    merged = await write(store, [take(item.record, since) for item in rest])
    for item, outcome in zip(rest, merged, strict=True):
        if isinstance(outcome, Written):
            _count([item], bool(outcome.reply))
            continue
        report.lost(item.source, item.label, f"{item.record.key}: {outcome.message}")
        for count in item.counts:
            count.not_taken += 1


def _count(items: Iterable[Item], written: bool) -> None:
    """Count items that were taken: written, or present already."""
    for item in items:
        for count in item.counts:
            if written:
                count.written += 1
            else:
                count.present += 1
