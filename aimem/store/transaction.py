"""What a write comes to in a store of tables: one group's view of the store, and the rules by which records change it.

Whatever a read can search by (columns, words, who holds a pair) is brought up to date in the same transaction as the
record. The rules are the same for every such store and stand here; how rows are found and written is the store's part
(the methods at the end). Nothing here commits; what must only change after the commit is staged in the `Transaction`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aimem.core.archiving import archived_at
from aimem.core.automatic import NEVER, born_of_touch, effect_of, is_archived, use_of
from aimem.core.clock import HybridClock
from aimem.core.digest import stage
from aimem.core.intent import Chain, Get, Holding, Intent, Links, Look, Read, Rehearsed, decide, rehearse
from aimem.core.kinds import LINK, MEMORY, RESIDENT, SUPERSEDED, TOUCH, VECTOR, kind_of, source_key
from aimem.core.pairs import Pair, PairState, by_age, pair_of, plain_id, resolve
from aimem.core.policy import Standing, standing_in, standing_over
from aimem.core.record import Record, Ref
from aimem.core.restamping import in_order, restamped
from aimem.core.upkeep import outlives
from aimem.core.version import Version, parse_version
from aimem.errors import AimemError
from aimem.store.base import Change, Outcome, Written
from aimem.store.resident import Resident
from aimem.store.state import State


class Row(NamedTuple):
    """A record as it stands in the table."""

    row: int
    seq: int
    visible: bool
    record: Record


class Columns(NamedTuple):
    """What reads search by, as the table has it."""

    target: str | None = None
    archived: int | None = None
    namespace: str | None = None
    pair: str | None = None
    tier: int | None = None
    priority: int | None = None
    created: int | None = None
    updated: int | None = None
    expires: int | None = None


class Grave(NamedTuple):
    """A tombstone that is swept: its row, its address, its version."""

    row: int
    ref: Ref
    version: str


NONE = Columns()
"""Of what is found by its address only."""


def pair_text(pair: Pair) -> str:
    """A pair as one text."""
    return f"{pair.namespace}\0{pair.title}"


def columns_of(record: Record) -> Columns:
    """What reads search by, but for live memories, which have more."""
    if record.kind == LINK and not record.deleted:
        return Columns(target=record.body.get("target_id"))
    if record.kind == MEMORY or (record.kind == SUPERSEDED and not record.deleted):
        kept = record.kind == SUPERSEDED or is_archived(record)
        return Columns(namespace=record.body.get("namespace"), archived=archived_at(record) if kept else None)
    return NONE


class Transaction(ABC):
    """One group's view of the store, and what is to change when it has committed. Also the `Stamp` of its intents."""

    def __init__(self, state: State, resident: Resident, *, now: int, origin: str) -> None:
        self.now = now
        self.incarnation = state.incarnation
        self.head = state.head
        self.clock = HybridClock(state.clock)
        self.floor = state.floor
        self.shown = 0
        self.deltas: dict[int, int] = {}
        self.changes: list[Change] = []
        self.resident: dict[Ref, Record] = {}
        self._origin = origin
        self._resident = resident

    def version(self) -> Version:
        return Version(self.clock.tick(self.now), self._origin)

    def outcome(self, intent: Intent) -> Outcome:
        """Run one intent: what it wrote, or its refusal."""
        try:
            return self.run(intent)
        except AimemError as refusal:
            return refusal

    def run(self, intent: Intent) -> Written:
        """Carry out one intent. It is judged before anything is written, so what it raises leaves nothing behind."""
        self._forget()
        decision = decide(intent, self, self._answer)
        for record in decision.records:
            self.put(record)
        for name, position in (decision.progress or {}).items():
            self._keep(name, position)
        return Written(decision.reply, tuple(decision.records))

    def rehearse(self, intent: Intent) -> Rehearsed:
        """What an intent would read and come to. Writes nothing."""
        self._forget()
        return rehearse(intent, self, self._answer)

    def _answer(self, read: Read) -> Record | PairState | Sequence[Record] | Sequence[Standing] | None:
        if isinstance(read, Get):
            return self._record(read.ref)
        if isinstance(read, Look):
            return self._in_force(read.ref)
        if isinstance(read, Chain):
            if self.resident:  # perhaps a rule, which then is in force for what follows in this group
                return standing_over(read.namespace, standing_in(self._in_force))
            return self._resident.chain(read.namespace)
        if isinstance(read, Holding):
            return resolve(read.pair, self._lookup, (row.record for row in self._others(read.pair)))
        if isinstance(read, Links):
            return self._links_of(read.memory_id)
        return self._touches_of(read.memory_id)

    def _lookup(self, memory_id: str) -> Record | None:
        return self._record(Ref(MEMORY, memory_id))

    def _in_force(self, ref: Ref) -> Record | None:
        """As `_record`, from memory where the kind is kept there."""
        if ref.kind not in RESIDENT:
            return self._record(ref)
        return self.resident.get(ref) or self._resident.get(ref)

    def _record(self, ref: Ref) -> Record | None:
        found = self._find(ref)
        return found.record if found else None

    def put(self, record: Record) -> None:
        """Make `record` what stands under its address, with everything that derives from it."""
        held = self._find(record.ref)
        self.head += 1
        self.clock.observe(record.version.time)
        stage(self.deltas, held.record if held else None, record)
        if record.kind in RESIDENT:
            self.resident[record.ref] = record
        if record.kind == MEMORY:
            self._put_memory(held, record)
            return
        row = self._write(held, record, columns_of(record), visible=False)
        self._note(row, record, held, visible=False)
        if record.kind == TOUCH:
            self._extend(source_key(TOUCH, record.key))

    def _put_memory(self, held: Row | None, record: Record) -> None:
        pair = pair_of(record)
        plain = plain_id(pair) if pair is not None else ""
        columns = columns_of(record) if pair is None else self._live_columns(record, pair, plain)
        visible = pair is not None and self._arrange(pair, record, plain)
        row = self._write(held, record, columns, visible=visible)
        self._words(row, held.record if held and held.visible else None, record if visible else None)
        self.shown += visible - (held.visible if held else 0)
        self._note(row, record, held, visible=visible)
        old_pair = pair_of(held.record) if held else None
        if old_pair is not None and old_pair != pair:
            self._reveal(old_pair)
        if record.deleted or held is None or held.record.born != record.born:
            self._drop_outlived(record)
        if held is not None and held.record.born != record.born:
            self._age_touches(held.record)

    def _live_columns(self, record: Record, pair: Pair, plain: str) -> Columns:
        body = record.body
        return Columns(
            namespace=pair.namespace,
            pair=None if plain == record.key else pair_text(pair),
            tier=effect_of(record).rank,
            priority=body["priority"],
            created=body.get("created_at", record.born.time),
            updated=body.get("updated_at", record.version.time),
            expires=self._expires(record, new=record.version.origin == self._origin and not record.version.step),
        )

    def _arrange(self, pair: Pair, record: Record, plain: str) -> bool:
        """Hide all but the newest live record of a pair, whose plain id is `plain`. True when that is `record`."""
        rivals = {other.record.key: other for other in self._others(pair)}
        if plain != record.key:
            holder = self._find(Ref(MEMORY, plain))
            if holder is not None and pair_of(holder.record) == pair:
                rivals[holder.record.key] = holder
        rivals.pop(record.key, None)
        if not rivals:
            return True
        newest = by_age([record, *(rival.record for rival in rivals.values())])[0].key
        for rival in rivals.values():
            self._set_visible(rival, visible=rival.record.key == newest)
        return newest == record.key

    def _reveal(self, pair: Pair) -> None:
        """Let the newest of those that were hidden behind a pair hold it, now that its holder is gone."""
        state = resolve(pair, self._lookup, (row.record for row in self._others(pair)))
        if state.holder is not None and (row := self._find(state.holder.ref)) is not None:
            self._set_visible(row, visible=True)

    def _set_visible(self, row: Row, *, visible: bool) -> None:
        if row.visible == visible:
            return
        self._show(row, visible=visible)
        self._words(row.row, row.record if row.visible else None, row.record if visible else None)
        self.shown += 1 if visible else -1
        self.changes.append(Change(row.seq, row.row, row.record, row.record, visible))

    def _note(self, row: int, record: Record, held: Row | None, *, visible: bool) -> None:
        self.changes.append(Change(self.head, row, record, held.record if held else None, visible))

    def _expires(self, record: Record, *, new: bool) -> int | None:
        """The expiry in effect, extensions considered; None for no end. Nobody can have touched a `new` version, one
        that was just written here."""
        expires = effect_of(record).expires
        if expires == NEVER:
            return None
        return expires if new else max(expires, use_of(record, self._touches_of(record.key)).expires)

    def _extend(self, memory_id: str) -> None:
        """Bring the expiry of a memory up to date after one of its touches changed."""
        row = self._find(Ref(MEMORY, memory_id))
        if row is not None and pair_of(row.record) is not None:
            self._set_expires(row, self._expires(row.record, new=False))

    def _drop_outlived(self, memory: Record) -> None:
        """Vectors go with their memory: any node can make ours again from the text, should that come back."""
        vector = self._record(Ref(VECTOR, memory.key)) if memory.deleted else None
        embeddings = self._embeddings_of(memory.key)
        for derived in [vector, *embeddings] if vector else embeddings:
            if not derived.deleted and outlives(derived, memory):
                self._erase(derived)

    def _grows_old(self, record: Record) -> bool:
        """Whether this goes by itself some day: tombstones, kinds of a fixed life, touches of no birth that is held."""
        if record.kind == TOUCH:
            memory = self._record(Ref(MEMORY, source_key(TOUCH, record.key)))
            return memory is None or memory.born != born_of_touch(record)
        return record.deleted or kind_of(record.kind).life_of(record.deleted) is not None

    def _erase(self, record: Record) -> None:
        """Drop a record without a tombstone. Not for memories."""
        stage(self.deltas, record, None)
        self._drop(record.ref)

    def drop_touches(self, found: Iterable[Row], read_by_all: int) -> int:
        """Of touches that grew old, drop those of births that ended, as all have read: no late write of them can come.
        How many."""
        dropped = 0
        for touch in found:
            memory = self._find(Ref(MEMORY, source_key(TOUCH, touch.record.key)))
            if memory is not None and memory.record.born == born_of_touch(touch.record):
                self._keep_young(touch)
            elif memory is None or memory.seq <= read_by_all:
                self._drop(touch.record.ref)
                dropped += 1
        return dropped

    def drop_tombstones(self, found: Iterable[Grave]) -> None:
        """Drop tombstones that all have read, with the touches of what they ended. Raises the floor."""
        for grave in found:
            self.floor = max(self.floor, parse_version(grave.version).time)
            self._drop(grave.ref)
            for touch in self._touches_of(grave.ref.key) if grave.ref.kind == MEMORY else ():
                self._drop(touch.ref)

    def write_anew(self, found: Iterable[Record], limit: int, last: int) -> None:
        """Write records above `limit` (ns) anew; `last` is the highest time of any other. See `Store.restamp`."""
        self.clock = HybridClock(last)
        for record in in_order(found):
            new = restamped(record, limit, self.version)
            if new is None or new.ref != record.ref:
                self._erase(record)
            if new is not None:
                self.put(new)

    # What a store does.

    @abstractmethod
    def _forget(self) -> None:
        """A new intent begins: what was read for the last one may be read anew."""

    @abstractmethod
    def _find(self, ref: Ref) -> Row | None:
        """The row under an address."""

    @abstractmethod
    def _touches_of(self, memory_id: str) -> list[Record]:
        """The touch records of a memory."""

    @abstractmethod
    def _embeddings_of(self, memory_id: str) -> list[Record]:
        """The vectors of a memory that other programs made."""

    @abstractmethod
    def _links_of(self, memory_id: str) -> list[Record]:
        """The live links from or to a memory."""

    @abstractmethod
    def _others(self, pair: Pair) -> list[Row]:
        """The live rows of a pair whose id is not the plain derived one."""

    @abstractmethod
    def _write(self, held: Row | None, record: Record, columns: Columns, *, visible: bool) -> int:
        """Write the row itself. Its number."""

    @abstractmethod
    def _show(self, row: Row, *, visible: bool) -> None:
        """Note in a row whether reads may show it."""

    @abstractmethod
    def _words(self, row: int, old: Record | None, new: Record | None) -> None:
        """Put the words of `new` in the place of those of `old`; None for none."""

    @abstractmethod
    def _set_expires(self, row: Row, expires: int | None) -> None:
        """Note in a row when it expires."""

    @abstractmethod
    def _age_touches(self, ended: Record) -> None:
        """From now on the touches of this birth grow old: another has followed it."""

    @abstractmethod
    def _keep_young(self, touch: Row) -> None:
        """A touch does not grow old after all: its birth is held again."""

    @abstractmethod
    def _drop(self, ref: Ref) -> None:
        """Drop a row that is no visible memory."""

    @abstractmethod
    def _keep(self, name: str, position: int) -> None:
        """Keep a named position; a negative one forgets the name."""
