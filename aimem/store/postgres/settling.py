"""Makes vectors known to the search: from their records into the table `embedding`, behind the writes.

An insert into the graph costs more than all else of a write together. So writes store the record alone, and one node
at a time follows the feed and keeps the table; its position moves in the same transaction, so a kill loses nothing and
does nothing twice. Whoever holds the position's row does it: no lease is needed, and one that died lets go of it.

A table that is to take the place of another (see `partitioning`) is followed up in the same way, with its own position.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import struct
from typing import Any, NamedTuple

from aimem.core.kinds import MEMORY, VECTOR
from aimem.limits import PIECES_MAX, SETTLE_BATCH
from aimem.store.postgres.graph import build_part, wants_graph
from aimem.store.postgres.halves import received, unpacked
from aimem.store.postgres.partitions import EMBEDDING, NAMESPACE, ROOT, is_cut
from aimem.store.postgres.schema import DIMS
from aimem.store.postgres.session import Connection, copying, one, rows

log = logging.getLogger(__name__)

_MARK_HEX = 16
_SIGN = 1 << 63
_LENGTH_ERROR_MAX = 0.01  # float16 moves a unit vector's length by less than 0.001
_COPY_HEAD, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"  # PostgreSQL manual, COPY
_MANY = 10_000  # to count more takes a second, again and again while it is loaded


Place = tuple[str, str]
"""The root that a row has, and its namespace."""


class Kept(NamedTuple):
    """The vectors of a memory, each as its record has it."""

    row: int
    mark: int
    vectors: list[bytes]


async def settle(connection: Connection, model: str, table: str = EMBEDDING, batch: int = SETTLE_BATCH) -> bool:
    """Put the vectors of `model` in that came with the next `batch` changes of memories, inside the caller's
    transaction. Whether there are more, and nobody else is at it."""
    name = _name(model, table)
    position = await _locked(connection, name)
    if position is None:
        return False
    (head,) = await one(connection, "SELECT head FROM state") or (0,)
    found = await rows(
        connection,
        "SELECT seq, key FROM record WHERE seq > %s AND seq <= %s AND kind = ANY(%s) ORDER BY seq LIMIT %s",
        (position, head, [MEMORY, VECTOR], batch),
    )
    more = len(found) == batch
    if found:
        await _refresh(connection, table, model, list({key for _, key in found}))
    if head > position:
        at = found[-1][0] if more else head
        await connection.execute("UPDATE progress SET position = %s WHERE name = %s", (at, name))
    return more


async def _locked(connection: Connection, name: str) -> int | None:
    """The position of that name, locked; None while somebody else holds it."""
    locking = "SELECT position FROM progress WHERE name = %s FOR UPDATE SKIP LOCKED"
    found = await one(connection, locking, (name,))
    if found is None and await one(connection, "SELECT 1 FROM progress WHERE name = %s", (name,)) is None:
        await connection.execute("INSERT INTO progress VALUES (%s, 0) ON CONFLICT DO NOTHING", (name,))
        found = await one(connection, locking, (name,))
    return None if found is None else int(found[0])


async def _refresh(connection: Connection, table: str, model: str, keys: list[str]) -> None:
    """Bring the vectors of these memories up to date. Those that stand are not written: the graph would grow."""
    await connection.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")  # it may not be cut anew behind the next look
    root = ROOT if await is_cut(connection, table) else "''"
    stored = await rows(
        connection,
        f"SELECT r.row, r.key, v.body, {root}, {NAMESPACE} FROM record r "
        "LEFT JOIN record v ON v.kind = %s AND v.key = r.key AND NOT v.deleted AND NOT r.deleted "
        "WHERE r.kind = %s AND r.key = ANY(%s)",
        (VECTOR, MEMORY, keys),
    )
    wanted = {row: vectors_of(row, key, body, model) for row, key, body, _, _ in stored}
    places = {row: (root, namespace) for row, _, _, root, namespace in stored}
    held = await rows(
        connection,
        f"SELECT row, mark, root, namespace FROM {table} WHERE row = ANY(%s) AND piece = 0 AND model = %s",
        (list(wanted), model),
    )
    standing = {
        row
        for row, mark, root, namespace in held
        if (kept := wanted[row]) is not None and kept.mark == mark and _stays(places[row], (root, namespace))
    }
    changed = [row for row in wanted if row not in standing]
    await connection.execute(f"DELETE FROM {table} WHERE row = ANY(%s)", (changed,))
    pieces = [
        _copied(row, piece, model.encode(), kept.mark, vector, places[row])
        for row in changed
        if (kept := wanted[row]) is not None
        for piece, vector in enumerate(kept.vectors)
    ]
    if pieces:
        copying_in = f"COPY {table} (row, piece, model, mark, vector, root, namespace) FROM STDIN (FORMAT binary)"
        async with copying(connection, copying_in) as copy:
            await copy.write(b"".join((_COPY_HEAD, *pieces, _COPY_END)))


def _stays(place: Place, held: tuple[str, str | None]) -> bool:
    """Whether a row has its root and namespace; of the latter an older program left none, and the row may stay so."""
    return held in (place, (place[0], None))


def _copied(row: int, piece: int, model: bytes, mark: int, vector: bytes, place: Place) -> bytes:
    """A row as a binary COPY takes it: how many values, and each behind its length."""
    head = struct.pack(f">hiqihi{len(model)}siq", 7, 8, row, 2, piece, len(model), model, 8, mark)
    told = (struct.pack(f">i{len(text)}s", len(text), text) for text in map(str.encode, place))
    return b"".join((head, received(vector), *told))


def vectors_of(row: int, key: str, body: str | None, model: str) -> Kept | None:
    """The vectors of a record, which may come from anywhere; None where there are none that can be used."""
    told: dict[str, Any] = json.loads(body) if body is not None else {}
    if told.get("model") != model:
        return None
    try:
        mark = int(str(told.get("text"))[:_MARK_HEX], 16)
        vectors = [_vector(piece) for piece in told["pieces"][:PIECES_MAX]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        log.warning("the stored vector of memory %s can't be used: %s", key, error)
        return None
    return Kept(row, mark - 2 * _SIGN if mark >= _SIGN else mark, vectors) if vectors else None


def _vector(piece: str) -> bytes:
    try:
        data = base64.b64decode(piece, validate=True)
    except binascii.Error as error:
        raise ValueError("a piece is not base64") from error
    if len(data) != 2 * DIMS:
        raise ValueError(f"a piece has {len(data)} bytes, not {2 * DIMS}")
    if not abs(math.hypot(*unpacked(data)) - 1) <= _LENGTH_ERROR_MAX:  # also true for NaN
        raise ValueError("a piece has not length 1")
    return data


async def model_of_last(connection: Connection) -> str | None:
    """The model of the vector that was stored last; None where there is none."""
    found = await one(
        connection,
        "SELECT body FROM record WHERE seq = (SELECT max(seq) FROM record WHERE kind = %s AND NOT deleted)",
        (VECTOR,),
    )
    model = json.loads(found[0]).get("model") if found is not None else None
    return model if isinstance(model, str) and "\0" not in model else None


async def unsettled(connection: Connection, model: str) -> int:
    """How many vectors are stored and not in the table yet; of many, that there are many."""
    found = await one(
        connection,
        "SELECT count(*) FROM (SELECT FROM record WHERE kind = %s AND NOT deleted AND seq > "
        f"coalesce((SELECT position FROM progress WHERE name = %s), 0) LIMIT {_MANY}) found",
        (VECTOR, _name(model)),
    )
    return int(found[0]) if found else 0


async def build_graph(connection: Connection, model: str) -> None:
    """Build the graph of the next part that has none, inside the caller's transaction: see `graph.build_part`. Whoever
    settles waits for the next time meanwhile, and searches compute."""
    if await _locked(connection, _name(model)) is not None and await wants_graph(connection):
        await build_part(connection)


def _name(model: str, table: str = EMBEDDING) -> str:
    """Of the position in the feed up to which vectors are settled."""
    return f"{'' if table == EMBEDDING else f'{table}:'}settled:{model}"
