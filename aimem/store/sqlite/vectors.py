"""All stored vectors, for whoever indexes them: a million take seconds, while which questions are answered.

Each statement gives a batch as one row of long texts. So SQLite puts it together on its own; row by row it would ask
for the interpreter's lock a million times, and stand in line with the questions.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import starmap
from pathlib import Path

import aiosqlite
import numpy as np
from numpy.typing import NDArray

from aimem.core.kinds import MEMORY, VECTOR
from aimem.limits import SCAN_BATCH
from aimem.store.base import Vector
from aimem.store.sqlite.scanning import connected

_VISIBLE = "SELECT group_concat(row) FROM record INDEXED BY record_order WHERE visible = 1"
_PAIRS = f"""
SELECT group_concat(v.row), group_concat(m.row)
FROM record v INDEXED BY record_key CROSS JOIN record m ON m.kind = '{MEMORY}' AND m.key = v.key
WHERE v.kind = '{VECTOR}'
"""
_BODIES = """
SELECT json_group_array(asked.key), json_group_array(v.key), CAST(group_concat(v.body, char(10)) AS BLOB)
FROM json_each(?) asked CROSS JOIN record v ON v.row = asked.value
WHERE v.deleted = 0
"""
"""By `asked.key`, the place among the rows that are asked for. No canonical body has a line break."""


async def vectors(path: Path) -> AsyncIterator[list[Vector]]:
    """The live vectors of all visible memories, by where they lie in the file. Raises as `connected`."""
    async with connected(path) as connection:
        rows, memories = await _pairs(connection)
        for start in range(0, len(rows), SCAN_BATCH):
            asked = json.dumps(rows[start : start + SCAN_BATCH].tolist())
            ((places, ids, bodies),) = await connection.execute_fetchall(_BODIES, (asked,))
            if bodies is not None:
                held = memories[start + np.array(json.loads(places))].tolist()
                each = zip(held, json.loads(ids), bodies.split(b"\n"), strict=True)
                yield list(starmap(Vector, each))


async def _pairs(connection: aiosqlite.Connection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of vectors, in order, and of their visible memories."""
    ((shown,),) = await connection.execute_fetchall(_VISIBLE)
    ((of_vectors, of_memories),) = await connection.execute_fetchall(_PAIRS)
    rows, memories, visible = (_numbers(each) for each in (of_vectors, of_memories, shown))
    is_visible = np.zeros(max(memories.max(initial=0), visible.max(initial=0)) + 1, dtype=np.bool_)
    is_visible[visible] = True
    order = np.argsort(rows)
    order = order[is_visible[memories[order]]]
    return rows[order], memories[order]


def _numbers(text: str | None) -> NDArray[np.int64]:
    """What `group_concat` made of whole numbers; NULL of none."""
    return np.fromstring(text, dtype=np.int64, sep=",") if text else np.array([], dtype=np.int64)
