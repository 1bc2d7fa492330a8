"""A row as it is to be written, and the statements that write what a group came to.

In a load rows that are new are copied in: that takes the server half of what it takes to look each up first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from aimem.core.automatic import NEVER
from aimem.core.record import Record
from aimem.core.visibility import scope_of
from aimem.limits import LOAD_LINES
from aimem.store.postgres.known import pair_hash
from aimem.store.postgres.lines import NOTHING, line
from aimem.store.postgres.session import Connection, copying
from aimem.store.postgres.text import array, stored
from aimem.store.transaction import NONE, Columns


@dataclass(slots=True)
class Put:
    """A row as it is to be written."""

    seq: int
    record: Record
    columns: Columns
    stored: int | None
    visible: bool
    expires: int | None

    def values(self, row: int) -> tuple[Any, ...]:
        """In the order of `TYPES`."""
        record, columns = self.record, self.columns
        shown: tuple[Any, ...] = NOTHING
        if columns is not NONE:
            shown = (
                None if columns.target is None else stored(columns.target),
                _integer(columns.archived),
                None if columns.namespace is None else stored(columns.namespace),
                None if columns.pair is None else pair_hash(columns.pair),
                columns.tier,
                _integer(columns.priority),
                _integer(columns.created),
                _integer(columns.updated),
                self.expires,
                *self._shown(),
            )
        version = record.stamp
        return (
            row,
            stored(record.kind),
            stored(record.key),
            self.seq,
            self.seq,
            version,
            version if record.born is record.version else str(record.born),
            record.deleted,
            record.raw.decode(),
            record.hash,
            record.extra.decode(),
            self.stored,
            self.visible,
            *shown,
        )

    def _shown(self) -> tuple[str | None, ...]:
        """Scope, author and tags of a live memory."""
        if self.columns.tier is None:
            return None, None, None
        body = self.record.body
        metadata = body["metadata"]
        author = metadata.get("agent_id")
        tags = array([tag for tag in body["tags"] if isinstance(tag, str)])
        return stored(scope_of(metadata)), stored(author) if isinstance(author, str) else None, tags


def _integer(value: Any) -> int | None:
    """A number of a body as a column holds it: records of other programs may carry any."""
    if type(value) is int and -NEVER <= value <= NEVER:
        return value
    if not isinstance(value, int | float) or value != value:
        return None
    return int(min(max(value, -NEVER), NEVER))


TYPES = {
    "row": "bigint",
    "kind": "text",
    "key": "text",
    "seq": "bigint",
    "since": "bigint",
    "version": "text",
    "born": "text",
    "deleted": "boolean",
    "body": "text",
    "hash": "bytea",
    "extra": "text",
    "stored": "bigint",
    "visible": "boolean",
    "target": "text",
    "archived": "bigint",
    "namespace": "text",
    "pair": "bytea",
    "tier": "smallint",
    "priority": "bigint",
    "created": "bigint",
    "updated": "bigint",
    "expires": "bigint",
    "scope": "text",
    "agent": "text",
    "tags": "text",
}
_SINCE = "since = CASE WHEN record.born = excluded.born THEN record.since ELSE excluded.seq END"
UPSERT = (
    f"INSERT INTO record ({', '.join(TYPES)}) "
    f"SELECT {', '.join('tags::text[]' if name == 'tags' else name for name in TYPES)} "
    f"FROM unnest({', '.join(f'%b::{kind}[]' for kind in TYPES.values())}) AS t ({', '.join(TYPES)}) "
    "ON CONFLICT (row) DO UPDATE SET "
    + ", ".join(_SINCE if name == "since" else f"{name} = excluded.{name}" for name in TYPES if name != "row")
)
SET = {
    name: f"UPDATE record SET {name} = t.value FROM unnest(%s::bigint[], %s::{TYPES[name]}[]) AS t (row, value) "
    f"WHERE record.row = t.row AND record.{name} IS DISTINCT FROM t.value"
    for name in ("visible", "expires", "stored")
}
SET_WORDS = (
    "INSERT INTO words (row, size, found) "
    "SELECT row, size, found::tsvector FROM unnest(%b::bigint[], %b::integer[], %b::text[]) AS t (row, size, found) "
    "ON CONFLICT (row) DO UPDATE SET size = excluded.size, found = excluded.found"
)
SET_POSITIONS = (
    "INSERT INTO progress (name, position) SELECT * FROM unnest(%s::text[], %s::bigint[]) "
    "ON CONFLICT (name) DO UPDATE SET position = excluded.position"
)
SET_SUMS = (
    "UPDATE digest SET sum = t.sum FROM unnest(%s::smallint[], %s::bytea[]) AS t (bucket, sum) "
    "WHERE digest.bucket = t.bucket"
)


async def copy_rows(connection: Connection, puts: Iterable[tuple[int, Put]]) -> None:
    """Write rows that are new, by their numbers."""
    lines = (line(put.values(row)).encode() for row, put in puts)
    async with copying(connection, f"COPY record ({', '.join(TYPES)}) FROM STDIN") as copy:
        while some := b"".join(islice(lines, LOAD_LINES)):  # the server takes them in while the next are made
            await copy.write(some)


async def copy_words(connection: Connection, spelled: Iterable[Callable[[], Awaitable[bytes]]]) -> None:
    """Write the words of memories that had none: the lines that `spelling.lines` gives."""
    async with copying(connection, "COPY words (row, size, found) FROM STDIN") as copy:
        for lines in spelled:
            await copy.write(await lines())
