"""The vectors of memories that are known by their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import errors

from aimem.store.base import Memory, Pieces
from aimem.store.postgres.halves import from_server
from aimem.store.postgres.partitions import CUT_ANEW, EMBEDDING, ROOT
from aimem.store.postgres.reading import by_rows
from aimem.store.postgres.session import Connection
from aimem.store.postgres.text import numbers

_MARKS = 1 << 64  # a mark has 64 bits and no sign, the column has one


async def with_vectors(
    connection: Connection, rows: Sequence[int], model: str, *, cut: bool
) -> tuple[list[Memory | None], dict[int, Pieces]]:
    """See `SearchingStore.with_vectors`. A round trip for both. `cut`: whether the table of vectors is, as far as is
    known: what is found does not depend on it."""
    asked = _IN_OWN_PART if cut else _ANYWHERE
    async with connection.pipeline():
        asking = await connection.execute(asked, {"rows": numbers(rows), "model": model}, binary=True)
        memories = await by_rows(connection, rows)
        found = await asking.fetchall()
    if any(not whole for _, _, _, whole in found):
        raise errors.SerializationFailure(CUT_ANEW)
    return memories, pieces_of((row, mark, piece) for row, mark, piece, _ in found if mark is not None)


def pieces_of(found: Iterable[tuple[Any, ...]]) -> dict[int, Pieces]:
    """By row what (row, mark, piece) tell, the pieces of each in order."""
    held: dict[int, Pieces] = {}
    for row, mark, piece in found:
        held.setdefault(row, Pieces(mark % _MARKS, [])).pieces.append(from_server(piece))
    return held


OWN_PART = f"AND e.root = {ROOT}"  # else each row would be looked for in all
_ASKED = f"""
SELECT one.row, e.mark, halfvec_send(e.vector), to_regclass('{EMBEDDING}') IN (SELECT oid FROM pg_class
    WHERE relname = '{EMBEDDING}')
FROM unnest(%(rows)s::bigint[]) one (row)
"""
_ANYWHERE = f"{_ASKED} LEFT JOIN {EMBEDDING} e ON e.row = one.row AND e.model = %(model)s ORDER BY e.row, e.piece"
# The root is empty in a state from before the table was cut, as a standby that lags behind may have it.
_IN_OWN_PART = (
    f"{_ASKED} LEFT JOIN record r ON r.row = one.row "
    f"LEFT JOIN {EMBEDDING} e ON e.row = one.row AND e.root IN ('', {ROOT}) AND e.model = %(model)s "
    "ORDER BY e.row, e.piece"
)
