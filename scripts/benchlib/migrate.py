"""Taking in a database of the existing system, then what came of it: rows a second, and the peak memory.

With `--to postgres` both go to a PostgreSQL of the tests, started for it on this machine with fsync and 1 GB of memory
(run it with build/venv/bin/python), and so does one of our files in which every memory has a vector: drawn ones, see
`shared`. How long the server took for each index stands in its log.

The source is made of the rows of the real one among the tests' data, again and again under ids and titles of their own,
with new text; so it has that one's share of links, archived rows, counters and vectors.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchlib.node import DIST, ROOT
from benchlib.texts import Texts

_REAL = ROOT / "tests" / "data" / "v063.db"
_KINDS_OF_MEMORIES = ("entities", "messages")  # counted among the memories too
_REPEATED = ("memories", "archived_memories", "memory_links", "entity_aliases")  # the rest is the same few rows
_IDS = ("id", "source_id", "target_id", "entity_id")
_SHAPE = "SELECT sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL AND name NOT LIKE 'memories_fts%'"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000, help="memories, live ones (100,000)")
    parser.add_argument("--to", choices=("file", "postgres"), default="file", help="what is filled (file)")
    parser.add_argument("--no-vectors", action="store_true", help="a source whose program kept no vectors")


def _columns(real: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in real.execute(f"PRAGMA table_info({table})")]


def _repeated(rows: Sequence[sqlite3.Row], texts: Texts, turns: int, most: int) -> Iterator[list[Any]]:
    """The rows of a table `turns` times, `most` rows in all, each turn under other ids, with other titles and text."""
    for number in range(min(turns * len(rows), most)):
        turn, at = divmod(number, len(rows))
        row = dict(rows[at])
        for name in _IDS:
            if name in row:
                row[name] = str(uuid.uuid5(uuid.UUID(int=turn), row[name]))
        if "content" in row:
            row["title"] = f"{row['title']} {turn}"
            row["content"] = texts.content()
        yield list(row.values())


def make_source(path: Path, memories: int, *, vectors: bool) -> None:
    """A database of schema 16 with so many live memories."""
    real = sqlite3.connect(f"{_REAL.as_uri()}?mode=ro&immutable=1", uri=True)
    made = sqlite3.connect(path)
    with contextlib.closing(real), contextlib.closing(made):
        real.row_factory = sqlite3.Row
        for (statement,) in real.execute(_SHAPE, ("table",)).fetchall():
            made.execute(statement)
        tables = [name for (name,) in made.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        texts = Texts(1)
        turns = -(-memories // real.execute("SELECT count(*) FROM memories").fetchone()[0])
        for table in tables:
            names = _columns(real, table)
            rows = real.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
            most = memories if table == "memories" else turns * len(rows)
            values: Iterable[Sequence[Any]] = (
                _repeated(rows, texts, turns, most) if rows and table in _REPEATED else map(tuple, rows)
            )
            made.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", values)
        if not vectors:
            made.execute("UPDATE memories SET embedding = NULL")
        for (statement,) in real.execute(_SHAPE, ("index",)).fetchall():
            made.execute(statement)
        made.commit()


def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="aimem-bench-") as folder:
        old, ours, again = (Path(folder, name) for name in ("old.db", "ours.db", "again.db"))
        make_source(old, options.rows, vectors=not options.no_vectors)
        if options.to == "postgres":
            return _to_postgres(options, old, ours)
        return max(_measured("migrate", old, str(ours)), _measured("migrate, ours to ours", ours, str(again)))


def _to_postgres(options: argparse.Namespace, old: Path, ours: Path) -> int:
    sys.path.insert(0, str(ROOT))
    from aimem.store.sqlite.store import open_sqlite
    from benchlib.shared import fill
    from benchlib.store import cpu_of_children
    from tests.postgres_server import ROLE, running_postgres

    async def make_ours() -> None:
        store = await open_sqlite(ours)
        await fill("the source", store, options.rows)
        await store.close()

    settings = {"shared_buffers": "1GB", "autovacuum": "on", "max_wal_size": "4GB", "log_min_duration_statement": "100"}
    failed = 0
    with running_postgres(fsync=True, **settings) as server:
        for what, source in (("migrate to postgres", old), ("migrate, ours with vectors to postgres", ours)):
            if source is ours:  # in a process of its own: the peak of this one would count as that of the command
                making = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(make_ours()))
                making.start()
                making.join()
            said = len(server.log())
            url = server.url(server.new_database(), role=ROLE)
            failed |= _measured(what, source, url, lambda: cpu_of_children(server.data))
            for seconds, index in re.findall(r"duration: (\d+)\.\d* ms .*CREATE INDEX (\w+)", server.log()[said:]):
                print(f"  {index}: {int(seconds) / 1_000:.1f} s")
    return failed


def _measured(what: str, source: Path, target: str, server_cpu: Callable[[], float] = lambda: 0.0) -> int:
    """One run of the command, and its figures; 1 when anything was not taken."""
    said, cpu = source.with_suffix(".json"), server_cpu()
    command = [sys.executable, str(DIST), "migrate", "--from", str(source), "--to", target, "--json"]
    began = time.perf_counter()
    with said.open("wb") as file:
        process = subprocess.Popen(command, stdout=file)
    _, status, usage = os.wait4(process.pid, 0)  # not `wait`: only this tells the peak of just this process
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"aimem migrate ended with {process.returncode}")
    report = json.loads(said.read_text(encoding="utf-8"))
    kinds = {name: count for name, count in report["kinds"].items() if name not in _KINDS_OF_MEMORIES}
    rows = sum(count["written"] for count in kinds.values())
    errors = report["failed"]
    print(f"{what}: {rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s, errors {errors}")
    print("  " + ", ".join(f"{name} {count['written']:,}" for name, count in kinds.items() if count["written"]))
    print(
        f"  {kinds['memories']['written'] / seconds:,.0f} memories/s, memory at most {usage.ru_maxrss / 1024:.0f} MB, "
        f"{usage.ru_utime + usage.ru_stime:.1f} s of CPU"
    )
    told = ", ".join(f"{step} {took:.1f} s" for step, took in report["seconds"].items())
    print(f"  {told}; {rows / report['seconds']['loading']:,.0f} rows/s while loading")
    if cpu := server_cpu() - cpu:
        print(f"  server: {cpu:.1f} s of CPU", flush=True)
    return 1 if errors or process.returncode else 0
