"""Stores per second through the HTTP API, every one fsynced, by number of rows: SQLite and PostgreSQL, side by side.

The PostgreSQL is one of the tests' (run it with build/venv/bin/python), on this machine, with fsync and 1 GB of memory.
CPU of the server counts all its processes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchlib.load import drive, request
from benchlib.node import ROOT, Node
from benchlib.texts import Texts

_BULK = 500


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000], help="rows that are there before (100,000)")
    parser.add_argument("--stores", nargs="+", choices=("sqlite", "postgres"), default=["sqlite", "postgres"])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--tier", choices=("keyword", "semantic"), default="keyword")


def memory(texts: Texts, number: int) -> dict[str, object]:
    """One memory of the benchmark; its title is its own."""
    return {"title": f"note {number}", "content": texts.content(), "namespace": f"bench/{number % 50}"}


def fill(node: Node, texts: Texts, rows: int, first: int = 0) -> float:
    """Put rows in by bulk, numbered from `first` on: rows per second."""
    began = time.perf_counter()
    for start in range(first, first + rows, _BULK):
        items = [memory(texts, number) for number in range(start, min(first + rows, start + _BULK))]
        reply = node.call("POST", "/memories/bulk", items)
        if reply["errors"]:
            raise SystemExit(f"bulk: {reply['errors'][:3]}")
    return rows / (time.perf_counter() - began)


def supply(texts: Texts, first: int, seconds: float, count: int = 20_000) -> Callable[[], bytes | None]:
    """Requests made beforehand, handed out until the time is up."""
    ready = [
        request("POST", "/api/v1/memories", json.dumps(memory(texts, first + number)).encode())
        for number in range(count)
    ]
    ready.reverse()
    end = 0.0

    def following() -> bytes | None:
        nonlocal end
        end = end or time.perf_counter() + seconds
        return ready.pop() if ready and time.perf_counter() < end else None

    return following


def run(options: argparse.Namespace) -> int:
    failed = False
    for name in options.stores:
        with _subject(name, options.tier) as (node, server_cpu):
            texts, there = Texts(1), 0
            for rows in sorted(options.rows):
                if rows > there:
                    bulk = fill(node, texts, rows - there, there)
                    print(f"{name}, bulk of {_BULK} from {there:,} to {rows:,} rows: {bulk:,.0f} rows/s, text included")
                there = max(rows, there)
                following = supply(texts, there, options.seconds, int(4_500 * options.seconds))
                stored = _measured(name, node, options, there, following, server_cpu)
                there += stored
                failed |= not stored
    return int(failed)


@contextmanager
def _subject(name: str, tier: str) -> Iterator[tuple[Node, Callable[[], float]]]:
    """A node over a store of its own, and what tells the CPU (s) of the store's server."""
    if name == "sqlite":
        with Node("--tier", tier) as node:
            yield node, lambda: 0.0
        return
    sys.path.insert(0, str(ROOT))
    from tests.postgres_server import ROLE, running_postgres

    settings: dict[str, Any] = {"shared_buffers": "1GB", "autovacuum": "on", "max_wal_size": "4GB"}
    with running_postgres(fsync=True, **settings) as server:
        url = server.url(server.new_database(), role=ROLE)
        with Node("--tier", tier, store_url=url) as node:
            yield node, lambda: cpu_of_children(server.data)


def cpu_of_children(data: Path) -> float:
    """Seconds of the server with this folder, those of its processes that have ended included."""
    first = int((data / "postmaster.pid").read_text().split()[0])
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, fields = int(place.parent.name), place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if number == first:
            ticks += sum(map(int, fields[11:15]))  # its own, and of the children that it has waited for
        elif int(fields[1]) == first:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _measured(
    name: str,
    node: Node,
    options: argparse.Namespace,
    rows: int,
    following: Callable[[], bytes | None],
    server_cpu: Callable[[], float],
) -> int:
    """One load, and its figures. How many it stored; 0 when a request failed, or nothing was put on disk."""
    fsyncs, cpu, server = node.metric("aimem_fsyncs_total"), node.cpu_seconds(), server_cpu()
    outcome = drive(node.port, options.clients, following)
    fsyncs, cpu, server = node.metric("aimem_fsyncs_total") - fsyncs, node.cpu_seconds() - cpu, server_cpu() - server
    stored = len(outcome.latencies)
    print(
        f"{name}, store, {options.clients} clients, tier {options.tier}, {rows:,} rows: {outcome.rate:,.0f}/s, "
        f"p50 {outcome.percentile(0.5):.1f} ms, p99 {outcome.percentile(0.99):.1f} ms, errors {outcome.errors()}"
    )
    print(
        f"  {stored} stores in {outcome.seconds:.1f} s, {fsyncs:.0f} fsyncs, {stored / max(fsyncs, 1):.1f} stores each"
    )
    print(
        f"  node: {cpu / stored * 1e6:.0f} us of CPU per store, {node.memory_mb():.0f} MB resident"
        + (f"; server: {server / stored * 1e6:.0f} us" if server else ""),
        flush=True,
    )
    return 0 if outcome.errors() or not fsyncs else stored
