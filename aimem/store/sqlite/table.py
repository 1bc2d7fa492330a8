"""Records in their table, inside one transaction of the writer: reading for intents, and writing with all that derives.

Whatever a read can search by (columns, words, who holds a pair) is brought up to date in the same transaction as the
record. Nothing here commits; what must only change after the commit is staged in the `Transaction`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aimem.core.archiving import archived_at
from aimem.core.automatic import NEVER, born_of_touch, effect_of, is_archived, touch_key, use_of
from aimem.core.clock import HybridClock
from aimem.core.digest import stage
from aimem.core.intent import Get, Holding, Intent, Links, Look, Read, Rehearsed, decide, rehearse
from aimem.core.kinds import (
    EMBEDDING,
    KINDS,
    LINK,
    MEMORY,
    RESIDENT,
    SUPERSEDED,
    TOUCH,
    VECTOR,
    compound_key,
    kind_of,
    source_key,
)
from aimem.core.pairs import Pair, PairState, by_age, pair_of, plain_id, resolve
from aimem.core.record import Record, Ref
from aimem.core.restamping import in_order, restamped
from aimem.core.text import indexed_text
from aimem.core.upkeep import outlives
from aimem.core.version import Version, parse_version, stored_version
from aimem.store.base import Change, Written

COLUMNS = "row, seq, visible, kind, key, version, born, deleted, body, hash, extra"


class Row(NamedTuple):
    """A record as it stands in the table."""

    row: int
    seq: int
    visible: bool
    record: Record


def row_of(values: tuple[Any, ...]) -> Row:
    """The row that a SELECT of COLUMNS gave."""
    row, seq, visible, kind, key, version, born, deleted, body, content_hash, extra = values
    made = stored_version(version)
    record = Record(
        kind,
        key,
        made,
        made if born == version else stored_version(born),
        body.encode(),
        deleted=bool(deleted),
        extra=extra.encode(),
        hash=content_hash,
    )
    return Row(row, seq, bool(visible), record)


def pair_text(pair: Pair) -> str:
    """A pair as one indexed column."""
    return f"{pair.namespace}\0{pair.title}"


def resident_of(connection: sqlite3.Connection) -> dict[Ref, Record]:
    """The live records of the kinds that are kept in memory."""
    marks = ", ".join("?" for _ in RESIDENT)
    found = connection.execute(f"SELECT {COLUMNS} FROM record WHERE kind IN ({marks}) AND deleted = 0", (*RESIDENT,))
    records = (row_of(values).record for values in found)
    return {record.ref: record for record in records}


def touches_of(connection: sqlite3.Connection, memory_id: str) -> list[Record]:
    """The touch records of a memory."""
    return _made_of(connection, TOUCH, memory_id)


def touches_of_all(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, list[Record]]:
    """The touch records of many memories, by memory."""
    found = connection.execute(
        f"WITH asked (memory) AS (SELECT value FROM json_each(?)) SELECT {COLUMNS} FROM asked CROSS JOIN record "
        f"ON kind = '{TOUCH}' AND key >= memory || '/' AND key < memory || '0'",  # "0" follows "/"
        (json.dumps(list(dict.fromkeys(ids))),),
    )
    touches: dict[str, list[Record]] = {}
    for touch in (row_of(values).record for values in found):
        touches.setdefault(source_key(TOUCH, touch.key), []).append(touch)
    return touches


def _made_of(connection: sqlite3.Connection, kind: str, memory_id: str) -> list[Record]:
    """The records of a derived kind, with keys `ID/SUFFIX`, that were made from a memory."""
    found = connection.execute(
        f"SELECT {COLUMNS} FROM record WHERE kind = ? AND key >= ? AND key < ?",
        (kind, f"{memory_id}/", f"{memory_id}0"),  # "0" follows "/"
    )
    records = (row_of(values).record for values in found)
    return [record for record in records if source_key(kind, record.key) == memory_id]


def links_of(connection: sqlite3.Connection, memory_id: str) -> list[Row]:
    """The live links from or to a memory."""
    source = compound_key(memory_id)
    found = connection.execute(
        f"SELECT {COLUMNS} FROM record WHERE kind = '{LINK}' AND key >= ? AND key < ? AND deleted = 0 "
        f"UNION SELECT {COLUMNS} FROM record WHERE target = ?",
        (f"{source}/", f"{source}0", memory_id),
    )
    return [row_of(values) for values in found]


class Transaction:
    """One group's view of the store, and what is to change when it has committed. Also the `Stamp` of its intents."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        now: int,
        origin: str,
        incarnation: str,
        head: int,
        clock: int,
        floor: int,
        resident: Mapping[Ref, Record],
    ) -> None:
        self.now = now
        self.incarnation = incarnation
        self.head = head
        self.clock = HybridClock(clock)
        self.floor = floor
        self.shown = 0
        self.deltas: dict[int, int] = {}
        self.changes: list[Change] = []
        self._connection = connection
        self._origin = origin
        self._found: dict[Ref, Row | None] = {}  # what the intent in hand has read, until it writes there
        self._touches: dict[str, list[Record]] = {}
        self._resident = resident
        self.resident: dict[Ref, Record] = {}

    def version(self) -> Version:
        return Version(self.clock.tick(self.now), self._origin)

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

    def _forget(self) -> None:
        """Read anew from here on."""
        self._found.clear()
        self._touches.clear()

    def _keep(self, name: str, position: int) -> None:
        if position < 0:
            self._connection.execute("DELETE FROM progress WHERE name = ?", (name,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO progress (name, position) VALUES (?, ?)", (name, position))

    def _answer(self, read: Read) -> Record | PairState | list[Record] | None:
        if isinstance(read, Get):
            return self._record(read.ref)
        if isinstance(read, Look):
            known = self.resident.get(read.ref) or self._resident.get(read.ref)
            return known if read.ref.kind in RESIDENT else self._record(read.ref)
        if isinstance(read, Holding):
            return resolve(read.pair, self._lookup, (row.record for row in self._others(read.pair)))
        if isinstance(read, Links):
            return [row.record for row in links_of(self._connection, read.memory_id)]
        return self._touches_of(read.memory_id)

    def _lookup(self, memory_id: str) -> Record | None:
        return self._record(Ref(MEMORY, memory_id))

    def _record(self, ref: Ref) -> Record | None:
        found = self._find(ref)
        return found.record if found else None

    def _find(self, ref: Ref) -> Row | None:
        if ref not in self._found:
            values = self._connection.execute(_FIND, ref).fetchone()
            self._found[ref] = row_of(values) if values else None
        return self._found[ref]

    def _touches_of(self, memory_id: str) -> list[Record]:
        if memory_id not in self._touches:
            self._touches[memory_id] = touches_of(self._connection, memory_id)
        return self._touches[memory_id]

    def _others(self, pair: Pair) -> list[Row]:
        """The live rows of a pair whose id is not the plain derived one."""
        found = self._connection.execute(f"SELECT {COLUMNS} FROM record WHERE pair = ?", (pair_text(pair),))
        return [row_of(values) for values in found]

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
        row = self._write(held, record, _columns(record), visible=False)
        self._note(row, record, held, visible=False)
        if record.kind == TOUCH:
            self._extend(source_key(TOUCH, record.key))

    def _put_memory(self, held: Row | None, record: Record) -> None:
        pair = pair_of(record)
        plain = plain_id(pair) if pair is not None else ""
        columns = _columns(record) if pair is None else self._live_columns(record, pair, plain)
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
        self._connection.execute("UPDATE record SET visible = ? WHERE row = ?", (visible, row.row))
        self._found.pop(row.record.ref, None)
        self._words(row.row, row.record if row.visible else None, row.record if visible else None)
        self.shown += 1 if visible else -1
        self.changes.append(Change(row.seq, row.row, row.record, row.record, visible))

    def _note(self, row: int, record: Record, held: Row | None, *, visible: bool) -> None:
        self.changes.append(Change(self.head, row, record, held.record if held else None, visible))

    def _words(self, row: int, old: Record | None, new: Record | None) -> None:
        before = indexed_text(old) if old else None
        after = indexed_text(new) if new else None
        if before == after:
            return
        if before:
            self._connection.execute(
                "INSERT INTO words (words, rowid, title, content, tags, context) VALUES ('delete', ?, ?, ?, ?, ?)",
                (row, *before),
            )
        if after:
            self._connection.execute(
                "INSERT INTO words (rowid, title, content, tags, context) VALUES (?, ?, ?, ?, ?)", (row, *after)
            )

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
        if row is None or pair_of(row.record) is None:
            return
        self._connection.execute(
            "UPDATE record SET expires = ?1 WHERE row = ?2 AND expires IS NOT ?1",
            (self._expires(row.record, new=False), row.row),
        )

    def _drop_outlived(self, memory: Record) -> None:
        """Vectors go with their memory: any node can make ours again from the text, should that come back."""
        vector = self._find(Ref(VECTOR, memory.key)) if memory.deleted else None
        embeddings = _made_of(self._connection, EMBEDDING, memory.key)
        for derived in [vector.record, *embeddings] if vector else embeddings:
            if not derived.deleted and outlives(derived, memory):
                self._erase(derived)

    def _age_touches(self, ended: Record) -> None:
        """From now on the touches of this birth grow old: another has followed it."""
        first = touch_key(ended.key, ended.born, "")
        self._connection.execute(
            "UPDATE record SET stored = ? WHERE kind = ? AND key >= ? AND key < ?",
            (self.now, TOUCH, first, f"{first}~"),  # what follows is a hexadecimal number
        )

    def sweep_touches(self, before: int, read_by_all: int, limit: int) -> int:
        """Drop touches of births that ended before `before`, as all have read: no late write of them can come."""
        found = self._connection.execute(
            f"SELECT {COLUMNS} FROM record WHERE stored < ? AND +kind = ? ORDER BY stored LIMIT ?",
            (before, TOUCH, limit),
        ).fetchall()
        dropped = 0
        for touch in (row_of(values) for values in found):
            memory = self._find(Ref(MEMORY, source_key(TOUCH, touch.record.key)))
            if memory is not None and memory.record.born == born_of_touch(touch.record):
                self._connection.execute("UPDATE record SET stored = NULL WHERE row = ?", (touch.row,))
            elif memory is None or memory.seq <= read_by_all:
                self._connection.execute("DELETE FROM record WHERE row = ?", (touch.row,))
                dropped += 1
        return dropped

    def sweep_tombstones(self, before: int, read_by_all: int, limit: int) -> int:
        """Drop tombstones that were stored before `before` and read by all, with the touches of what they ended."""
        found = self._connection.execute(
            "SELECT row, kind, key, version FROM record "
            "WHERE deleted = 1 AND stored < ? AND seq <= ? ORDER BY stored LIMIT ?",
            (before, read_by_all, limit),
        ).fetchall()
        for row, kind, key, version in found:
            self.floor = max(self.floor, parse_version(version).time)
            self._connection.execute("DELETE FROM record WHERE row = ?", (row,))
            if kind == MEMORY:
                for touch in touches_of(self._connection, key):
                    self._connection.execute("DELETE FROM record WHERE kind = ? AND key = ?", (TOUCH, touch.key))
        return len(found)

    def restamp(self, limit: int) -> int:
        """See `Store.restamp`."""
        bound = f"{limit + 1:016x}"
        found = self._connection.execute(
            f"SELECT {COLUMNS} FROM record WHERE version >= ? OR born >= ?", (bound, bound)
        ).fetchall()
        (last,) = self._connection.execute("SELECT max(version) FROM record WHERE version < ?", (bound,)).fetchone()
        self.clock = HybridClock(parse_version(last).time if last else 0)
        for record in in_order(row_of(values).record for values in found):
            new = restamped(record, limit, self.version)
            if new is None or new.ref != record.ref:
                self._erase(record)
            if new is not None:
                self.put(new)
        return len(found)

    def _erase(self, record: Record) -> None:
        """Drop a record without a tombstone. Not for memories."""
        self._found.pop(record.ref, None)
        stage(self.deltas, record, None)
        self._connection.execute("DELETE FROM record WHERE kind = ? AND key = ?", record.ref)

    def sweep_aged(self, now: int, limit: int) -> int:
        """Drop records that are past the fixed life of their kind."""
        dropped = 0
        for name, kind in KINDS.items():
            if kind.life_ns is not None:
                dropped += self._connection.execute(
                    "DELETE FROM record WHERE row IN "
                    "(SELECT row FROM record WHERE kind = ? AND stored < ? ORDER BY stored LIMIT ?)",
                    (name, now - kind.life_ns, limit),
                ).rowcount
        return dropped

    def _grows_old(self, record: Record) -> bool:
        """Whether this goes by itself some day: tombstones, kinds of a fixed life, touches of no birth that is held."""
        if record.kind == TOUCH:
            memory = self._find(Ref(MEMORY, source_key(TOUCH, record.key)))
            return memory is None or memory.record.born != born_of_touch(record)
        return record.deleted or kind_of(record.kind).life_ns is not None

    def _write(self, held: Row | None, record: Record, columns: Columns, *, visible: bool) -> int:
        """Write the row itself. Its number."""
        self._found.pop(record.ref, None)
        if record.kind == TOUCH:
            self._touches.pop(source_key(TOUCH, record.key), None)
        values = (
            record.kind,
            record.key,
            self.head,
            str(record.version),
            str(record.born),
            int(record.deleted),
            record.raw.decode(),
            record.hash,
            record.extra.decode(),
            self.now if self._grows_old(record) else None,
            int(visible),
            *columns,
        )
        if held is None:
            return self._connection.execute(_INSERT, values).lastrowid or 0
        self._connection.execute(_UPDATE, (*values, held.row))
        return held.row


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


_NONE = Columns()


def _columns(record: Record) -> Columns:
    """What reads search by, but for live memories, which have more."""
    if record.kind == LINK and not record.deleted:
        return Columns(target=record.body.get("target_id"))
    if record.kind == MEMORY or (record.kind == SUPERSEDED and not record.deleted):
        kept = record.kind == SUPERSEDED or is_archived(record)
        return Columns(namespace=record.body.get("namespace"), archived=archived_at(record) if kept else None)
    return _NONE


_FIND = f"SELECT {COLUMNS} FROM record WHERE kind = ? AND key = ?"
_NAMES = (
    *("kind", "key", "seq", "version", "born", "deleted", "body", "hash", "extra", "stored", "visible"),
    *Columns._fields,
)
_INSERT = f"INSERT INTO record ({', '.join(_NAMES)}) VALUES ({', '.join('?' for _ in _NAMES)})"
_UPDATE = f"UPDATE record SET {', '.join(f'{name} = ?' for name in _NAMES)} WHERE row = ?"
