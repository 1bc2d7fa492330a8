"""Does the table that searches by vector look in hold what the stored vectors say? Slow and complete; reads only.

The table is filled behind the writes, for the model of the nodes (see `settling`), so what was written since the last
settling is left out. All else must be there, piece by piece, made from the stored text, and nothing beside it.
"""

from __future__ import annotations

from aimem.core.kinds import MEMORY, VECTOR
from aimem.limits import SCAN_BATCH
from aimem.store.checking import SHOWN_MAX
from aimem.store.postgres import settling
from aimem.store.postgres.halves import to_server, unpacked
from aimem.store.postgres.partitions import HOLD, NAMESPACE, ROOT, is_cut
from aimem.store.postgres.session import Connection, one, rows

_APART = 0.02  # of two vectors of one text: two machines need not compute the same to the last bit

_STORED = f"""
SELECT v.row, m.row, v.key, v.body
FROM record v JOIN record m ON m.kind = '{MEMORY}' AND m.key = v.key AND NOT m.deleted
WHERE v.kind = '{VECTOR}' AND NOT v.deleted AND v.row > %(after)s AND greatest(v.seq, m.seq) <= %(settled)s
ORDER BY v.row LIMIT {SCAN_BATCH}
"""
_DIFFERING = f"""
SELECT wanted.row, held.row IS NULL
FROM unnest(%(rows)s::bigint[], %(pieces)s::smallint[], %(marks)s::bigint[], %(vectors)s::text[])
    AS wanted (row, piece, mark, vector)
LEFT JOIN embedding held ON held.row = wanted.row AND held.piece = wanted.piece
WHERE (held.model, held.mark) IS DISTINCT FROM (%(model)s, wanted.mark)
OR NOT (held.vector <=> wanted.vector::halfvec) < {_APART}
"""
_SPARE = f"""
SELECT e.row, e.piece FROM embedding e
LEFT JOIN record m ON m.row = e.row LEFT JOIN record v ON v.kind = '{VECTOR}' AND v.key = m.key
WHERE coalesce(greatest(m.seq, v.seq), 0) <= %(settled)s AND (
    m.row IS NULL OR m.kind <> '{MEMORY}' OR m.deleted OR v.row IS NULL OR v.deleted OR e.model <> %(model)s
    OR (v.body::json -> 'model')::text IS DISTINCT FROM to_json(e.model)::text
    OR e.piece >= CASE json_typeof(v.body::json -> 'pieces') WHEN 'array'
        THEN json_array_length(v.body::json -> 'pieces') ELSE 0 END)
ORDER BY 1, 2 LIMIT %(shown)s
"""

_ASTRAY = """
SELECT e.row, e.piece FROM embedding e JOIN record r ON r.row = e.row
WHERE r.seq <= %(settled)s AND {} ORDER BY 1, 2 LIMIT %(shown)s
"""


async def check_vectors(connection: Connection) -> list[str]:
    """What is wrong, in words; empty when all is well. Wants one state around it."""
    await connection.execute(HOLD)
    found = await one(
        connection,
        "SELECT substr(name, 9), position FROM progress WHERE name LIKE 'settled:%%' ORDER BY position DESC LIMIT 1",
        (),
    )
    if found is None:  # no node has a model: there is nothing to search in
        return []
    model, settled = found
    wrong, after = [], 0
    while batch := await rows(connection, _STORED, {"after": after, "settled": settled}):
        after = batch[-1][0]
        wrong += await _check_batch(connection, model, [(row, key, body) for _, row, key, body in batch])
    spare = await rows(connection, _SPARE, {"settled": settled, "model": model, "shown": SHOWN_MAX})
    wrong += [f"vectors: row {row}, piece {piece} belongs to no vector of {model}" for row, piece in spare]
    places = {"its namespace": f"e.namespace <> {NAMESPACE}"}
    if await is_cut(connection):
        places["the part of its root"] = f"e.root <> {ROOT}"
    for place, condition in places.items():
        astray = await rows(connection, _ASTRAY.format(condition), {"settled": settled, "shown": SHOWN_MAX})
        wrong += [f"vectors: row {row}, piece {piece} is not in {place}" for row, piece in astray]
    return wrong


async def _check_batch(connection: Connection, model: str, batch: list[tuple[int, str, str]]) -> list[str]:
    """Each of these memories, as (row, key, body of its vector), has its vectors in the table."""
    names = {row: key for row, key, _ in batch}
    kept = [found for row, key, body in batch if (found := settling.vectors_of(row, key, body, model)) is not None]
    wanted = [
        (each.row, piece, each.mark, to_server(unpacked(vector)))
        for each in kept
        for piece, vector in enumerate(each.vectors)
    ]
    if not wanted:
        return []
    values = dict(zip(("rows", "pieces", "marks", "vectors"), map(list, zip(*wanted, strict=True)), strict=True))
    differing = dict(await rows(connection, _DIFFERING, values | {"model": model}))
    return [
        f"vectors: that of memory {names[row]} is {'missing' if missing else 'another'} where searches look"
        for row, missing in sorted(differing.items())[:SHOWN_MAX]
    ]
