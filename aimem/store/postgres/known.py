"""What a group reads of the database, and how it is fetched: all that is missing at once, a round trip for all of it.

Intents ask for one thing at a time. On a network each question would cost a round trip, while every other writer of the
fleet waits; so a group runs against what is `Known`, notes what is not, and is run again when that was fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple

from aimem.core.kinds import EMBEDDING, LINK, MEMORY, TOUCH, compound_key, source_key
from aimem.core.pairs import pair_of, plain_id
from aimem.core.record import Record, Ref
from aimem.core.version import stored_version
from aimem.limits import RECENT_ROW_BYTES_MAX, RECENT_ROWS_MAX
from aimem.store.postgres.seen import Seen
from aimem.store.postgres.session import Connection, rows
from aimem.store.postgres.text import stored, told
from aimem.store.transaction import Row, pair_text

COLUMNS = "row, seq, visible, kind, key, version, born, deleted, body, hash, extra"
FIELDS = ", ".join(f"r.{name}" for name in COLUMNS.split(", "))

PAIR = "pair"


class Family(NamedTuple):
    """Records that are found together: the touches, embeddings or links of a memory, by the kind and its id, or those
    whose id is not the plain one of their pair (PAIR, and the pair's text)."""

    what: str
    of: str


def row_of(values: tuple[Any, ...]) -> Row:
    """The row that a SELECT of COLUMNS gave."""
    row, seq, visible, kind, key, version, born, deleted, body, content_hash, extra = values
    made = stored_version(version)
    record = Record(
        told(kind),
        told(key),
        made,
        made if born == version else stored_version(born),
        body.encode(),
        deleted=deleted,
        extra=extra.encode(),
        hash=content_hash,
    )
    return Row(row, seq, visible, record)


@lru_cache(maxsize=1024)  # of one memory it is wanted several times
def pair_hash(pair: str) -> bytes:
    """A pair's text as the column has it."""
    return sha256(pair.encode()).digest()


def mark_of(family: Family) -> Hashable:
    """A family as `Seen` knows it: by what its members have in their columns."""
    return (PAIR, pair_hash(family.of)) if family.what == PAIR else family


def paired(pair: str | None) -> tuple[Family, ...]:
    """Where a memory is found beside its address, by what its column `pair` is made of."""
    return () if pair is None else (Family(PAIR, pair),)


def families_of(record: Record) -> tuple[Family, ...]:
    """Where a record is found beside its address."""
    if record.kind in (TOUCH, EMBEDDING):
        return (Family(record.kind, source_key(*record.ref)),)
    if record.kind == LINK and not record.deleted:
        source = record.key.partition("/")[0].replace("%2F", "/").replace("%25", "%")
        ends = (source, record.body.get("target_id"))
        return tuple(Family(LINK, end) for end in dict.fromkeys(ends) if isinstance(end, str))
    if record.kind == MEMORY and (pair := pair_of(record)) is not None and plain_id(pair) != record.key:
        return paired(pair_text(pair))
    return ()


@dataclass(slots=True)
class Missing:
    """What was asked for and is not known."""

    refs: dict[Ref, None] = field(default_factory=dict)
    families: dict[Family, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.refs or self.families)


class Known:
    """What has been read in the transaction that is under way, or, of `recent` rows and of what was not `seen`, needed
    not be. `foretold` is what the group before writes, which is not committed yet."""

    def __init__(
        self,
        recent: Mapping[Ref, Row] | None = None,
        seen: Seen | None = None,
        foretold: Mapping[Ref, Row | None] | None = None,
    ) -> None:
        self._recent: Mapping[Ref, Row] = {} if recent is None else recent
        self._foretold: Mapping[Ref, Row | None] = {} if foretold is None else foretold
        self._seen = seen
        self.rows: dict[Ref, Row | None] = {}
        self._families: dict[Family, list[Ref]] = {}
        self._moment: int | None = None

    @property
    def holds_any(self) -> bool:
        """Whether anything was found of what was asked for."""
        return any(self.rows.values())

    def knows(self, ref: Ref) -> bool:
        """Whether it is known what stands under this address; `rows` has it then, where anything does."""
        if ref in self.rows:
            return True
        if ref in self._foretold:
            self.rows[ref] = self._foretold[ref]
            return True
        if (row := self._recent.get(ref)) is None:
            return self._seen is not None and ref not in self._seen
        self.rows[ref] = row
        return True

    def members(self, family: Family) -> Sequence[Ref] | None:
        """Who is of this family; None where that is not known."""
        found = self._families.get(family)
        if found is None and self._seen is not None and family.what != LINK and mark_of(family) not in self._seen:
            return ()
        return found

    def moment(self, now: Callable[[], int]) -> int:
        """The time (ns) of the transaction, one for all its runs: what an intent reads may depend on its version."""
        if self._moment is None:
            self._moment = now()
        return self._moment

    async def fetch(self, connection: Connection, missing: Missing) -> None:
        """Read what is missing. Statements go out together where the connection is in pipeline mode."""
        await self.read(await ask(connection, missing), missing)

    async def read(self, answers: Sequence[Any], missing: Missing) -> None:
        """Take in the answers to `ask`."""
        self.rows.update(dict.fromkeys(missing.refs))
        self._families.update((family, []) for family in missing.families)
        for answer in answers:
            self.add(map(row_of, await answer.fetchall()))

    def add(self, found: Iterable[Row]) -> None:
        """Note rows as they stand, and whose family they belong to where that is being read."""
        for row in found:
            self.rows[row.record.ref] = row
            for family in families_of(row.record):
                members = self._families.get(family)
                if members is not None and row.record.ref not in members:
                    members.append(row.record.ref)


class Recent:
    """Rows that the last groups of this node have read or written, and in a load what may stand there at all. It is so
    while the store is in the state that the last of them led to: as long as no other node writes."""

    def __init__(self) -> None:
        self._rows: dict[Ref, Row] = {}
        self._seen: Seen | None = None
        self._state: object = None

    def of(self, state: object) -> Known:
        """What is known in this state before anything is read."""
        if state is not self._state:
            self.forget()
        return Known(self._rows, self._seen)

    def foretold(self, written: Mapping[Ref, Row | None]) -> Known:
        """What is known once a group that wrote this is committed, and what it wrote was noted."""
        return Known(self._rows, self._seen, written)

    def load(self, state: object, seen: Seen | None) -> None:
        """In this state nothing stands that `seen` denies; from now on it is told of what is written."""
        self.forget()
        self._state, self._seen = state, seen

    def forget(self) -> None:
        """Another node has written: nothing that was known before need be so."""
        self._rows.clear()
        self._seen = None

    def keep(self, state: object, read: Mapping[Ref, Row | None], now: Mapping[Ref, Row | None]) -> None:
        """In this state rows are as they were `read`, those that a group wrote as they are `now`, and all others as
        they were."""
        self._state, rows = state, self._rows
        for one in (read, now):
            for ref in rows.keys() & one.keys():  # the last that were used stand last
                del rows[ref]
            rows |= {
                ref: row for ref, row in one.items() if row is not None and len(row.record.raw) <= RECENT_ROW_BYTES_MAX
            }
        for ref in list(islice(rows, max(0, len(rows) - RECENT_ROWS_MAX))):
            del rows[ref]

    def note(self, refs: Iterable[Ref], families: Iterable[Family]) -> None:
        """These were written, so they may stand there."""
        if self._seen is not None:
            self._seen.add(*refs, *map(mark_of, families))


async def ask(connection: Connection, missing: Missing) -> list[Any]:
    """Send the questions for what is missing: cursors."""
    by_kind: dict[str, list[str]] = {}
    for family in missing.families:
        by_kind.setdefault(family.what, []).append(family.of)
    answers = []
    if missing.refs:
        kinds, keys = zip(*missing.refs, strict=True)
        answers.append(await connection.execute(_BY_REF, (list(map(stored, kinds)), list(map(stored, keys)))))
    answers += [
        await connection.execute(_MADE, (list(map(stored, ids)), kind))
        for kind in (TOUCH, EMBEDDING)
        if (ids := by_kind.get(kind))
    ]
    if ids := by_kind.get(LINK):
        sources = [stored(compound_key(each)) for each in ids]
        answers.append(await connection.execute(_LINKS_FROM, (sources, LINK)))
        answers.append(await connection.execute(_LINKS_TO, (list(map(stored, ids)),)))
    if pairs := by_kind.get(PAIR):
        answers.append(await connection.execute(_BY_PAIR, (list(map(pair_hash, pairs)),)))
    return answers


async def touches_of(connection: Connection, ids: Iterable[str]) -> dict[str, list[Record]]:
    """The touch records of memories, by memory."""
    touches: dict[str, list[Record]] = {}
    asked = [stored(each) for each in dict.fromkeys(ids)]
    for touch in (row_of(values).record for values in await rows(connection, _MADE, (asked, TOUCH)) if asked):
        touches.setdefault(source_key(*touch.ref), []).append(touch)
    return touches


_BY_REF = (
    f"SELECT {FIELDS} FROM unnest(%s::text[], %s::text[]) AS asked (kind, key) "
    "JOIN record r ON r.kind = asked.kind AND r.key = asked.key"
)
# OFFSET keeps the look-up of each id on its own: as a plain join, all of the kind was compared with every id asked for.
_MADE = (
    f"SELECT {FIELDS} FROM unnest(%s::text[]) AS asked (id) CROSS JOIN LATERAL (SELECT * FROM record "
    "WHERE kind = %s AND key >= asked.id || '/' AND key < asked.id || '0' OFFSET 0) r"  # "0" follows "/"
)
_LINKS_FROM = f"{_MADE} WHERE NOT r.deleted"
_LINKS_TO = f"SELECT {FIELDS} FROM record r WHERE r.target = ANY(%s::text[])"
_BY_PAIR = f"SELECT {FIELDS} FROM record r WHERE r.pair = ANY(%s::bytea[])"
