"""Gives every memory of a store its vector. A process of its own: it runs the code and the model of the built file.

    vectors.py AIMEM DATABASE CACHE COUNT

The first COUNT texts are really embedded, or were: CACHE keeps each vector by the hash of its text and the model. Every
other row gets a mixture of three of those, so a million rows don't take a day. Mixtures lie between real vectors: a
search among them is no easier than among real ones.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

_BATCH = 500
_WEIGHTS = (0.6, 0.25, 0.15)


class Kept:
    """Vectors by model and hash of the text, in a file."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute("CREATE TABLE IF NOT EXISTS kept (model, text, vector, PRIMARY KEY (model, text))")

    def get(self, model: str, text: str) -> bytes | None:
        found = self.connection.execute("SELECT vector FROM kept WHERE model = ? AND text = ?", (model, text))
        return next((vector for (vector,) in found), None)

    def put(self, model: str, text: str, vector: bytes) -> None:
        self.connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (model, text, vector))
        self.connection.commit()


def real_vectors(texts: list[str], cache: str, model_dir: Path) -> Any:
    """The vectors of these texts: [n, dims] of float32."""
    import numpy as np

    from aimem.recall.embedder import Embedder
    from aimem.recall.pool import EmbedPool
    from aimem.recall.vector_record import text_sha256

    pool = EmbedPool(embedder := Embedder(model_dir))
    found: list[bytes] = []
    with closing((kept := Kept(cache)).connection):
        for start in range(0, len(texts), _BATCH):
            part = [(text, text_sha256(text)) for text in texts[start : start + _BATCH]]
            known = [kept.get(embedder.model_id, digest) for _, digest in part]
            jobs: list[Future[Any] | None] = [
                pool.submit(text) if vector is None else None for (text, _), vector in zip(part, known, strict=True)
            ]
            for (_, digest), vector, job in zip(part, known, jobs, strict=True):
                if job is not None:
                    vector = job.result()[0].astype("<f2").tobytes()
                    kept.put(embedder.model_id, digest, vector)
                assert vector is not None
                found.append(vector)
            if start % (10 * _BATCH) == 0:
                print(f"  {start + len(part):,} of {len(texts):,} texts embedded", file=sys.stderr)
    pool.close()
    return np.frombuffer(b"".join(found), dtype="<f2").reshape(len(found), embedder.dims).astype(np.float32)


def mixtures(real: Any) -> Iterator[Any]:
    """Vectors of length 1 between three of the real ones, without end, the same in every run."""
    import numpy as np

    chance = np.random.default_rng(1)
    weights = np.array(_WEIGHTS, dtype=np.float32)[:, np.newaxis]
    while True:
        for chosen in chance.integers(0, len(real), (_BATCH, len(_WEIGHTS))):
            vector = (real[chosen] * weights).sum(axis=0)
            yield vector / np.linalg.norm(vector)


async def embed(database: str, cache: str, count: int, model_dir: Path) -> None:
    """Write a vector for every memory, and that the feed is worked off."""
    import numpy as np

    from aimem.core.kinds import MEMORY
    from aimem.core.text import embedded_text
    from aimem.core.upkeep import advance, keep_vector
    from aimem.recall.embedder import Embedder
    from aimem.recall.vector_record import encode
    from aimem.store.sqlite.store import open_sqlite

    model = Embedder(model_dir).model_id
    store = await open_sqlite(database)
    memories = [record async for batch in store.scan(MEMORY) for _, record in batch]
    texts = [embedded_text(record) for record in memories]
    real = await asyncio.to_thread(real_vectors, texts[:count], cache, model_dir)
    more = mixtures(real)
    for start in range(0, len(memories), _BATCH):
        part = range(start, min(len(memories), start + _BATCH))
        vectors = (real[number] if number < len(real) else next(more) for number in part)
        intents = [
            keep_vector(
                memories[number].key, memories[number].version, encode(model, texts[number], vector[np.newaxis])
            )
            for number, vector in zip(part, vectors, strict=True)
        ]
        for outcome in await store.write(intents):
            if isinstance(outcome, Exception):
                raise outcome
    await store.write([advance({f"embedded:{model}": store.head})])
    await store.close()
    print(f"  {len(real):,} vectors are real, {len(memories) - len(real):,} are mixed from these", file=sys.stderr)


def main() -> None:
    aimem, database, cache, count = sys.argv[1:]
    sys.path[0] = f"{aimem}/python"  # in the place of this folder, whose aiosqlite.py is no package
    from aimem import unpack

    unpack.native()
    asyncio.run(embed(database, cache, int(count), unpack.model_dir()))


if __name__ == "__main__":
    main()
