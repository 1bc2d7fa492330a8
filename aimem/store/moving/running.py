"""A move as a whole: databases of every sort in, one merged state out, and a report.

Databases of the existing system are taken in by `store.migrate`, those of this program by their feeds. All of it
merges, so the order of the sources changes nothing, and what is there already is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from aimem.core.moving import arrived
from aimem.core.upkeep import advance
from aimem.errors import Conflict
from aimem.store.base import SearchingStore, Store
from aimem.store.migrate.report import Report
from aimem.store.migrate.running import migrate
from aimem.store.migrate.tables import Source as OldSource
from aimem.store.moving.copying import BEGUN, Copy, Shown, begun, bounds_of
from aimem.store.moving.pending import by_what_they_kept, end_waiting
from aimem.store.moving.source import Source
from aimem.store.moving.verifying import verify, verify_old

Told = Callable[[str], None]
"""Told in words what is being done, where that takes long."""
_CARRIED = ("pull/", "missed/", "migrate.")
"""Named positions that hold for whoever has all the records of the store that kept them. The others count in its own
feed, whose numbers are others here."""


async def begin(store: Store, where: str, now: int, *, merge: bool) -> None:
    """Note that this store is filled by moves, before anything is in it.

    Raises:
        Conflict: it holds something that no move has brought there, and `merge` does not say that this is meant.
    """
    if not merge and not await begun(store):
        raise Conflict(
            f"{where} is not empty, and was not filled by this command",
            hint="name a new one with --to, or say --merge to unite both",
        )
    if not await store.progress(BEGUN):
        await store.write([advance({BEGUN: now})])


async def move(
    old: Sequence[OldSource],
    sources: Sequence[Source],
    store: Store | None,
    *,
    now: int,
    shown: Shown,
    told: Told = lambda what: None,
    verified: bool = False,
    retired: bool = False,
) -> Report:
    """Take all sources in; without a store, only count. `now` in ns. `retired`: the sources never run again, so what
    waits for their decision is ended here.

    Raises:
        DiskFull, StorageFailed, Busy: the target can't be written; what was taken in until then stays, and the next run
            goes on from there.
    """
    report, began = Report(), time.monotonic()
    if old or not sources:
        report = await migrate(old, store, now=now, shown=_counted(shown))
    report.dry_run = store is None
    for source in sources:
        others = [other for other in sources if other is not source]
        bounds = await bounds_of(source, others, store)
        before = {name: count.read for name, count in report.kinds.items()}
        await Copy(source, store, report, now=now, bounds=bounds, shown=shown).run()
        rows = {name: count.read - before.get(name, 0) for name, count in report.kinds.items()}
        read = {name: count for name, count in rows.items() if count}
        report.sources.append({"path": source.name, "rows": read, "digest": source.digest})
    if store is None:
        return report
    for source in sources:
        await settle(source, store)
    if retired:
        await end_waiting(store, by_what_they_kept(sources), report)
    loaded = time.monotonic()
    await end_load(store, told)
    report.seconds = {"loading": loaded - began, "completing": time.monotonic() - loaded}
    report.digest = store.digest.root()
    if verified:
        report.verified = [found for source in sources for found in await verify(source, store, now)]
        report.verified += await verify_old(old, store, now)
    return report


async def end_load(store: Store, told: Told) -> None:
    """Make what the store has left until all is in: indexes, the graph of vectors."""
    if isinstance(store, SearchingStore):
        await store.end_load(told)


async def settle(source: Source, store: Store) -> None:
    """Carry over what is no record in a feed, now that all records of this source are here: the floor, the clock, and
    the named positions that hold for whoever has them."""
    if source.floor > store.floor:
        await store.raise_floor(source.floor)
    caught = (await source.positions("caught/")).get(f"caught/{source.incarnation}", 0)
    positions = {f"caught/{store.incarnation}": caught} if caught else {}
    for prefix in _CARRIED:
        positions |= await source.positions(prefix)
    higher = {name: at for name, at in positions.items() if at > await store.progress(name)}
    body: dict[str, object] = {"from": source.name, "digest": source.digest, "seq": source.head}
    await store.write([arrived(source.incarnation, source.clock, body), *([advance(higher)] if higher else [])])


def _counted(shown: Shown) -> Shown:
    """From how many rows were read in all to how many more."""
    told = 0

    def more(rows: int) -> None:
        nonlocal told
        shown(rows - told)
        told = rows

    return more
