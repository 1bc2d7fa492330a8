"""recall@10 of the vector index against exact search, with the vectors of a store and questions embedded anew. A
process of its own: it runs the code and the model of the built file.

    nearest.py AIMEM DATABASE REAL < QUESTIONS

REAL is how many of the memories, in the order of their rows, have vectors that are no mixtures. Prints a JSON object:
`recall_at_10` over all rows, and `recall_at_10_real`: of the (up to ten) nearest among the real ones, the share that
the same search keeps.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

_K = 10


async def filled(database: str, dims: int) -> Any:
    """The index over all vectors of a store."""
    import numpy as np

    from aimem.core.kinds import VECTOR
    from aimem.recall.index import VectorIndex
    from aimem.recall.vector_record import decode
    from aimem.store.sqlite.store import open_sqlite

    store, index = await open_sqlite(database), VectorIndex(dims)
    async for batch in store.scan(VECTOR):
        found = [(row, decode(record.body, dims).pieces) for row, record in batch if row]
        rows = np.concatenate([np.full(len(pieces), row, dtype=np.int64) for row, pieces in found])
        index.add_many(rows, np.concatenate([pieces for _, pieces in found]))
    await store.close()
    return index


def shares(index: Any, queries: list[Any], real: int) -> dict[str, float]:
    """Both figures. As many rows are asked for as leave the narrowing down at its ordinary share."""
    from aimem.limits import PIECES_MAX

    wide = max(_K, int(len(index) * index.share) // PIECES_MAX)
    found = total = 0
    for query in queries:
        truth = [row for row, _ in index.search(query, wide, exact=True) if row <= real][:_K]
        found += len({row for row, _ in index.search(query, wide)}.intersection(truth))
        total += len(truth)
    return {
        "recall_at_10": index.recall(queries, _K),
        "recall_at_10_real": found / total if total else 1.0,
        "real_neighbours": total,
        "questions": len(queries),
    }


def main() -> None:
    aimem, database, real = sys.argv[1:]
    sys.path[0] = f"{aimem}/python"  # in the place of this folder, whose aiosqlite.py is no package
    from aimem import unpack

    unpack.native()
    from aimem.recall.embedder import Embedder

    embedder = Embedder(unpack.model_dir())
    queries = [embedder.embed_query(line.strip()) for line in sys.stdin]
    index = asyncio.run(filled(database, embedder.dims))
    print(json.dumps(shares(index, queries, int(real))))


if __name__ == "__main__":
    main()
