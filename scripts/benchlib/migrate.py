"""Taking in a database of the existing system, then what came of it: rows a second, and the peak memory.

With `--to postgres` both go to a PostgreSQL of the tests, started for it on this machine with fsync and 1 GB of memory
(run it with build/venv/bin/python), and so does one of our files in which every memory has a vector: see `drawn`. How
long the server took for each index stands in its log. With `--to round` what was taken into a file goes to such a
PostgreSQL and from there into another file, and all three must have one digest.

The source is made of the rows of the real one among the tests' data, again and again under ids and titles of their own,
with new text; so it has that one's share of links, archived rows, counters and vectors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchlib import drawn
from benchlib.node import DIST, ROOT
from benchlib.stores import cpu_of_children, new_store, postgres
from benchlib.texts import Texts

_REAL = ROOT / "tests" / "data" / "v063.db"
_KINDS_OF_MEMORIES = ("entities", "messages")  # counted among the memories too
_REPEATED = ("memories", "archived_memories", "memory_links", "entity_aliases")  # the rest is the same few rows
_IDS = ("id", "source_id", "target_id", "entity_id")
_SHAPE = "SELECT sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL AND name NOT LIKE 'memories_fts%'"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000, help="memories, live ones (100,000)")
    parser.add_argument("--to", choices=("file", "postgres", "round"), default="file", help="what is filled (file)")
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


def make_source(path: Path, memories: int, *, vectors: bool = True) -> None:
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
            return _to_postgres(old, drawn.source(options.rows))
        if options.to == "round":
            return _round(old, ours, again)
        for what, source, target in (("migrate", old, ours), ("migrate, ours to ours", ours, again)):
            _print(what, found := taken(source, str(target)))
            if found.errors:
                return 1
    return 0


def _round(old: Path, ours: Path, again: Path) -> int:
    """Through a file and a PostgreSQL into another file."""
    with postgres() as server:
        places = [str(old), str(ours), new_store(server), str(again)]
        moves = [taken(source, target, lambda: cpu_of_children(server.data)) for source, target in pairwise(places)]
    for what, found in zip(("into a file", "on to postgres", "and back into a file"), moves, strict=True):
        _print(what, found)
        print(f"  digest {found.digest}")
    return min(1, sum(found.errors for found in moves) + len({found.digest for found in moves}) - 1)


def _to_postgres(*sources: Path) -> int:
    failed = 0
    with postgres() as server:
        for what, source in zip(
            ("migrate to postgres", "migrate, ours with vectors to postgres"), sources, strict=True
        ):
            said = len(server.log())
            _print(what, found := taken(source, new_store(server), lambda: cpu_of_children(server.data)))
            for index, seconds in indexes(server.log()[said:]).items():
                print(f"  {index}: {seconds:.1f} s", flush=True)
            failed |= found.errors
    return min(failed, 1)


def indexes(log: str) -> dict[str, float]:
    """The seconds that each index took, by the log of the server."""
    found = re.findall(r"duration: (\d+)\.\d* ms .*CREATE INDEX (?:CONCURRENTLY )?(\w+)", log)
    return {index: int(duration) / 1_000 for duration, index in found}


@dataclass
class Taken:
    """What a run of the command came to. Times in seconds; `kinds` has how many were written of each, what is counted
    among the memories left out; `steps` how long each took."""

    kinds: dict[str, int]
    steps: dict[str, float]
    errors: int
    seconds: float
    cpu: float
    server_cpu: float
    peak_mb: float
    digest: str

    @property
    def rows(self) -> int:
        return sum(self.kinds.values())


def taken(source: Path | str, target: str, server_cpu: Callable[[], float] = lambda: 0.0) -> Taken:
    """Run the command. Anything that was not taken is an error."""
    command = [sys.executable, str(DIST), "migrate", "--from", str(source), "--to", target, "--json"]
    before, began = server_cpu(), time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said)
        _, status, usage = os.wait4(process.pid, 0)  # not `wait`: only this tells the peak of just this process
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            raise SystemExit(f"aimem migrate ended with {process.returncode}")
        said.seek(0)
        report = json.load(said)
    return Taken(
        {name: each["written"] for name, each in report["kinds"].items() if name not in _KINDS_OF_MEMORIES},
        report["seconds"],
        max(report["failed"], process.returncode),
        seconds,
        usage.ru_utime + usage.ru_stime,
        server_cpu() - before,
        usage.ru_maxrss / 1024,
        report["digest"],
    )


def _print(what: str, found: Taken) -> None:
    rows, seconds = found.rows, found.seconds
    print(f"{what}: {rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s, errors {found.errors}")
    print("  " + ", ".join(f"{name} {count:,}" for name, count in found.kinds.items() if count))
    print(
        f"  {found.kinds['memories'] / seconds:,.0f} memories/s, memory at most {found.peak_mb:.0f} MB, "
        f"{found.cpu:.1f} s of CPU"
    )
    told = ", ".join(f"{step} {took:.1f} s" for step, took in found.steps.items())
    print(f"  {told}; {rows / found.steps['loading']:,.0f} rows/s while loading")
    if found.server_cpu:
        print(f"  server: {found.server_cpu:.1f} s of CPU", flush=True)
