"""Records in their table, inside one transaction of the writer: how rows are found and written, and words indexed.

The rules by which records change the store are those of `store.transaction`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from aimem.core.automatic import touch_key
from aimem.core.kinds import EMBEDDING, KINDS, LINK, RESIDENT, TOUCH, compound_key, source_key
from aimem.core.pairs import Pair
from aimem.core.record import Record, Ref
from aimem.core.text import indexed_text
from aimem.core.version import parse_version, stored_version
from aimem.store import transaction
from aimem.store.resident import Resident
from aimem.store.state import State
from aimem.store.transaction import Columns, Grave, Row, pair_text

COLUMNS = "row, seq, visible, kind, key, version, born, deleted, body, hash, extra"


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


def resident_of(connection: sqlite3.Connection) -> Resident:
    """The live records of the kinds that are kept in memory."""
    marks = ", ".join("?" for _ in RESIDENT)
    found = connection.execute(f"SELECT {COLUMNS} FROM record WHERE kind IN ({marks}) AND deleted = 0", (*RESIDENT,))
    return Resident(row_of(values).record for values in found)


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


class Transaction(transaction.Transaction):
    """One group's view of the file; its statements run as the rules ask for them."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: State,
        resident: Resident,
        *,
        now: int,
        origin: str,
    ) -> None:
        super().__init__(state, resident, now=now, origin=origin)
        self._connection = connection
        self._found: dict[Ref, Row | None] = {}  # what the intent in hand has read, until it writes there
        self._touches: dict[str, list[Record]] = {}

    def sweep_touches(self, before: int, read_by_all: int, limit: int) -> int:
        """Drop touches of births that ended before `before`. How many."""
        found = self._connection.execute(
            f"SELECT {COLUMNS} FROM record WHERE stored < ? AND +kind = ? ORDER BY stored LIMIT ?",
            (before, TOUCH, limit),
        ).fetchall()
        return self.drop_touches((row_of(values) for values in found), read_by_all)

    def sweep_tombstones(self, before: int, read_by_all: int, limit: int) -> int:
        """Drop tombstones that were stored before `before` and read by all. How many."""
        found = self._connection.execute(
            "SELECT row, kind, key, version FROM record "
            "WHERE deleted = 1 AND stored < ? AND seq <= ? ORDER BY stored LIMIT ?",
            (before, read_by_all, limit),
        ).fetchall()
        self.drop_tombstones(Grave(row, Ref(kind, key), version) for row, kind, key, version in found)
        return len(found)

    def sweep_aged(self, now: int, limit: int) -> int:
        """Drop records that are past the fixed life of their kind. How many."""
        dropped = 0
        for name, kind in KINDS.items():
            if kind.life_ns is not None:
                dropped += self._connection.execute(
                    "DELETE FROM record WHERE row IN "
                    "(SELECT row FROM record WHERE kind = ? AND stored < ? ORDER BY stored LIMIT ?)",
                    (name, now - kind.life_ns, limit),
                ).rowcount
        return dropped

    def restamp(self, limit: int) -> int:
        """See `Store.restamp`."""
        bound = f"{limit + 1:016x}"
        found = self._connection.execute(
            f"SELECT {COLUMNS} FROM record WHERE version >= ? OR born >= ?", (bound, bound)
        ).fetchall()
        (last,) = self._connection.execute("SELECT max(version) FROM record WHERE version < ?", (bound,)).fetchone()
        self.write_anew((row_of(values).record for values in found), limit, parse_version(last).time if last else 0)
        return len(found)

    def _forget(self) -> None:
        self._found.clear()
        self._touches.clear()

    def _find(self, ref: Ref) -> Row | None:
        if ref not in self._found:
            values = self._connection.execute(_FIND, ref).fetchone()
            self._found[ref] = row_of(values) if values else None
        return self._found[ref]

    def _touches_of(self, memory_id: str) -> list[Record]:
        if memory_id not in self._touches:
            self._touches[memory_id] = touches_of(self._connection, memory_id)
        return self._touches[memory_id]

    def _embeddings_of(self, memory_id: str) -> list[Record]:
        return _made_of(self._connection, EMBEDDING, memory_id)

    def _links_of(self, memory_id: str) -> list[Record]:
        return [row.record for row in links_of(self._connection, memory_id)]

    def _others(self, pair: Pair) -> list[Row]:
        found = self._connection.execute(f"SELECT {COLUMNS} FROM record WHERE pair = ?", (pair_text(pair),))
        return [row_of(values) for values in found]

    def _write(self, held: Row | None, record: Record, columns: Columns, *, visible: bool) -> int:
        self._unread(record.ref)
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

    def _unread(self, ref: Ref) -> None:
        """What stands here is about to change."""
        self._found.pop(ref, None)
        if ref.kind == TOUCH:
            self._touches.pop(source_key(*ref), None)

    def _show(self, row: Row, *, visible: bool) -> None:
        self._connection.execute("UPDATE record SET visible = ? WHERE row = ?", (visible, row.row))
        self._found.pop(row.record.ref, None)

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

    def _set_expires(self, row: Row, expires: int | None) -> None:
        self._connection.execute(
            "UPDATE record SET expires = ?1 WHERE row = ?2 AND expires IS NOT ?1", (expires, row.row)
        )

    def _age_touches(self, ended: Record) -> None:
        first = touch_key(ended.key, ended.born, "")
        self._connection.execute(
            "UPDATE record SET stored = ? WHERE kind = ? AND key >= ? AND key < ?",
            (self.now, TOUCH, first, f"{first}~"),  # what follows is a hexadecimal number
        )

    def _keep_young(self, touch: Row) -> None:
        self._connection.execute("UPDATE record SET stored = NULL WHERE row = ?", (touch.row,))

    def _drop(self, ref: Ref) -> None:
        self._unread(ref)
        self._connection.execute("DELETE FROM record WHERE kind = ? AND key = ?", ref)

    def _keep(self, name: str, position: int) -> None:
        if position < 0:
            self._connection.execute("DELETE FROM progress WHERE name = ?", (name,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO progress (name, position) VALUES (?, ?)", (name, position))


_FIND = f"SELECT {COLUMNS} FROM record WHERE kind = ? AND key = ?"
_NAMES = (
    *("kind", "key", "seq", "version", "born", "deleted", "body", "hash", "extra", "stored", "visible"),
    *Columns._fields,
)
_INSERT = f"INSERT INTO record ({', '.join(_NAMES)}) VALUES ({', '.join('?' for _ in _NAMES)})"
_UPDATE = f"UPDATE record SET {', '.join(f'{name} = ?' for name in _NAMES)} WHERE row = ?"
