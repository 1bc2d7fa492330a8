"""Group commit: one thread writes; all that queued up while it was busy shares the next transaction and its fsync.

Whoever waits is answered after the commit. When a group fails as a whole through a fault of one intent, its intents are
run again one by one, so that only the guilty one fails. A full disk fails the group and the next one tries anew; any
other I/O error ends all acknowledgements until the process restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from aimem.core.digest import Digest
from aimem.core.intent import Intent
from aimem.errors import AimemError, Busy, DiskFull, StorageFailed
from aimem.limits import WAL_BYTES_MAX
from aimem.store.base import Change, Outcome
from aimem.store.grouping import Job, Jobs, answer
from aimem.store.sqlite.checkpointing import Checkpointer
from aimem.store.sqlite.faults import meaning
from aimem.store.sqlite.table import Transaction, resident_of
from aimem.store.state import State, pack, repacked

log = logging.getLogger(__name__)

_CHECKPOINT_RECORDS = 2_000  # about 8 to 20 MiB of log: seldom enough to share pages, often enough to stay short
_REST_RECORDS = 100  # moved in some 10 ms, for which writes wait; with 500 it was 75 at a million rows


Work = Callable[[Transaction], object]


class Writer:
    """Owns the writing connection and the committed `state`. Made and used on one event loop."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        state: State,
        *,
        origin: str,
        now: Callable[[], int],
        committed: Callable[[list[Change], int], None],
    ) -> None:
        self.state = state
        self.resident = resident_of(connection)
        self.fsyncs = 0
        self.failed: AimemError | None = None
        self._path = path
        self._connection = connection
        self._origin = origin
        self._now = now
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._jobs = Jobs[Work]()
        self._wake = threading.Condition()
        self._unchecked = 0
        self._packed = pack(state.digest)
        self._untold: list[tuple[list[Change], int]] = []
        self._checkpointer = Checkpointer(path, self._checkpoint_failed)
        self._thread = threading.Thread(target=self._run, name="aimem-writer", daemon=True)
        self._thread.start()

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        """Run intents in the next groups; see `Store.write`."""
        return await self._submit(Job(intents, self._loop.create_future()))

    async def exclusively(self, work: Work) -> None:
        """Run `work` in a transaction of its own."""
        await self._submit(Job((), self._loop.create_future(), work))

    def _submit(self, job: Job[Work]) -> asyncio.Future[list[Outcome]]:
        if self.failed is not None:
            raise self.failed
        with self._wake:
            self._jobs.add(job)
            self._wake.notify()
        return job.future

    async def close(self) -> None:
        """Finish what was accepted, then close the connection."""
        with self._wake:
            self._jobs.closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    # From here on: the writer's thread.

    def _run(self) -> None:
        while jobs := self._next_group():
            self._write_group(jobs)
            committed, self._untold = self._untold, []
            self._loop.call_soon_threadsafe(self._answer, jobs, committed)
            self._checkpoint_when_due()
        self._checkpointer.close()
        with contextlib.suppress(sqlite3.Error):
            self._move_log("TRUNCATE")
        self._connection.close()

    def _next_group(self) -> list[Job[Work]]:
        """What is queued, up to the bound of a group; waits for something. Empty when closing and all is done."""
        with self._wake:
            while not self._jobs and not self._jobs.closing:
                self._wake.wait()
            return self._jobs.next_group()

    def _write_group(self, jobs: list[Job[Work]]) -> None:
        if self.failed is not None:
            for job in jobs:
                job.error = self.failed
            return
        try:
            self._commit(jobs)
        except sqlite3.Error as error:
            self._give_up(jobs, error)
        except Exception:
            if len(jobs) == 1:
                log.exception("an intent failed")
                jobs[0].error = StorageFailed("internal error: the write was not carried out")
            for job in jobs if len(jobs) > 1 else ():
                self._write_group([job])

    def _commit(self, jobs: list[Job[Work]]) -> None:
        """One transaction for all jobs. On any error nothing of it is left, in the file or in memory."""
        state = self.state
        transaction = Transaction(self._connection, state, self.resident, now=self._now(), origin=self._origin)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                job.outcomes = [transaction.outcome(intent) for intent in job.intents]
                if job.work is not None:
                    job.work(transaction)
            digest = Digest(state.digest.sums)
            digest.apply(transaction.deltas)
            after = State(transaction.incarnation, transaction.head, transaction.clock.last, transaction.floor, digest)
            packed = repacked(self._packed, digest, transaction.deltas)
            self._save(after, packed)
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        self.fsyncs += 1
        self._unchecked += len(transaction.changes)
        self.state, self._packed = after, packed
        self.resident.take(transaction.resident.values())
        if transaction.changes:
            self._untold.append((transaction.changes, transaction.shown))

    def _save(self, state: State, packed: bytes) -> None:
        """Write the state row, when it changed."""
        if state != self.state:
            self._connection.execute(
                "UPDATE state SET incarnation = ?, head = ?, clock = ?, floor = ?, digest = ?",
                (state.incarnation, state.head, state.clock, state.floor, packed),
            )

    def _give_up(self, jobs: list[Job[Work]], error: sqlite3.Error) -> None:
        fault = meaning(error, self._path)
        if not isinstance(fault, DiskFull | Busy):
            self.failed = fault
            log.critical("%s (%s): no write is acknowledged from here on", fault.message, error)
        for job in jobs:
            job.error = fault

    def _checkpoint_when_due(self) -> None:
        """Move the log into the file now and then: beside the writes that go on, again while much came meanwhile, and
        the short rest here. When that never ends, wait for readers at the bound, so that the log can't grow for ever.
        """
        if self.failed is not None:
            return
        if self._checkpointer.at_work:
            if not self._checkpointer.ended():
                return
        elif self._unchecked < _CHECKPOINT_RECORDS:
            return
        rest, self._unchecked = self._unchecked, 0
        try:
            if self._log_size() > WAL_BYTES_MAX:
                self._move_log("TRUNCATE")
            elif rest <= _REST_RECORDS:
                self._move_log("PASSIVE")
            else:
                self._checkpointer.begin()
        except sqlite3.Error as error:
            self._checkpoint_failed(error)

    def _move_log(self, mode: str) -> None:
        self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()

    def _log_size(self) -> int:
        try:
            return os.stat(f"{self._path}-wal").st_size
        except FileNotFoundError:
            return 0

    def _checkpoint_failed(self, error: sqlite3.Error) -> None:
        """On this thread or that of the checkpoint."""
        fault = meaning(error, self._path)
        if not isinstance(fault, DiskFull | Busy):  # those two: the log still holds every page
            self.failed = fault
            log.critical("%s (%s) in a checkpoint", fault.message, error)

    # Back on the event loop.

    def _answer(self, jobs: list[Job[Work]], committed: list[tuple[list[Change], int]]) -> None:
        """Tell of what was committed, then whoever waits: one wake of the loop for both."""
        for changes, shown in committed:
            self._committed(changes, shown)
        answer(jobs)
