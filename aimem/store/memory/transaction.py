"""Writes in memory: a group works on a copy of the state, and commits by having it take the place of the state."""

from __future__ import annotations

from collections.abc import Sequence

from aimem.core.automatic import born_of_touch
from aimem.core.clock import HybridClock
from aimem.core.digest import stage
from aimem.core.intent import Chain, Get, Holding, Intent, Links, Look, Read, Rehearsed, decide, rehearse
from aimem.core.kinds import KINDS, MEMORY, TOUCH, source_key
from aimem.core.pairs import PairState, pair_of, resolve
from aimem.core.policy import Standing, standing_in, standing_over
from aimem.core.record import Record, Ref
from aimem.core.restamping import in_order, restamped, too_far
from aimem.core.upkeep import outlives
from aimem.core.version import Version
from aimem.errors import AimemError
from aimem.store.base import Change, Outcome, Swept, Written
from aimem.store.memory.state import Row, State


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

    def _answer(self, read: Read) -> Record | PairState | Sequence[Record] | Sequence[Standing] | None:
        if isinstance(read, Get | Look):
            return self._held(read.ref)
        if isinstance(read, Chain):
            return standing_over(read.namespace, standing_in(self._held))
        if isinstance(read, Holding):
            return resolve(read.pair, self.state.memory, self.state.claimants(read.pair))
        if isinstance(read, Links):
            return self.state.links({read.memory_id})
        return self.state.touches(read.memory_id)

    def _held(self, ref: Ref) -> Record | None:
        row = self.state.rows.get(ref)
        return row.record if row else None

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
