"""The rows of the speed table, each a function that measures a running node (aimem's, or the existing system's)."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

from benchlib.figures import Figure, of_load
from benchlib.load import Outcome, drive, for_seconds, request
from benchlib.node import Node
from benchlib.prepared import NAMESPACES, memory, questions
from benchlib.texts import Texts

BULK = 500
BACKLOG = 3_000  # texts that wait while stores are measured beside the embedder
_IDS = 5_000
_WARM_SECS = 1.0
_numbers = iter(range(10_000_000, 2**60))  # titles of what a measurement stores: none comes twice


class Subject:
    """A node with `rows` rows, and what is measured on it."""

    def __init__(self, node: Node, rows: int, tier: str, seconds: float, of: str = "aimem") -> None:
        self.node, self.rows, self.tier, self.seconds, self.of = node, rows, tier, seconds, of

    def figure(self, row: str, clients: int, outcome: Outcome, cpu: float, fsyncs: int | None = None) -> Figure:
        return Figure(row, self.rows, self.tier, clients, outcome.errors(), fsyncs, self.of, of_load(outcome, cpu))

    def reading(self, row: str, clients: int, requests: Callable[[], bytes], warm: float = _WARM_SECS) -> Figure:
        """A load of reads, after a short one that is not counted."""
        drive(self.node.port, clients, for_seconds(warm, requests))
        cpu = self.node.cpu_seconds()
        outcome = drive(self.node.port, clients, for_seconds(self.seconds, requests))
        return self.figure(row, clients, outcome, self.node.cpu_seconds() - cpu)

    def storing(self, row: str, clients: int) -> Figure:
        """A load of stores. Their requests are made beforehand, as many as could be answered."""
        texts, count = Texts(next(_numbers)), int(self.seconds * (10_000 if clients > 1 else 3_000))
        made = (json.dumps(memory(texts, next(_numbers))).encode() for _ in range(count))
        ready = [request("POST", "/api/v1/memories", body) for body in made]
        cpu, fsyncs = self.node.cpu_seconds(), self.fsyncs()
        outcome = drive(self.node.port, clients, for_seconds(self.seconds, lambda: ready.pop() if ready else None))
        counted = None if fsyncs is None else (self.fsyncs() or 0) - fsyncs
        return self.figure(row, clients, outcome, self.node.cpu_seconds() - cpu, counted)

    def fsyncs(self) -> int | None:
        return int(self.node.metric("aimem_fsyncs_total")) if self.of == "aimem" else None


# Reads.


def get_by_id(subject: Subject) -> Figure:
    ids = _ids(subject.node)
    paths = [request("GET", f"/api/v1/memories/{each}") for each in ids]
    return subject.reading("get", 16, lambda: random.choice(paths))


def health(subject: Subject) -> Figure:
    asked = request("GET", "/api/v1/health")
    return subject.reading("health", 16, lambda: asked)


def recall_by_one(subject: Subject) -> Figure:
    return subject.reading("recall-1", 1, _recalls(1))


def recall_by_many(subject: Subject) -> Figure:
    return subject.reading("recall-16", 16, _recalls(2))


def _recalls(seed: int) -> Callable[[], bytes]:
    asked: Iterator[bytes] = (request("GET", f"/api/v1/recall?context={quote(text)}") for text in questions(seed))
    return lambda: next(asked)


def _ids(node: Node) -> list[str]:
    """Ids of memories of every namespace."""
    share = _IDS // NAMESPACES
    pages = (node.call("GET", f"/memories?namespace=bench/{each}&limit={share}") for each in range(NAMESPACES))
    return [found["id"] for page in pages for found in page["memories"]]


# Writes.


def store_by_many(subject: Subject) -> Figure:
    return subject.storing("store-64", 64)


def store_by_one(subject: Subject) -> Figure:
    return subject.storing("store-1", 1)


def store_with_backlog(subject: Subject) -> Figure:
    """Stores while embedding has more to do than it can."""
    _bulk(subject, BACKLOG)
    found = subject.storing("store-64-backlog", 64)
    found.values["backlog_after"] = backlog(subject.node)
    return found


def bulk(subject: Subject) -> Figure:
    """One client that sends 500 rows at a time. The text is made beforehand."""
    texts = Texts(next(_numbers))
    bodies = [
        json.dumps([memory(texts, next(_numbers)) for _ in range(BULK)]).encode()
        for _ in range(int(subject.seconds * 40))
    ]
    ready = [request("POST", "/api/v1/memories/bulk", body) for body in bodies]
    cpu, fsyncs = subject.node.cpu_seconds(), subject.fsyncs()
    outcome = drive(subject.node.port, 1, for_seconds(subject.seconds, lambda: ready.pop() if ready else None))
    counted = None if fsyncs is None else (subject.fsyncs() or 0) - fsyncs
    found = subject.figure("bulk-500", 1, outcome, subject.node.cpu_seconds() - cpu, counted)
    found.values["rows_per_second"] = found.values["per_second"] * BULK
    found.values["node_cpu_us_per_row"] = found.values["node_cpu_us"] / BULK
    return found


def embedding(subject: Subject) -> Figure:
    """How fast the texts that wait are embedded while nobody asks anything, and how much of the machine that takes."""
    if backlog(subject.node) < BACKLOG:
        _bulk(subject, BACKLOG)
    began, cpu, before = time.perf_counter(), subject.node.cpu_seconds(), backlog(subject.node)
    while (left := backlog(subject.node)) and time.perf_counter() - began < 2 * subject.seconds:
        time.sleep(0.25)
    took = time.perf_counter() - began
    values = {
        "texts_per_second": (before - left) / took,
        "cores_used": (subject.node.cpu_seconds() - cpu) / took,
        "backlog_after": left,
    }
    return Figure("embedding", subject.rows, subject.tier, of=subject.of, values=values)


def _bulk(subject: Subject, rows: int) -> None:
    texts = Texts(next(_numbers))
    for _ in range(0, rows, BULK):
        subject.node.call("POST", "/memories/bulk", [memory(texts, next(_numbers)) for _ in range(BULK)])


def backlog(node: Node) -> int:
    return int(node.call("GET", "/health")["embedding_backlog"])


# The process.


def memory_held(subject: Subject) -> Figure:
    """Resident memory and size of the files, as they are now."""
    status = subject.node.call("GET", "/status")
    values = {
        "resident_mb": subject.node.memory_mb(),
        "disk_mb": (status["db"]["size_bytes"] + status["db"]["wal_bytes"]) / 2**20,
    }
    return Figure("memory", subject.rows, subject.tier, of=subject.of, values=values)
