"""Hybrid search in both stores, side by side: milliseconds, and recall@10 against exact search, by share that passes.

In this process, through the code that a node runs once a question is embedded; run it with build/venv/bin/python. The
PostgreSQL is started for it, with 1 GB of memory; with --partitions its vectors are cut then, and asked for again, and
--only-postgres leaves the other store out. Vectors are drawn, not embedded: a common part, a topic, a narrower
one, and noise; questions come of the same law. Namespaces of 1 % and .1 % hold rows of any topic.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchlib.texts import Texts

ROOT = Path(__file__).resolve().parent.parent.parent
_BATCH = 500
_MODEL = "drawn"
_DIMS = 384
_K = 50  # as a recall of ten asks
_SHOWN = 10
_SHARES = {"all": None, "1 %": ("one",), ".1 %": ("tenth",)}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--partitions", type=int, default=0)
    parser.add_argument("--only-postgres", action="store_true")


def run(options: argparse.Namespace) -> int:
    sys.path.insert(0, str(ROOT))
    drawn = _Drawn()
    asked = [(Texts(1_000 + number).content(5), drawn.vector()) for number in range(options.questions)]
    if not options.only_postgres:
        asyncio.run(_sqlite(options.rows, asked))
    asyncio.run(_postgres(options.rows, asked, options.partitions))
    return 0


async def _sqlite(rows: int, asked: list[tuple[str, Any]]) -> None:
    from aimem.node.indexing import Indexing
    from aimem.store.sqlite.store import open_sqlite

    with tempfile.TemporaryDirectory(prefix="aimem-bench-") as folder:
        sqlite = await open_sqlite(Path(folder) / "a.db")
        await fill("sqlite", sqlite, rows)
        indexing = Indexing(sqlite, _MODEL, _DIMS)
        await _timed("sqlite: index built", indexing.build)
        await _ask("sqlite", sqlite, indexing, asked)
        await sqlite.close()


async def _postgres(rows: int, asked: list[tuple[str, Any]], partitions: int) -> None:
    from aimem.node.searching import InStore
    from aimem.store.postgres.opening import open_store
    from aimem.store.postgres.url import read_target
    from tests.postgres_server import ROLE, running_postgres

    with running_postgres(fsync=True, shared_buffers="1GB", autovacuum="on", max_wal_size="4GB") as server:
        name = server.new_database()
        postgres = await open_store(read_target(server.url(name, role=ROLE)))
        await fill("postgres", postgres, rows)

        async def settle() -> None:
            while await postgres.settle_vectors(_MODEL):
                pass

        await _timed("postgres: vectors settled, graph built", settle)
        server.sql("VACUUM ANALYZE", name)
        await _ask("postgres", postgres, InStore(postgres, _MODEL), asked)
        if partitions:
            await _timed(f"postgres: {partitions} partitions", lambda: _cut(postgres, partitions))
            await _ask("postgres", postgres, InStore(postgres, _MODEL), asked)
        await postgres.close()


async def _cut(store: Any, partitions: int) -> None:
    from aimem.store.postgres.partitioning import partition

    connection = await store.connections.alone()
    for line in await partition(connection, partitions, lambda words: print(f"  {words}", flush=True)):
        print(f"  {line}")
    await connection.close()


async def _timed(what: str, work: Callable[[], Awaitable[None]]) -> None:
    began = time.perf_counter()
    await work()
    print(f"{what}: {time.perf_counter() - began:.1f} s", flush=True)


class _Drawn:
    """Vectors of length 1, the same in every run."""

    def __init__(self, seed: int = 1) -> None:
        import numpy as np

        self._chance = np.random.default_rng(seed)
        law = np.random.default_rng(0)
        self._mean = self._unit(law.standard_normal(_DIMS))
        self._topics = [self._unit(law.standard_normal(_DIMS)) for _ in range(300)]
        self._narrow = [self._unit(law.standard_normal(_DIMS)) for _ in range(20_000)]

    def _unit(self, vector: Any) -> Any:
        return vector / float((vector @ vector) ** 0.5)

    def vector(self) -> Any:
        import numpy as np

        chance = self._chance
        narrow = int(chance.integers(len(self._narrow)))
        noise = self._unit(chance.standard_normal(_DIMS)) * chance.uniform(0.45, 0.85)
        mixed = 0.25 * self._mean + 0.6 * self._topics[narrow % 300] + 0.62 * self._narrow[narrow] + noise
        return self._unit(mixed).astype(np.float32)


def _namespace(number: int) -> str:
    if number % 1_000 == 7:
        return "tenth"
    return "one" if number % 100 == 3 else f"other-{number % 50}/notes"


async def fill(name: str, store: Any, rows: int) -> None:
    from aimem.core import upkeep, writes
    from aimem.core.memory import clean_create
    from aimem.core.text import embedded_text
    from aimem.recall.vector_record import encode

    texts, drawn = Texts(1), _Drawn(2)
    began = time.perf_counter()
    for start in range(0, rows, _BATCH):
        raws = [
            {"title": f"memory {number}", "content": texts.content(), "namespace": _namespace(number), "tier": "long"}
            for number in range(start, min(start + _BATCH, rows))
        ]
        now = time.time_ns()
        outcomes = await store.write([writes.create(clean_create(raw, now, anonymous="bench")) for raw in raws])
        records = [outcome.records[0] for outcome in outcomes]
        await store.write(
            [
                upkeep.keep_vector(
                    record.key, record.version, encode(_MODEL, embedded_text(record), drawn.vector()[None, :])
                )
                for record in records
            ]
        )
    took = time.perf_counter() - began
    print(f"{name}: {rows:,} rows with their vectors written, {rows / took:,.0f} rows/s", flush=True)


async def _ask(name: str, store: Any, searching: Any, asked: list[tuple[str, Any]]) -> None:
    from aimem.core.text import recall_terms
    from aimem.store.base import Filter, Words

    for share, namespaces in _SHARES.items():
        which = Filter(time.time_ns(), namespaces=namespaces)
        times: list[float] = []
        found_all: list[float] = []
        for warm in (True, False):
            for text, vector in asked[: 20 if warm else None]:
                began = time.perf_counter()
                hits = await store.match(Words(recall_terms(text)), which, 100)
                found = await searching.search(vector, _K, which, [hit.row for hit in hits[:50]])
                await store.by_rows([row for row, _ in found.near])
                if not warm:
                    times.append(1_000 * (time.perf_counter() - began))
                    found_all.append(await _recall(store, searching, vector, which, found))
        ordered = sorted(times)
        print(
            f"{name}, {share} of the rows pass: p50 {statistics.median(times):.1f} ms, "
            f"p95 {ordered[int(0.95 * len(ordered))]:.1f} ms, recall@{_SHOWN} {statistics.mean(found_all):.3f}",
            flush=True,
        )


async def _recall(store: Any, searching: Any, vector: Any, which: Any, found: Any) -> float:
    """The share of the true nearest among the first ten found."""
    if hasattr(searching, "index"):
        import numpy as np

        allow = None if which.namespaces is None else np.array(await store.rows(which), dtype=np.int64)
        true = [row for row, _ in searching.index.search(vector, _SHOWN, allow, exact=True)]
    else:
        true = await _computed(store, vector, which)
    return len({row for row, _ in found.near[:_SHOWN]}.intersection(true)) / max(len(true), 1)


async def _computed(store: Any, vector: Any, which: Any) -> list[int]:
    from aimem.core.searching import EXACT
    from aimem.store.postgres.nearest import Asked

    async def read(connection: Any) -> list[int]:
        found = await Asked(connection, vector.tolist(), _MODEL, which, _SHOWN, ())._tried(EXACT)
        return [row for row, _ in found.near] if found is not None else []

    result: list[int] = await store._read(read)
    return result
