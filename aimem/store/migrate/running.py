"""A migration as a whole: sources in, records through the store's one write path, a report out.

What always holds: the target has whole records only, and a migration that was broken off at any instant is finished
by running it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from aimem.core.legacy.taking import take
from aimem.core.legacy.values import Horizon
from aimem.core.upkeep import advance
from aimem.errors import AimemError
from aimem.limits import MIGRATE_BATCH, MIGRATE_BATCHES_IN_FLIGHT
from aimem.store.base import Outcome, Store
from aimem.store.migrate.mapping import Item, Mapping
from aimem.store.migrate.report import Report
from aimem.store.migrate.source import Source, open_source
from aimem.store.migrate.workspace import workspace

FIRST_TIME = "migrate.first"  # named position: when this store took in its first migrated row, ns

Shown = Callable[[int], None]


@contextlib.contextmanager
def opened(paths: Sequence[Path], beside: Path) -> Iterator[list[Source]]:
    """The sources, each read from a private copy that is kept beside the target `beside` and goes at the end.

    Raises: as `source.open_source` and `workspace`.
    """
    with workspace(beside) as folder, contextlib.ExitStack() as stack:
        sources = []
        for number, path in enumerate(paths):
            place = folder / str(number)
            place.mkdir()
            sources.append(open_source(path, place))
            stack.callback(sources[-1].close)
        yield sources


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
        for item in mapping.items():
            _settle([item], [None], report)
            shown(mapping.rows)
        return report
    running: deque[tuple[list[Item], asyncio.Task[list[Outcome]]]] = deque()
    try:
        for batch in _batches(mapping.items()):
            intents = [take(item.record, first) for item in batch]
            running.append((batch, asyncio.create_task(store.write(intents))))
            await asyncio.sleep(0)  # hands the batch to the writer; the next one is read meanwhile
            if len(running) >= MIGRATE_BATCHES_IN_FLIGHT:
                await _finish(running, report)
            shown(mapping.rows)
        while running:
            await _finish(running, report)
    finally:
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)
    report.digest = store.digest.root()
    return report


def _begun(sources: Sequence[Source]) -> Report:
    """A report with what is known of the sources before their rows are read."""
    report = Report()
    for source in sources:
        name = str(source.path)
        report.sources.append({"path": name, "rows": dict(source.counts)})
        for fault in source.faults:
            report.lost(name, "file", f"damaged: {fault}")
        for table, (count, reason) in source.rest.items():
            report.left(name, table, f"{count} rows: {reason}")
    return report


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(itertools.islice(rest, MIGRATE_BATCH)):
        yield batch


async def _finish(running: deque[tuple[list[Item], asyncio.Task[list[Outcome]]]], report: Report) -> None:
    """Wait for the oldest batch, and count it."""
    batch, task = running.popleft()
    _settle(batch, await task, report)


def _settle(batch: Sequence[Item], outcomes: Sequence[Outcome | None], report: Report) -> None:
    """Count what became of a batch. An outcome of None is that of a dry run."""
    for item, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, AimemError):
            report.lost(item.source, item.label, f"{item.record.key}: {outcome.message}")
        for count in item.counts:
            if isinstance(outcome, AimemError):
                count.not_taken += 1
            elif outcome is None or outcome.reply:
                count.written += 1
            else:
                count.present += 1
