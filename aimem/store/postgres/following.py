"""Following what other nodes wrote to the same store: what this node knows of it, and how it learns of more.

The state row has a `revision` that moves up with every group of every node. The writer reads what is new before each
group, under its lock; in between it is looked for every `limits.FOLLOW_SECS`, which costs one look at one row. Nobody
is notified: a NOTIFY takes a lock of the whole server until its transaction is on disk, and 6,145 commits a second
became 412.

Of a change that another node made, this one does not know what stood there before: `Change.old` then only says that
something did. That a rival of a pair is hidden or shown by another's write is not told: who keeps an index of what is
visible in memory reads it from the store here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from aimem.core.feed import Cursor, resolve
from aimem.core.kinds import RESIDENT
from aimem.core.record import Record
from aimem.core.version import ZERO
from aimem.store.base import Change
from aimem.store.postgres.clock import NOW, ServersClock
from aimem.store.postgres.known import COLUMNS, Known, row_of
from aimem.store.postgres.reading import starts
from aimem.store.postgres.session import Connection, one, rows, snapshot
from aimem.store.postgres.standing import OPENING, SAVE_STATE, Standing, fresh, resident_of, saved, standing
from aimem.store.postgres.table import Transaction
from aimem.store.resident import Resident

log = logging.getLogger(__name__)

REWOUND = "rewound/"
"""Names of positions that count, by the incarnation that began there, how many changes a rewind took."""
SAVE_REWOUND = "INSERT INTO progress (name, position) VALUES (%s, %s) ON CONFLICT DO NOTHING"
NEWS_ROWS = 1_000  # changes in memory at once beside those that listeners keep
NEWS = f"SELECT {COLUMNS}, since FROM record WHERE seq > %s ORDER BY seq LIMIT {NEWS_ROWS}"


class Follower:
    """What this node knows of the store: its `state`, and the `resident` records. `told` hears of every change."""

    def __init__(
        self,
        state: Standing,
        resident: Resident,
        *,
        origin: str,
        now: Callable[[], int],
        rand: Callable[[], str],
        told: Callable[[list[Change]], None],
    ) -> None:
        self.state = state
        self.resident = resident
        self.rewound = asyncio.Event()
        """Set once the store has lost changes that this node knew of: what is kept in memory is of a past that is gone,
        and no listener can be told what of it is no longer so."""
        self._origin = origin
        self._now = now
        self._rand = rand
        self._told = told

    def view(self, known: Known, state: Standing | None = None) -> Transaction:
        """A transaction on the state as this node knows it, or on the one that this will lead to."""
        now = known.moment(self._now)
        return Transaction(known, state or self.state, self.resident, now=now, origin=self._origin)

    def after(self, transaction: Transaction) -> Standing:
        """The state that a transaction leads to."""
        state = self.state
        after = replace(
            state,
            incarnation=transaction.incarnation,
            head=transaction.head,
            clock=transaction.clock.last,
            floor=transaction.floor,
            digest=fresh(state.digest, transaction.deltas),
            last_row=transaction.last_row,
            visible=state.visible + transaction.shown,
        )
        if transaction.has_written or replace(after, clock=state.clock) != state:
            after.revision += 1
        return after

    def committed(self, after: Standing, transaction: Transaction) -> None:
        """A transaction of this node has been committed, and led to this state."""
        self.state = after
        self.resident.take(transaction.resident.values())
        if transaction.changes:
            self._told(transaction.changes)

    async def look(self, connection: Connection) -> bool:
        """Learn what other nodes have written until now. False where the past is not what was known: that wants the
        writer's lock."""
        known, began = self.state, time.monotonic_ns()
        found = await one(connection, f"SELECT incarnation, revision, {NOW} FROM state")
        if found is not None and isinstance(self._now, ServersClock):
            self._now.learn(found[2] * 1_000, time.monotonic_ns() - began)
        if found is not None and found[:2] == (known.incarnation, known.revision):
            return True
        async with snapshot(connection):
            state = await standing(connection, known)
            if state.identity != known.identity or state.revision < known.revision:
                return False
            if state is not known:
                await self._learn(connection, state)
            return True

    async def take_in(
        self, connection: Connection, identity: str, found: Standing, first: Sequence[tuple[Any, ...]]
    ) -> None:
        """Learn what was written since, under the lock, from the server of this identity; `first` are the first rows of
        it."""
        rewound = found.incarnation == self.state.incarnation and found.revision < self.state.revision
        if rewound or found.identity != identity:
            found = await self._begin_anew(connection, identity, found)
        if found is not self.state:
            await self._learn(connection, found, first)

    async def _learn(
        self, connection: Connection, found: Standing, first: Sequence[tuple[Any, ...]] | None = None
    ) -> None:
        """Take over a state of the store, and tell of what led to it."""
        known = self.state
        if found.incarnation == known.incarnation:
            changes = await all_news(connection, known.head, first)
        else:  # its past may be another than the one that is known here
            cursor = Cursor(known.incarnation, known.start, known.head)
            after = resolve(cursor, starts=await starts(connection), head=found.head)
            if after < known.head:
                self.rewound.set()
            changes = await all_news(connection, after)
            held = await resident_of(connection)  # before anything is forgotten: a rule that is not there allows
            self.resident.clear()
            self.resident.take(held)
            changes += [Change(0, 0, record, None, False) for record in self.resident]
        self.state = found
        self.resident.take(each.record for each in changes if each.record.kind in RESIDENT)
        if changes:
            self._told(changes)

    async def _begin_anew(self, connection: Connection, identity: str, found: Standing) -> Standing:
        """The store was restored to an earlier time, or promoted on a new timeline: its past is not what was known.

        It goes on under a new incarnation and a new opening, so that cursors of the old future are recognised.
        """
        lost = max(0, self.state.head - found.head)
        log.warning(
            "the shared store was restored, or another server took over: it goes on under a new incarnation; "
            "%d changes that were known here are not there any more",
            lost,
        )
        anew = replace(
            found,
            incarnation=self._rand(),
            identity=identity,
            start=self._rand(),
            revision=max(found.revision, self.state.revision) + 1,
            clock=max(found.clock, self.state.clock),  # no version is made twice
        )
        await connection.execute(OPENING, (anew.start, found.head + 1, self._now()))
        await connection.execute(OPENING, (self._origin, found.head + 1, self._now()))
        await connection.execute(SAVE_STATE, saved(anew))
        await connection.execute(SAVE_REWOUND, (f"{REWOUND}{anew.incarnation}", lost))
        return anew


def changes_of(found: Sequence[tuple[Any, ...]], known_head: int) -> list[Change]:
    """The changes in the rows that NEWS gave."""
    changes = []
    for values in found:
        row = row_of(values[:-1])
        record, since = row.record, values[-1]
        old = None if since > known_head else Record(record.kind, record.key, ZERO, record.born, b"{}")
        changes.append(Change(row.seq, row.row, record, old, row.visible))
    return changes


async def all_news(connection: Connection, after: int, first: Sequence[tuple[Any, ...]] | None = None) -> list[Change]:
    """All changes after `after`; `first` is the page of NEWS that was read already."""
    page = await rows(connection, NEWS, (after,)) if first is None else first
    changes = changes_of(page, after)
    while len(page) == NEWS_ROWS:
        page = await rows(connection, NEWS, (changes[-1].seq,))
        changes += changes_of(page, after)
    return changes
