"""A point read through aiosqlite, and through a thread that owns a connection: microseconds each, in turn."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_ROWS = 10_000


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reads", type=int, default=2_000)


def run(options: argparse.Namespace) -> int:
    return asyncio.run(_compare(options.reads))


async def _compare(reads: int) -> int:
    import aiosqlite

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.db"
        filled = sqlite3.connect(path)
        filled.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        filled.executemany("INSERT INTO t VALUES (?, ?)", ((n, "x" * 500) for n in range(_ROWS)))
        filled.commit()
        filled.close()
        own = sqlite3.connect(path, check_same_thread=False)
        loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(1)
        query = "SELECT body FROM t WHERE id = ?"
        three = lambda number: [own.execute(query, (number + more,)).fetchall() for more in range(3)]  # noqa: E731
        figures: dict[str, list[float]] = {"aiosqlite": [], "own thread": [], "aiosqlite x3": [], "own thread x3": []}
        async with aiosqlite.connect(path) as other:
            for number in range(reads):
                at = number % (_ROWS - 3)
                began = time.perf_counter()
                await other.execute_fetchall(query, (at,))
                figures["aiosqlite"].append(time.perf_counter() - began)
                began = time.perf_counter()
                await loop.run_in_executor(pool, lambda: own.execute(query, (at,)).fetchall())  # noqa: B023
                figures["own thread"].append(time.perf_counter() - began)
                began = time.perf_counter()
                for more in range(3):
                    await other.execute_fetchall(query, (at + more,))
                figures["aiosqlite x3"].append(time.perf_counter() - began)
                began = time.perf_counter()
                await loop.run_in_executor(pool, three, at)
                figures["own thread x3"].append(time.perf_counter() - began)
        pool.shutdown()
        own.close()
    for name, seconds in figures.items():
        print(f"{name:>14}: p50 {statistics.median(seconds) * 1e6:.0f} us")
    print("(x3: a read of three statements; aiosqlite goes to its thread and back for each)")
    return 0
