"""Hybrid search in both stores, side by side: milliseconds, and recall@10 against exact search, by share that passes.

In this process, through the code that a node runs once a question is embedded; run it with build/venv/bin/python. The
PostgreSQL is started for it; with --partitions its vectors are cut then, and asked for again, and --only-postgres
leaves the other store out. What is stored and asked is drawn: see `drawn`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchlib import drawn
from benchlib.migrate import taken
from benchlib.node import ROOT
from benchlib.stores import new_store, postgres
from benchlib.texts import Texts

_K = 50  # as a recall of ten asks
_SHOWN = 10
Asked = list[tuple[str, Any]]
"""Questions: words, and a vector."""
Truth = Callable[[Any, Any], Awaitable[list[int]]]
Answered = dict[str, dict[str, float]]
"""By share that passes: p50 and p95 in ms, and the share of the true nearest that was found."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--partitions", type=int, default=0)
    parser.add_argument("--only-postgres", action="store_true")


def run(options: argparse.Namespace) -> int:
    sys.path.insert(0, str(ROOT))
    import psycopg  # noqa: F401 - before a store is made for a Python that could not go on

    source = drawn.source(options.rows)
    if not options.only_postgres:
        with tempfile.TemporaryDirectory(prefix="aimem-bench-") as folder:
            _print("sqlite", of_sqlite(Path(shutil.copy(source, folder)), options.questions))
    from tests.postgres_server import name_of

    with postgres(options.rows) as server:
        url = new_store(server)
        taken(source, url)
        server.sql("VACUUM ANALYZE", name_of(url))
        _print("postgres", of_postgres(url, options.questions))
        if options.partitions:
            asyncio.run(_cut(url, options.partitions))
            _print("postgres", of_postgres(url, options.questions))
    return 0


def _print(name: str, answered: Answered) -> None:
    for share, values in answered.items():
        told = ", ".join(f"{of} {value:.3f}" for of, value in values.items())
        print(f"{name}, {share} of the rows pass: {told}", flush=True)


def of_sqlite(database: Path, questions: int) -> Answered:
    """Ask this file, which nobody else has open."""
    return asyncio.run(_of_sqlite(database, questions))


async def _of_sqlite(database: Path, questions: int) -> Answered:
    from aimem.node.indexing import Indexing
    from aimem.store.sqlite.store import open_sqlite

    store = await open_sqlite(database)
    indexing = Indexing(store, drawn.model(), drawn.DIMS)
    await indexing.build()

    async def true(vector: Any, which: Any) -> list[int]:
        import numpy as np

        allow = None if which.namespaces is None else np.array(await store.rows(which), dtype=np.int64)
        return [row for row, _ in indexing.index.search(vector, _SHOWN, allow, exact=True)]

    answered = await _asked(store, indexing, questions, true)
    await store.close()
    return answered


def of_postgres(url: str, questions: int) -> Answered:
    """Ask this store, whose vectors are settled."""
    return asyncio.run(_of_postgres(url, questions))


async def _of_postgres(url: str, questions: int) -> Answered:
    from aimem.node.searching import InStore
    from aimem.store.postgres.filtering import where
    from aimem.store.postgres.halves import to_server
    from aimem.store.postgres.opening import open_store
    from aimem.store.postgres.session import rows, unbounded
    from aimem.store.postgres.url import read_target

    stack = contextlib.AsyncExitStack()  # what fails leaves nothing open: the pool would be waited for
    store = await open_store(read_target(url))
    stack.push_async_callback(store.close)
    connection = await store.connections.alone()
    stack.push_async_callback(connection.close)

    async def true(vector: Any, which: Any) -> list[int]:
        condition, values = where(which)
        values |= {"question": to_server(vector.tolist()), "shown": _SHOWN}
        return [row for (row,) in await rows(connection, _TRUE.format(condition), values)]

    async with stack:
        await unbounded(connection, session=True)
        return await _asked(store, InStore(store, drawn.model(), drawn.DIMS), questions, true)


_TRUE = """
SELECT e.row FROM embedding e JOIN record r ON r.row = e.row WHERE {}
ORDER BY (e.vector <=> %(question)s::halfvec) + 0 LIMIT %(shown)s
"""


async def _cut(url: str, partitions: int) -> None:
    from aimem.store.postgres.opening import open_store
    from aimem.store.postgres.partitioning import partition
    from aimem.store.postgres.url import read_target

    store = await open_store(read_target(url))
    began = time.perf_counter()
    connection = await store.connections.alone()
    for line in await partition(connection, partitions, lambda words: print(f"  {words}", flush=True)):
        print(f"  {line}")
    await connection.close()
    await store.close()
    print(f"postgres: {partitions} partitions: {time.perf_counter() - began:.1f} s", flush=True)


async def _asked(store: Any, searching: Any, questions: int, true: Truth) -> Answered:
    """`true` gives the rows of the memories that are nearest in truth."""
    from aimem.core.text import recall_terms
    from aimem.store.base import Filter, Words

    async def by_words(text: str, which: Filter) -> None:
        hits = await store.match(Words(recall_terms(text)), which, 100)
        await searching.seen([hit.row for hit in hits[:50]])

    async def by_meaning(vector: Any, which: Filter) -> Any:
        found = await searching.search(vector, _K, which)
        if not found.memories:
            await store.by_rows([row for row, _ in found.near])
        return found

    vectors = drawn.Drawn().vectors(questions)
    asked: Asked = [(Texts(1_000 + number).content(5), vector) for number, vector in enumerate(vectors)]
    answered: Answered = {}
    for share, namespace in drawn.SHARES.items():
        which = Filter(time.time_ns(), namespaces=None if namespace is None else (namespace,))
        times: list[float] = []
        shares: list[float] = []
        for warm in (True, False):
            for text, vector in asked[: 20 if warm else None]:
                began = time.perf_counter()
                found, _ = await asyncio.gather(by_meaning(vector, which), by_words(text, which))
                if not warm:
                    times.append(1_000 * (time.perf_counter() - began))
                    nearest = await true(vector, which)
                    shares.append(len({row for row, _ in found.near[:_SHOWN]} & set(nearest)) / len(nearest))
        answered[share] = {
            "search_p50_ms": statistics.median(times),
            "search_p95_ms": sorted(times)[int(0.95 * len(times))],
            "recall_at_10": statistics.mean(shares),
        }
    return answered
