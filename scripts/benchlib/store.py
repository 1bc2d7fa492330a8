"""A shared PostgreSQL and a file of SQLite, side by side, as they grow: stores, recalls, load, disk; and what only
nodes that share a store do. Run it with build/venv/bin/python.

What they hold is drawn once and kept (`drawn`), and loaded into a PostgreSQL that is started for it on this machine.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchlib import drawn, kept, shared, store_nodes
from benchlib.drawn import apart
from benchlib.figures import Figure
from benchlib.load import request
from benchlib.migrate import indexes, make_source, taken
from benchlib.node import DIST, Node
from benchlib.prepared import questions
from benchlib.rows import Subject, backlog
from benchlib.shared import Answered
from benchlib.stores import cpu_of_children, new_store, postgres

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

SIZES, BIG, SMALL = [10_000, 100_000], [10_000, 100_000, 1_000_000], [300]
_MAIN = 100_000  # rows beneath what is measured at one size alone
ROWS = {"all": "recall-all", "1 %": "recall-hundredth", ".1 %": "recall-thousandth"}
"""The row of the recalls that so many memories pass."""
_CLIENTS = 64


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="that are there before (10,000 and 100,000)")
    parser.add_argument("--big", action="store_const", dest="rows", const=BIG, help="and 1,000,000")
    parser.add_argument("--small", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (10)")
    parser.add_argument(
        "--partitions", type=int, default=0, help="that the vectors are cut into before they come (none)"
    )
    parser.add_argument("--only-postgres", action="store_true", help="no file beside it")
    kept.arguments(parser)


@dataclass(frozen=True)
class _Effort:
    """How much is done."""

    seconds: float
    questions: int = 100
    changes: int = 100
    nodes: int = store_nodes.NODES
    partitions: int = 0
    of_sqlite: bool = True


def run(options: argparse.Namespace) -> int:
    sizes = SMALL if options.small else sorted(options.rows)
    effort = _Effort(0.5, 5, 5, 2) if options.small else _Effort(options.seconds)
    effort = replace(effort, partitions=options.partitions, of_sqlite=not options.only_postgres)
    return kept.run(options, _measured(sizes, effort), lambda figure: (figure.row, figure.tier, figure.rows))


def _measured(sizes: list[int], effort: _Effort) -> Iterator[Figure]:
    main = _MAIN if _MAIN in sizes or max(sizes) > _MAIN else max(sizes)
    if main in sizes:
        yield _migrated(main)
    for rows in sizes:
        source = drawn.source(rows)
        yield from _of_postgres(source, rows, effort, rows == main)
        if effort.of_sqlite:
            yield from _of_sqlite(source, rows, effort)


def _migrated(rows: int) -> Figure:
    """A database of the existing system, taken into a shared store."""
    with tempfile.TemporaryDirectory(prefix="aimem-bench-") as folder, postgres(rows) as server:
        old = Path(folder, "old.db")
        apart(make_source, old, rows)
        found = taken(old, new_store(server), lambda: cpu_of_children(server.data))
    values = {
        "rows_per_second": found.rows / found.seconds,
        "memories_per_second": found.kinds["memories"] / found.seconds,
        "peak_mb": found.peak_mb,
        "cpu_us": found.cpu / found.rows * 1e6,
        "server_cpu_us": found.server_cpu / found.rows * 1e6,
        "rows_of_all_kinds": found.rows,
        **{f"{step.replace(' ', '_')}_s": took for step, took in found.steps.items()},
    }
    return Figure("postgres-migrate", rows, "keyword", errors=found.errors, values=values)


def _of_postgres(source: Path, rows: int, effort: _Effort, alone: bool) -> Iterator[Figure]:
    with postgres(rows) as server:
        url = new_store(server)
        if effort.partitions:
            _aimem("store", "partition", str(effort.partitions), "--store-url", url)
        yield _loaded(server, source, url, rows)
        answered = apart(shared.of_postgres, url, effort.questions)

        def server_cpu() -> float:
            return cpu_of_children(server.data)

        yield from _served(
            "postgres", rows, effort, answered, server_cpu, lambda tier: Node("--tier", tier, store_url=url)
        )
        if alone:
            yield from store_nodes.contended(server, url, rows, effort.seconds, effort.nodes)
            yield from store_nodes.staleness(url, rows, effort.changes)


def _loaded(server: PostgresServer, source: Path, url: str, rows: int) -> Figure:
    """Filling an empty store from a file, and what it is then."""
    from tests.postgres_server import name_of

    found, database = taken(source, url, lambda: cpu_of_children(server.data)), name_of(url)
    _aimem("store", "tune", "--apply", "--store-url", url)
    took = indexes(server.log())
    server.sql("VACUUM ANALYZE", database)
    values = {
        "rows_per_second": found.rows / found.steps["loading"],
        "memories_per_second": found.kinds["memories"] / found.seconds,
        "peak_mb": found.peak_mb,
        "cpu_us": found.cpu / found.rows * 1e6,
        "server_cpu_us": found.server_cpu / found.rows * 1e6,
        "indexes_s": sum(took.values()),
        "disk_mb": _mb(server, database, "pg_database_size(current_database())"),
        "words_mb": _mb(server, database, "pg_total_relation_size('words_found')"),
        **{f"{step.replace(' ', '_')}_s": seconds for step, seconds in found.steps.items()},
    }
    for what, ending in (("cover", "_namespace"), ("graph", "_graph")):  # of each part, where the vectors are cut
        if parts := [index for index in took if index.startswith("embedding_") and index.endswith(ending)]:
            values[f"{what}_mb"] = _mb(server, database, " + ".join(f"pg_relation_size('{part}')" for part in parts))
            values[f"{what}_s"] = sum(took[part] for part in parts)
    values["indexes_s"] -= values.get("graph_s", 0.0)
    return Figure("postgres-load", rows, "semantic", errors=found.errors, values=values)


def _aimem(*arguments: str) -> None:
    command = [sys.executable, str(DIST), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _mb(server: PostgresServer, database: str, what: str) -> float:
    return float(server.sql(f"SELECT {what}", database)[0][0]) / 2**20


def _of_sqlite(source: Path, rows: int, effort: _Effort) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="aimem-bench-") as folder:
        place = Path(folder)
        copy = Path(shutil.copy(source, place / "bench.db"))
        yield Figure("sqlite-load", rows, "semantic", values={"disk_mb": copy.stat().st_size / 2**20})
        answered = apart(shared.of_sqlite, copy, effort.questions)
        yield from _served("sqlite", rows, effort, answered, None, lambda tier: Node("--tier", tier, folder=place))


def _served(
    name: str,
    rows: int,
    effort: _Effort,
    answered: Answered,
    server_cpu: Callable[[], float] | None,
    node_of: Callable[[str], Node],
) -> Iterator[Figure]:
    """Recalls and stores through a node on this store; vectors follow the stores of the first one, not those of the
    second."""
    with node_of("semantic") as node:
        subject = Subject(node, rows, "semantic", effort.seconds)
        _await_meaning(node)
        for seed, (share, namespace) in enumerate(drawn.SHARES.items(), 11):
            asked = questions(seed)
            within = "" if namespace is None else f"&namespace={namespace}"
            figure = subject.reading(
                f"{name}-{ROWS[share]}",
                1,
                lambda asked=asked, within=within: request(
                    "GET", f"/api/v1/recall?context={quote(next(asked))}{within}"
                ),
            )
            figure.values |= answered[share]
            yield figure
        yield _stored(name, subject, server_cpu)
    with node_of("keyword") as node:
        yield _stored(name, Subject(node, rows, "keyword", effort.seconds), server_cpu)


def _await_meaning(node: Node) -> None:
    """Until it recalls by meaning too, all that is stored."""
    while backlog(node) or node.call("GET", "/recall?context=begin")["mode"] != "hybrid":
        time.sleep(0.1)


def _stored(name: str, subject: Subject, server_cpu: Callable[[], float] | None) -> Figure:
    """Stores of many clients; nothing on disk is an error."""
    before = server_cpu() if server_cpu else 0.0
    figure = subject.storing(f"{name}-store", _CLIENTS)
    if server_cpu:
        figure.values["server_cpu_us"] = (server_cpu() - before) / figure.values["requests"] * 1e6
    figure.values["backlog_after"] = backlog(subject.node)
    figure.errors += not figure.fsyncs
    return figure
