"""Stores to measure on: what fills a node, and a PostgreSQL that is started for it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchlib.load import request
from benchlib.node import ROOT, Node
from benchlib.texts import Texts

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

_BULK = 500
_MANY = 200_000  # rows; above, the memory that aimem-store(7) gives the server of a million


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


@contextmanager
def postgres(rows: int = 0) -> Iterator[PostgresServer]:
    """One of the tests' servers (run with build/venv/bin/python), with fsync and the memory that so many rows want. Its
    log tells how long each index took."""
    sys.path.insert(0, str(ROOT))
    from tests.postgres_server import running_postgres

    settings = {
        "shared_buffers": "4GB" if rows > _MANY else "1GB",
        "autovacuum": "on",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "30min",
        "log_min_duration_statement": "100",
    }
    with running_postgres(fsync=True, **settings) as server:
        yield server


def new_store(server: PostgresServer) -> str:
    """The URL of an empty database, as a node is given it."""
    from tests.postgres_server import ROLE

    return server.url(server.new_database(), role=ROLE)


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
