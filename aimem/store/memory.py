"""The store in memory: the oracle that other stores are tested against. Plain dicts, nothing kept between processes.

Every question is answered from the records as they stand, by the rules of `core` and nothing else: there is no column,
index or count that could say something different. A write works on a copy of the state and commits by taking its
place, so it costs as much as the store holds: this is for tests and small things.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from aimem.core.archiving import archived_at
from aimem.core.automatic import NEVER, RANK, born_of_touch, effect_of, is_archived, use_of
from aimem.core.clock import HybridClock
from aimem.core.digest import Digest, stage
from aimem.core.feed import Cursor
from aimem.core.feed import resolve as resolve_feed
from aimem.core.intent import Get, Holding, Intent, Links, Look, Read, Rehearsed, decide, rehearse
from aimem.core.kinds import EMBEDDING, KINDS, LINK, MEMORY, SUPERSEDED, TOUCH, VECTOR, kind_of, source_key
from aimem.core.memory import created_ns
from aimem.core.merge import author_of
from aimem.core.pairs import Pair, PairState, by_age, pair_of, resolve
from aimem.core.reach import Reach, memories_of
from aimem.core.record import Record, Ref
from aimem.core.restamping import in_order, restamped, too_far
from aimem.core.text import holds, indexed_text, stems
from aimem.core.upkeep import outlives
from aimem.core.version import Version
from aimem.core.visibility import scope_of, view_from
from aimem.errors import AimemError, Busy, StorageFailed
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
    Written,
)
from aimem.store.ids import random_id

_HOUR_NS = 3_600 * 10**9


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


class Transaction:
    """One group of intents on a copy of the state, and the `Stamp` that they get."""

    def __init__(self, state: State, *, now: int, origin: str) -> None:
        self.state = state.copy()
        self.now = now
        self.incarnation = state.incarnation
        self.changes: list[Change] = []
        self._origin = origin
        self._clock = HybridClock(state.clock)

    def version(self) -> Version:
        self.state.clock = self._clock.tick(self.now)
        return Version(self.state.clock, self._origin)

    def outcome(self, intent: Intent) -> Outcome:
        """Run one intent: what it wrote, or its refusal."""
        try:
            decision = decide(intent, self, self._answer)
        except AimemError as refusal:
            return refusal
        for record in decision.records:
            self.put(record)
        for name, position in (decision.progress or {}).items():
            if position < 0:
                self.state.progress.pop(name, None)
            else:
                self.state.progress[name] = position
        return Written(decision.reply, tuple(decision.records))

    def rehearse(self, intent: Intent) -> Rehearsed:
        """Run one intent and write nothing."""
        return rehearse(intent, self, self._answer)

    def _answer(self, read: Read) -> Record | PairState | list[Record] | None:
        if isinstance(read, Get | Look):
            row = self.state.rows.get(read.ref)
            return row.record if row else None
        if isinstance(read, Holding):
            return resolve(read.pair, self.state.memory, self.state.claimants(read.pair))
        if isinstance(read, Links):
            return self.state.links({read.memory_id})
        return self.state.touches(read.memory_id)

    def put(self, record: Record) -> None:
        """Make `record` what stands under its address, and note what that changes for readers."""
        state = self.state
        held = state.rows.get(record.ref)
        old = held.record if held else None
        pairs = [pair for each in (old, record) if each and each.kind == MEMORY and (pair := pair_of(each))]
        before = {pair: state.holder(pair) for pair in pairs}
        if old is not None:
            self._withdraw(old)
        state.head += 1
        self._clock.observe(record.version.time)
        state.clock = self._clock.last
        if held is None:
            state.last_row += 1
        number = held.row if held else state.last_row
        state.rows[record.ref] = Row(number, state.head, self.now, record)
        self._enter(old, record)
        self.changes.append(Change(state.head, number, record, old, state.shows(record)))
        for pair, holder in before.items():
            self._note_visible(record, holder, state.holder(pair))
        if record.kind == MEMORY:
            if old is not None and old.born != record.born:
                self._age_touches(old)
            for derived in state.vectors(record.key):
                if not derived.deleted and outlives(derived, record):
                    self.drop(derived.ref)

    def _age_touches(self, ended: Record) -> None:
        """From now on the touches of this birth grow old: another has followed it."""
        for touch in self.state.touches(ended.key):
            if born_of_touch(touch) == ended.born:
                self.state.rows[touch.ref] = self.state.rows[touch.ref]._replace(stored=self.now)

    def _withdraw(self, old: Record) -> None:
        if old.kind == MEMORY and (pair := pair_of(old)):
            self.state.claims[pair] -= {old.key}

    def _enter(self, old: Record | None, new: Record | None) -> None:
        deltas: dict[int, int] = {}
        stage(deltas, old, new)
        self.state.digest.apply(deltas)
        if new is not None and new.kind == MEMORY and (pair := pair_of(new)):
            self.state.claims[pair] = self.state.claims.get(pair, frozenset()) | {new.key}

    def _note_visible(self, written: Record, *holders: Record | None) -> None:
        """Tell of others that were shown or hidden by a write: a pair's `holders` are those before and after it."""
        keys = [holder.key if holder else None for holder in holders]
        for key in keys if keys[0] != keys[1] else ():
            if key is not None and key != written.key:
                row = self.state.rows[Ref(MEMORY, key)]
                self.changes.append(Change(row.seq, row.row, row.record, row.record, self.state.shows(row.record)))

    def drop(self, ref: Ref) -> None:
        """Forget a record without a tombstone."""
        row = self.state.rows.pop(ref, None)
        if row is not None:
            self._enter(row.record, None)

    def restamp(self, limit: int) -> int:
        """See `Store.restamp`."""
        records = [row.record for row in self.state.rows.values()]
        found = [record for record in records if too_far(record, limit)]
        self._clock = HybridClock(max((each.version.time for each in records if each.version.time <= limit), default=0))
        for record in in_order(found):
            new = restamped(record, limit, self.version)
            if new is None or new.ref != record.ref:
                self.drop(record.ref)
            if new is not None:
                self.put(new)
        self.state.clock = self._clock.last
        return len(found)

    def sweep(self, before: int, read_by_all: int, now: int, limit: int) -> Swept:
        """See `Store.sweep`."""
        oldest_first = sorted(self.state.rows.values(), key=lambda row: row.stored)
        graves = [row for row in oldest_first if row.record.deleted and row.stored < before and row.seq <= read_by_all][
            :limit
        ]
        for row in graves:
            self.state.floor = max(self.state.floor, row.record.version.time)
            self.drop(row.record.ref)
            if row.record.kind == MEMORY:
                for touch in self.state.touches(row.record.key):
                    self.drop(touch.ref)
        over = [
            row for row in oldest_first if row.stored < before and self._is_of_another_birth(row.record, read_by_all)
        ]
        for row in over[:limit]:
            self.drop(row.record.ref)
        aged = len(over[:limit])
        for name, kind in KINDS.items():
            of_kind = [row for row in oldest_first if row.record.kind == name]
            old = [row for row in of_kind if (life := kind.life_of(row.record.deleted)) and row.stored < now - life]
            for row in old[:limit]:
                self.drop(row.record.ref)
                aged += 1
        return Swept(len(graves), aged)

    def _is_of_another_birth(self, record: Record, read_by_all: int) -> bool:
        """A touch of a birth that ended, as all have read."""
        if record.kind != TOUCH or record.ref not in self.state.rows:
            return False
        memory = self.state.rows.get(Ref(MEMORY, source_key(*record.ref)))
        return memory is None or (memory.record.born != born_of_touch(record) and memory.seq <= read_by_all)


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

    def _memory(self, record: Record) -> Memory:
        return Memory(self._state.rows[record.ref].row, record, use_of(record, self._state.touches(record.key)))

    async def memories(self, ids: Sequence[str]) -> list[Memory | None]:
        records = (self._state.memory(each) for each in ids)
        holders = (self._state.holder(pair_of(record)) if record else None for record in records)
        return [self._memory(holder) if holder else None for holder in holders]

    async def under(self, kind: str, prefix: str) -> list[Record]:
        rows = self._state.rows.values()
        records = (row.record for row in rows if row.record.kind == kind and not row.record.deleted)
        return sorted((each for each in records if each.key.startswith(f"{prefix}/")), key=lambda each: each.key)

    async def ids_with_prefix(self, prefix: str, limit: int) -> list[str]:
        return sorted(row.record.key for row in self._state.shown() if row.record.key.startswith(prefix))[:limit]

    def _passing(self, which: Filter) -> list[Row]:
        return [row for row in self._state.shown() if self._passes(row.record, which)]

    def _passes(self, record: Record, which: Filter) -> bool:
        body, created = record.body, created_ns(record)
        return (
            self._state.expires(record) > which.now
            and (which.namespaces is None or body["namespace"] in which.namespaces)
            and (which.tier is None or body["tier"] == which.tier)
            and (which.tag is None or which.tag in body["tags"])
            and (which.min_priority is None or body["priority"] >= which.min_priority)
            and (which.since is None or created >= which.since)
            and (which.until is None or created <= which.until)
            and (which.agent_id is None or author_of(record) == which.agent_id)
            and (
                which.visible_from is None
                or view_from(which.visible_from).sees(scope_of(body["metadata"]), body["namespace"])
            )
            and (which.reach is None or which.reach.shows(record))
        )

    async def select(self, which: Filter, limit: int, offset: int) -> list[Memory]:
        def order(record: Record) -> tuple[int, int, str]:
            return -record.body["priority"], -record.body.get("updated_at", record.version.time), record.key

        found = sorted((row.record for row in self._passing(which)), key=order)
        return [self._memory(record) for record in found[offset : offset + limit]]

    async def match(self, words: Words, which: Filter, limit: int) -> list[Hit]:
        terms = [stems(" ".join(term)) for term in words.terms]
        hits = []
        for row in self._passing(which):
            columns = indexed_text(row.record) if words.everywhere else indexed_text(row.record)[:-1]
            texts = [stems(column) for column in columns]
            held = sum(any(holds(text, term) for text in texts) for term in terms)
            if held and (held == len(terms) or not words.all_of):
                hits.append(Hit(row.row, row.record.key, float(held)))
        return sorted(hits, key=lambda hit: (-hit.score, -hit.row))[:limit]

    async def rows(self, which: Filter) -> list[int]:
        return [row.row for row in self._passing(which)]

    async def by_rows(self, rows: Sequence[int]) -> list[Memory | None]:
        shown = {row.row: row.record for row in self._state.shown()}
        return [self._memory(shown[number]) if number in shown else None for number in rows]

    async def matching(self, words: Words | None, which: Filter, after: int, limit: int) -> list[tuple[int, str]]:
        rows = {row.row: row.record.key for row in self._passing(which) if row.row > after}
        if words is not None:
            matched = {hit.row for hit in await self.match(words, which, len(self._state.rows))}
            rows = {row: key for row, key in rows.items() if row in matched}
        return sorted(rows.items())[:limit]

    async def links(self, ids: Sequence[str]) -> list[Record]:
        shown = {row.record.key for row in self._state.shown()}
        found = self._state.links(set(ids))
        return [each for each in found if {each.body["source_id"], each.body["target_id"]} <= shown]

    async def archived(self, namespace: str | None, limit: int, offset: int) -> list[Record]:
        return self._state.archive(namespace)[offset : offset + limit]

    async def archived_counts(self) -> list[Counted]:
        return _counted((record.body["namespace"] for record in self._state.archive(None)), key=str)

    async def archived_before(self, before: int, limit: int) -> list[Ref]:
        found = [record for record in self._state.archive(None) if archived_at(record) < before]
        return [record.ref for record in sorted(found, key=lambda record: (archived_at(record), record.key))][:limit]

    async def namespaces(self, now: int, reach: Reach | None = None) -> list[Counted]:
        return _counted((row.record.body["namespace"] for row in self._passing(Filter(now, reach=reach))), key=str)

    async def stats(self, now: int, reach: Reach | None = None) -> Stats:
        alive = [row.record for row in self._passing(Filter(now, reach=reach))]
        near = {record.ref for record in alive}
        ends = (self._state.expires(record) for record in alive)
        links = [row.record for ref, row in self._state.rows.items() if ref.kind == LINK and not row.record.deleted]
        links = [link for link in links if reach is None or near.issuperset(memories_of(link))]
        return Stats(
            total=len(alive),
            by_tier=_counted((record.body["tier"] for record in alive), key=RANK.__getitem__),
            by_namespace=await self.namespaces(now, reach),
            expiring=sum(end <= now + _HOUR_NS for end in ends),
            links=len(links),
            size=sum(len(row.record.raw) for row in self._state.rows.values()),
        )

    async def expired(self, before: int, limit: int) -> list[str]:
        claiming = [self._state.memory(key) for keys in self._state.claims.values() for key in keys]
        ends = sorted((self._state.expires(record), record.key) for record in claiming if record)
        return [key for end, key in ends if end < before and end != NEVER][:limit]

    async def changes(self, after: int, limit: int, size: int, kinds: tuple[str, ...] | None = None) -> FeedPage:
        found: list[tuple[int, Record]] = []
        for row in sorted(self._state.rows.values(), key=lambda row: row.seq):
            if row.seq <= after or (kinds is not None and row.record.kind not in kinds):
                continue
            size -= len(row.record.raw)
            if found and (len(found) >= limit or size < 0):
                return FeedPage(found, self._cursor(found[-1][0]), True)
            found.append((row.seq, row.record))
        return FeedPage(found, self._cursor(max(self._state.head, after)), False)

    def _cursor(self, seq: int) -> Cursor:
        """A place in the feed, by the latest start: of several openings the others go on beside it."""
        return Cursor(self.incarnation, self._state.starts[-1][0], seq)

    async def scan(self, kind: str) -> AsyncIterator[list[tuple[int, Record]]]:
        state = self._state
        found = [row.record for row in state.rows.values() if row.record.kind == kind and not row.record.deleted]
        for at in range(0, len(found), SCAN_BATCH):
            yield [(_source_row(state, record), record) for record in found[at : at + SCAN_BATCH]]

    async def scan_vectors(self) -> AsyncIterator[list[Vector]]:
        async for batch in self.scan(VECTOR):
            yield [Vector(row, record.key, record.raw) for row, record in batch if row]

    async def progress(self, name: str) -> int:
        return self._state.progress.get(name, 0)

    async def positions(self, prefix: str) -> dict[str, int]:
        return {name: at for name, at in self._state.progress.items() if name.startswith(prefix)}

    async def resolve_cursor(self, cursor: Cursor) -> int:
        return resolve_feed(cursor, starts=self._state.starts, head=self._state.head)

    async def starts(self) -> list[tuple[str, int]]:
        return list(self._state.starts)

    async def check(self) -> list[str]:
        state = self._state
        records = [row.record for row in state.rows.values()]
        claims: dict[Pair, set[str]] = {}
        for record in records:
            if record.kind == MEMORY and (pair := pair_of(record)):
                claims.setdefault(pair, set()).add(record.key)
        wrong = [] if state.digest == Digest.of(records) else ["digest: it is not that of the records"]
        if {pair: set(keys) for pair, keys in state.claims.items() if keys} != claims:
            wrong.append("pairs: they are not those of the records")
        if any(row.seq > state.head for row in state.rows.values()):
            wrong.append(f"feed: a record has a seq past the head {state.head}")
        return wrong


def _counted(names: Iterable[str], key: Callable[[str], object]) -> list[Counted]:
    """Each name with how often it comes, most first, then by `key`."""
    counts = Counter(names)
    ranked = sorted(counts, key=key)  # type: ignore[arg-type]
    return sorted((Counted(name, counts[name]) for name in ranked), key=lambda each: -each.memories)


def _source_row(state: State, record: Record) -> int:
    """The row of the memory that a record is or was made from, 0 when that is not visible."""
    key = source_key(*record.ref) if kind_of(record.kind).derived else record.key
    row = state.rows.get(Ref(MEMORY, key))
    return row.row if row and state.shows(row.record) else 0
