"""One group's writes, gathered: a view of the tables in which what the group wrote stands before what is known of them.

A group is run anew until nothing that it reads is missing (see `known`). Until then what is missing is taken for
absent, so that one run finds most of what is read; what such a run comes to is thrown away, unless all of that turns
out to be absent indeed. Intents may be run so often: they are pure, and every run gets a stamp of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from aimem.core.automatic import touch_key
from aimem.core.kinds import EMBEDDING, LINK, MEMORY, TOUCH
from aimem.core.pairs import Pair
from aimem.core.record import Record, Ref
from aimem.core.text import indexed_text
from aimem.limits import LOAD_SPELL_TEXTS
from aimem.store import transaction
from aimem.store.postgres.known import PAIR, Family, Known, Missing, Recent, families_of, paired
from aimem.store.postgres.session import Connection
from aimem.store.postgres.speller import Spelled, Speller
from aimem.store.postgres.standing import Standing
from aimem.store.postgres.statements import (
    SET,
    SET_POSITIONS,
    SET_SUMS,
    SET_WORDS,
    UPSERT,
    Put,
    copy_rows,
    copy_words,
)
from aimem.store.postgres.text import stored
from aimem.store.postgres.words import lexemes
from aimem.store.resident import Resident
from aimem.store.state import packed_sum
from aimem.store.transaction import Columns, Row, pair_text


class Transaction(transaction.Transaction):
    """One group's view of the store. `missing` is what it would have had to know; it `gave_up` where something failed
    for lack of it."""

    def __init__(
        self,
        known: Known,
        state: Standing,
        resident: Resident,
        *,
        now: int,
        origin: str,
    ) -> None:
        super().__init__(state, resident, now=now, origin=origin)
        self.missing = Missing()
        self.gave_up = False
        self.last_row = self._last_before = state.last_row
        self._known = known
        self._now_there: dict[Ref, Row | None] = {}  # what this group has written
        self._joined: dict[Family, list[Ref]] = {}
        self._put: dict[int, Put] = {}
        self._dropped: list[int] = []
        self._shown: dict[int, bool] = {}
        self._expiries: dict[int, int | None] = {}
        self._stored: dict[int, int | None] = {}
        self._texts: dict[int, Record | None] = {}
        self._positions: dict[str, int] = {}
        self._spelled: list[Spelled] | None = None

    def _forget(self) -> None:
        """Nobody else writes: what was read stays so."""

    def _find(self, ref: Ref) -> Row | None:
        if ref in self._now_there:
            return self._now_there[ref]
        if not self._known.knows(ref):
            self.missing.refs[ref] = None
            return None
        return self._known.rows.get(ref)

    def _members(self, family: Family) -> list[Row]:
        if (members := self._known.members(family)) is None:
            self.missing.families[family] = None
            members = ()
        if not members and family not in self._joined:
            return []
        refs = dict.fromkeys((*members, *self._joined.get(family, ())))
        rows = (self._find(ref) for ref in refs)
        return [row for row in rows if row is not None and family in families_of(row.record)]

    def _touches_of(self, memory_id: str) -> list[Record]:
        return [row.record for row in self._members(Family(TOUCH, memory_id))]

    def _embeddings_of(self, memory_id: str) -> list[Record]:
        return [row.record for row in self._members(Family(EMBEDDING, memory_id))]

    def _links_of(self, memory_id: str) -> list[Record]:
        return [row.record for row in self._members(Family(LINK, memory_id))]

    def _others(self, pair: Pair) -> list[Row]:
        return self._members(Family(PAIR, pair_text(pair)))

    def _write(self, held: Row | None, record: Record, columns: Columns, *, visible: bool) -> int:
        if held is None:
            self.last_row += 1
        row = self.last_row if held is None else held.row
        grows_old = self.now if self._grows_old(record) else None
        self._now_there[record.ref] = Row(row, self.head, visible, record)
        for noted in (self._shown, self._expiries, self._stored) if held is not None else ():
            noted.pop(row, None)
        self._put[row] = Put(self.head, record, columns, grows_old, visible, columns.expires)
        for family in families_of(record) if record.kind != MEMORY else paired(columns.pair):
            self._joined.setdefault(family, []).append(record.ref)
        return row

    def _show(self, row: Row, *, visible: bool) -> None:
        self._now_there[row.record.ref] = row._replace(visible=visible)
        if (put := self._put.get(row.row)) is not None:
            put.visible = visible
        else:
            self._shown[row.row] = visible

    def _words(self, row: int, old: Record | None, new: Record | None) -> None:
        if old is not None and new is not None and indexed_text(old) == indexed_text(new):
            return
        if old is not None or new is not None:
            self._texts[row] = new

    def _set_expires(self, row: Row, expires: int | None) -> None:
        if (put := self._put.get(row.row)) is not None:
            put.expires = expires
        else:
            self._expiries[row.row] = expires

    def _set_stored(self, row: int, at: int | None) -> None:
        if (put := self._put.get(row)) is not None:
            put.stored = at
        else:
            self._stored[row] = at

    def _age_touches(self, ended: Record) -> None:
        first = touch_key(ended.key, ended.born, "")
        for touch in self._members(Family(TOUCH, ended.key)):
            if touch.record.key.startswith(first):
                self._set_stored(touch.row, self.now)

    def _keep_young(self, touch: Row) -> None:
        self._set_stored(touch.row, None)

    def _drop(self, ref: Ref) -> None:
        if (row := self._find(ref)) is not None:
            self._now_there[ref] = None
            self._put.pop(row.row, None)
            self._dropped.append(row.row)

    def drop_aged(self, aged: Iterable[tuple[int, Ref]]) -> None:
        """Drop rows that are past a fixed life. They need not be known: nothing derives from them, not the digest."""
        for row, ref in aged:
            self._now_there[ref] = None
            self._dropped.append(row)

    def _keep(self, name: str, position: int) -> None:
        self._positions[name] = position

    def still_there(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Those that this group has not dropped by now."""
        return (row for row in rows if self._find(row.record.ref) is not None)

    def forgiving(self) -> Forgiving:
        """What fails in a run that lacks something means nothing: it is run again."""
        return Forgiving(self)

    def foretell(self, recent: Recent) -> None:
        """Have it noted, before the commit, what this group writes. Should that fail, it is asked for in vain."""
        recent.note(self._now_there, self._joined)

    def foretold(self, recent: Recent) -> Known:
        """What will be known once this group is committed."""
        return recent.foretold(self._now_there)

    def remembered(self, recent: Recent, state: Standing) -> None:
        """Have it kept what was read and written: this group has led to that state."""
        recent.keep(state, self._known.rows, self._now_there)

    @property
    def has_written(self) -> bool:
        """Whether there is anything to save."""
        noted = (self._put, self._dropped, self._shown, self._expiries, self._stored, self._texts, self._positions)
        return any(noted)

    def spell(self, speller: Speller) -> None:
        """Have the words spelled that `copy` will write; nothing is written here from then on."""
        if self._spelled is not None:
            return
        texts = [
            (row, each.born.time, each.raw) for row, each in self._texts.items() if each and row > self._last_before
        ]
        starts = range(0, len(texts), LOAD_SPELL_TEXTS)
        self._spelled = [speller.begin(texts[at : at + LOAD_SPELL_TEXTS]) for at in starts]

    async def copy(self, connection: Connection, speller: Speller) -> None:
        """In a load: write what is new by COPY; `save` does the rest. All of it where rows go whose places new ones may
        take."""
        if self._dropped:
            return
        self.spell(speller)
        new = {row: put for row, put in self._put.items() if row > self._last_before}
        if new:
            await copy_rows(connection, new.items())
        if self._spelled:
            await copy_words(connection, self._spelled)
        self._put = {row: put for row, put in self._put.items() if row not in new}
        self._texts = {row: record for row, record in self._texts.items() if row not in new}

    async def save(self, connection: Connection, sums: Sequence[int]) -> None:
        """Write what the group came to. `sums` are those of the digest after it."""
        if self._dropped:
            await connection.execute("DELETE FROM record WHERE row = ANY(%s::bigint[])", (self._dropped,))
        if self._put:
            values = [put.values(row) for row, put in sorted(self._put.items())]
            await connection.execute(UPSERT, [list(column) for column in zip(*values, strict=True)])
        for name, changed in (("visible", self._shown), ("expires", self._expiries), ("stored", self._stored)):
            if changed:
                await connection.execute(SET[name], (list(changed), list(changed.values())))
        await self._save_words(connection)
        await self._save_positions(connection)
        if self.deltas:
            buckets = sorted(self.deltas)
            await connection.execute(SET_SUMS, (buckets, [packed_sum(sums[bucket]) for bucket in buckets]))

    async def _save_words(self, connection: Connection) -> None:
        gone = [row for row, record in self._texts.items() if record is None]
        kept = [(row, *lexemes(record)) for row, record in self._texts.items() if record is not None]
        if gone:
            await connection.execute("DELETE FROM words WHERE row = ANY(%s::bigint[])", (gone,))
        if kept:
            rows, found, sizes = zip(*kept, strict=True)
            await connection.execute(SET_WORDS, (list(rows), list(sizes), list(found)))

    async def _save_positions(self, connection: Connection) -> None:
        kept = {stored(name): position for name, position in self._positions.items() if position >= 0}
        gone = [stored(name) for name, position in self._positions.items() if position < 0]
        if gone:
            await connection.execute("DELETE FROM progress WHERE name = ANY(%s::text[])", (gone,))
        if kept:
            await connection.execute(SET_POSITIONS, (list(kept), list(kept.values())))


class Forgiving:
    """See `Transaction.forgiving`. For any number of attempts: one is made of each intent."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not (isinstance(error, Exception) and self._transaction.missing):
            return False
        self._transaction.gave_up = True
        return True


Program = Callable[[Transaction], None]
"""What is to be done in a transaction; it may be run several times."""
