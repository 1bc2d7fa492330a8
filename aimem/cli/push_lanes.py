"""Sending many rows: in batches, over several connections at once, again when a node is away for a moment.

A row's lane follows from its namespace and title, and a lane sends one batch after the other: so rows of one pair
arrive in the order of the source, and the last one stands. A batch's idempotency key comes from the run and its
bytes: sending it again is a repeat.
"""

from __future__ import annotations

import hashlib
import json
import queue
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aimem.cli.invocation import Caller
from aimem.cli.progress import Progress
from aimem.cli.push_journal import Journal
from aimem.cli.push_sources import Row
from aimem.errors import AimemError
from aimem.limits import BODY_BYTES_MAX, PUSH_BATCH_BYTES, PUSH_BATCH_ITEMS
from aimem.net.client import path_of
from aimem.net.reply import Reply, error_from, refusal

_PAUSE_SECS, _PAUSE_SECS_MAX = 0.2, 5.0
_LEAVE_SECS = 2.0  # how long an interrupted run waits for requests in flight
_BULK: Final = path_of("memories", "bulk")


@dataclass
class Batch:
    """Rows that go in one request."""

    rows: list[Row] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, row: Row, text: bytes) -> None:
        """Add a row and its JSON."""
        self.rows.append(row)
        self.texts.append(text)
        self.size += len(text) + 1

    def takes(self, text: bytes) -> bool:
        """Whether there is room for one more. An empty batch takes any row that a request can hold."""
        return not self.rows or (len(self.rows) < PUSH_BATCH_ITEMS and self.size + len(text) < PUSH_BATCH_BYTES)

    def body(self) -> bytes:
        """The request body: a JSON array."""
        return b"[" + b",".join(self.texts) + b"]"


@dataclass
class Totals:
    """Rows by what became of them, and the failures named."""

    stored: int = 0
    skipped: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)


class Lanes:
    """Sends rows to `connect()`, with the header fields `identity`.

    `retry_secs` is how long one batch is tried again while the node is away or busy.
    """

    def __init__(
        self,
        connect: Callable[[], Caller],
        identity: Mapping[str, str],
        journal: Journal,
        progress: Progress,
        *,
        count: int,
        retry_secs: float,
    ) -> None:
        self.totals = Totals()
        self._connect, self._journal, self._progress = connect, journal, progress
        self._identity, self._retry_secs = identity, retry_secs
        self._queues: list[queue.Queue[Batch | None]] = [queue.Queue(maxsize=1) for _ in range(count)]
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._failure: BaseException | None = None

    def run(self, rows: Iterable[Row]) -> None:
        """Send all rows. Raises the first error that ended it; `totals` holds what was done until then."""
        threads = [threading.Thread(target=self._lane, args=(lane,), daemon=True) for lane in self._queues]
        for thread in threads:
            thread.start()
        try:
            self._deal(rows)
            for lane in self._queues:
                lane.put(None)
            for thread in threads:
                thread.join()
        except BaseException:
            self._stopped.set()
            for lane, thread in zip(self._queues, threads, strict=True):
                _end(lane)
                thread.join(_LEAVE_SECS)
            raise
        finally:
            self._progress.clear()
        if self._failure:
            raise self._failure

    def _deal(self, rows: Iterable[Row]) -> None:
        batches = [Batch() for _ in self._queues]
        for row in rows:
            if self._stopped.is_set():
                return
            text, problem = _encoded(row)
            if row.fields is None or problem:
                self._refused(row, problem)
                continue
            pair = f"{row.fields.get('namespace')}\0{row.fields.get('title')}"
            at = zlib.crc32(pair.encode("utf-8", "surrogatepass")) % len(batches)
            if not batches[at].takes(text):
                self._queues[at].put(batches[at])
                batches[at] = Batch()
            batches[at].add(row, text)
        for lane, batch in zip(self._queues, batches, strict=True):
            if batch.rows:
                lane.put(batch)

    def _lane(self, batches: queue.Queue[Batch | None]) -> None:
        """One thread: send each batch; after a failure anywhere only empty the queue, so that nobody waits on it."""
        caller: Caller | None = None
        while (batch := batches.get()) is not None:
            if self._stopped.is_set():
                continue
            try:
                caller = caller or self._connect()
                self._send(caller, batch)
            except BaseException as err:
                self._failure = self._failure or err
                self._stopped.set()
        if caller:
            caller.close()

    def _send(self, caller: Caller, batch: Batch) -> None:
        body = batch.body()
        digest = hashlib.sha256(body).hexdigest()
        if self._journal.has(digest):
            self._count(batch, stored=0, skipped=len(batch.rows))
            return
        key = "push-" + hashlib.sha256(f"{self._journal.run} {digest}".encode()).hexdigest()[:40]
        reply = self._tried(caller, body, key).json()
        errors = {error["index"]: error for error in reply.get("errors", ())}
        for index, error in errors.items():
            self._refused(batch.rows[index], str(error["error"]))
        with self._lock:
            if not errors:
                self._journal.add(digest)
        self._count(batch, stored=len(batch.rows) - len(errors), skipped=0)

    def _tried(self, caller: Caller, body: bytes, key: str) -> Reply:
        """The reply, after as many tries as `retry_secs` allow."""
        headers = {**self._identity, "Idempotency-Key": key, "Content-Type": "application/json"}
        until, pause = time.monotonic() + self._retry_secs, _PAUSE_SECS
        while True:
            wait_secs = pause * random.uniform(0.5, 1.5)
            try:
                reply = caller.request("POST", _BULK, None, body, headers)
                error = refusal(reply) or _transient(reply)
                if error is None:
                    return reply
                wait_secs = max(wait_secs, _seconds(reply.headers.get("retry-after")))
            except AimemError as err:
                error = err
            if not error.retryable or time.monotonic() + wait_secs > until or self._stopped.wait(wait_secs):
                raise error
            pause = min(pause * 2, _PAUSE_SECS_MAX)

    def _refused(self, row: Row, problem: str) -> None:
        with self._lock:
            self.totals.errors.append({"where": row.where, "error": problem})
            self._progress.message(f"{row.where}: {problem}")

    def _count(self, batch: Batch, *, stored: int, skipped: int) -> None:
        with self._lock:
            self.totals.stored += stored
            self.totals.skipped += skipped
            self._progress.advance(sum(row.size for row in batch.rows), len(batch.rows))


def _encoded(row: Row) -> tuple[bytes, str]:
    """The JSON of a row, and why it can't be sent, if so."""
    if row.fields is None:
        return b"", row.problem
    try:
        text = json.dumps(row.fields, allow_nan=False).encode()
    except ValueError:
        return b"", "a number in it is out of range"
    return text, "" if len(text) <= BODY_BYTES_MAX - 2 else f"takes more than {BODY_BYTES_MAX} bytes as JSON"


def _transient(reply: Reply) -> AimemError | None:
    """The error of a row that may go away by itself: then the batch is sent again, and its stored rows are repeats."""
    found = (error_from(row, 0) for row in reply.json().get("errors", ()))
    return next((error for error in found if error.retryable), None)


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isascii() and text.isdigit() else 0.0


def _end(lane: queue.Queue[Batch | None]) -> None:
    """Tell a lane to end, past whatever still waits in its queue."""
    try:
        while True:
            lane.get_nowait()
    except queue.Empty:
        lane.put(None)
