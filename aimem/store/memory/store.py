"""The store in memory: its openings, and what each method of the Store protocol is made of."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from aimem.core.digest import Digest
from aimem.core.feed import Cursor, resolve
from aimem.core.intent import Intent, Rehearsed
from aimem.core.kinds import VECTOR
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.errors import Busy, StorageFailed
from aimem.limits import SCAN_BATCH
from aimem.store.base import (
    Change,
    Counted,
    FeedPage,
    Filter,
    Hit,
    Listener,
    Memory,
    Outcome,
    Stats,
    Swept,
    Vector,
    Words,
)
from aimem.store.ids import random_id
from aimem.store.memory import reading
from aimem.store.memory.state import State
from aimem.store.memory.transaction import Transaction


@dataclass
class Cell:
    """What all openings of one store have in common."""

    state: State
    openings: list[MemoryStore] = field(default_factory=list)


class MemoryStore:
    """A Store in memory. See `store.base.Store` for what each method promises.

    `after` is a closed store to go on from, as a process does that opens its file again. `shared` is one that may be
    opened several times, `beside` another such opening that is there already.
    """

    def __init__(
        self,
        *,
        now: Callable[[], int] = time.time_ns,
        rand: Callable[[], str] = random_id,
        after: MemoryStore | None = None,
        beside: MemoryStore | None = None,
        shared: bool = False,
    ) -> None:
        self.start = rand()
        self.shared = shared or beside is not None
        self._now = now
        self._rand = rand
        self._cell: Cell = beside._cell if beside else Cell(after._state.copy() if after else State(rand()))
        self._cell.openings.append(self)
        self._state.starts.append((self.start, self._state.head + 1))
        self._listeners: list[Listener] = []
        self._unheard: list[Sequence[Change]] = []
        self._heard = self._state.head
        self._closed = False

    @property
    def _state(self) -> State:
        return self._cell.state

    @_state.setter
    def _state(self, state: State) -> None:
        self._cell.state = state

    @property
    def incarnation(self) -> str:
        return self._state.incarnation

    @property
    def digest(self) -> Digest:
        return self._state.digest

    @property
    def schema(self) -> int:
        return 0

    @property
    def head(self) -> int:
        return self._heard

    @property
    def clock(self) -> int:
        return self._state.clock

    @property
    def floor(self) -> int:
        return self._state.floor

    @property
    def visible(self) -> int:
        return len(self._state.shown())

    async def close(self) -> None:
        self._closed = True
        if self in self._cell.openings:
            self._cell.openings.remove(self)

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def _begin(self) -> Transaction:
        if self._closed:
            raise Busy("the store is closing", hint="try again on another node, or when this one is back")
        return Transaction(self._state, now=self._now(), origin=self.start)

    def _commit(self, transaction: Transaction) -> None:
        self._state = transaction.state
        for opening in self._cell.openings:
            opening._unheard.append(transaction.changes)
        self._hear_now()
        for opening in self._cell.openings:
            if opening is not self:
                opening._look_soon()

    def _look_soon(self) -> None:
        """Another opening has committed something."""
        self._hear_now()

    def _hear_now(self) -> None:
        unheard, self._unheard = self._unheard, []
        for changes in unheard:
            self._heard = max(self._heard, *(change.seq for change in changes)) if changes else self._heard
            for listener in self._listeners if changes else ():
                listener(changes)

    async def hear(self) -> None:
        self._hear_now()

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        transaction = self._begin()
        try:
            outcomes = [transaction.outcome(intent) for intent in intents]
        except Exception as error:
            raise StorageFailed("internal error: the write was not carried out") from error
        self._commit(transaction)
        return outcomes

    async def sweep(self, before: int, read_by_all: int, now: int, limit: int) -> Swept:
        transaction = self._begin()
        swept = transaction.sweep(before, read_by_all, now, limit)
        self._commit(transaction)
        return swept

    async def last_tombstone(self, before: int) -> int:
        graves = (row for row in self._state.rows.values() if row.record.deleted and row.stored < before)
        return max((row.seq for row in graves), default=0)

    async def restamp(self, limit: int) -> int:
        transaction = self._begin()
        count = transaction.restamp(limit)
        self._commit(transaction)
        return count

    async def raise_floor(self, floor: int) -> None:
        transaction = self._begin()
        transaction.state.floor = max(transaction.state.floor, floor)
        self._commit(transaction)

    async def renew_incarnation(self) -> None:
        transaction = self._begin()
        transaction.state.incarnation = self._rand()
        self._commit(transaction)

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        rows = (self._state.rows.get(ref) for ref in refs)
        return [row.record if row else None for row in rows]

    async def rehearse(self, intents: Sequence[Intent]) -> list[Rehearsed]:
        return [self._begin().rehearse(intent) for intent in intents]

    async def memories(self, ids: Sequence[str]) -> list[Memory | None]:
        return reading.memories(self._state, ids)

    async def under(self, kind: str, prefix: str) -> list[Record]:
        return reading.under(self._state, kind, prefix)

    async def ids_with_prefix(self, prefix: str, limit: int) -> list[str]:
        return sorted(row.record.key for row in self._state.shown() if row.record.key.startswith(prefix))[:limit]

    async def select(self, which: Filter, limit: int, offset: int) -> list[Memory]:
        return reading.select(self._state, which, limit, offset)

    async def match(self, words: Words, which: Filter, limit: int) -> list[Hit]:
        return reading.match(self._state, words, which, limit)

    async def rows(self, which: Filter) -> list[int]:
        return [row.row for row in reading.passing(self._state, which)]

    async def by_rows(self, rows: Sequence[int]) -> list[Memory | None]:
        return reading.by_rows(self._state, rows)

    async def matching(self, words: Words | None, which: Filter, after: int, limit: int) -> list[tuple[int, str]]:
        return reading.matching(self._state, words, which, after, limit)

    async def links(self, ids: Sequence[str]) -> list[Record]:
        return reading.links(self._state, ids)

    async def archived(self, namespace: str | None, limit: int, offset: int) -> list[Record]:
        return self._state.archive(namespace)[offset : offset + limit]

    async def archived_counts(self) -> list[Counted]:
        return reading.archived_counts(self._state)

    async def archived_before(self, before: int, limit: int) -> list[Ref]:
        return reading.archived_before(self._state, before, limit)

    async def namespaces(self, now: int, reach: Reach | None = None) -> list[Counted]:
        return reading.namespaces(self._state, now, reach)

    async def stats(self, now: int, reach: Reach | None = None) -> Stats:
        return reading.stats(self._state, now, reach)

    async def expired(self, before: int, limit: int) -> list[str]:
        return reading.expired(self._state, before, limit)

    async def changes(self, after: int, limit: int, size: int, kinds: tuple[str, ...] | None = None) -> FeedPage:
        found, position, more = reading.changes(self._state, after, limit, size, kinds)
        start = self._state.starts[-1][0]  # the latest: of several openings the others go on beside it
        return FeedPage(found, Cursor(self.incarnation, start, position), more)

    async def scan(self, kind: str) -> AsyncIterator[list[tuple[int, Record]]]:
        found = reading.of_kind(self._state, kind)
        for at in range(0, len(found), SCAN_BATCH):
            yield found[at : at + SCAN_BATCH]

    async def scan_vectors(self) -> AsyncIterator[list[Vector]]:
        async for batch in self.scan(VECTOR):
            yield [Vector(row, record.key, record.raw) for row, record in batch if row]

    async def progress(self, name: str) -> int:
        return self._state.progress.get(name, 0)

    async def positions(self, prefix: str) -> dict[str, int]:
        return {name: at for name, at in self._state.progress.items() if name.startswith(prefix)}

    async def resolve_cursor(self, cursor: Cursor) -> int:
        return resolve(cursor, starts=self._state.starts, head=self._state.head)

    async def starts(self) -> list[tuple[str, int]]:
        return list(self._state.starts)

    async def check(self) -> list[str]:
        return self._state.check()
