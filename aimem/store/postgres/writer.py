"""One writer at a time in all nodes: each group of intents runs in one transaction that first takes one lock.

Intents read pairs, links, touches and rules, and what they read must not change until they have written; row locks
would not give that, and would meet in a circle. One advisory lock for the whole store does: groups happen one after
the other, `seq` is in the order of commits without gaps that a reader could miss, and the digest in the tables is
exact at every instant. What it costs is shared: up to `GROUP_INTENTS_MAX` intents per transaction, from each node that
waits in turn. (DESIGN 9 would fold digest deltas in the background; with the lock there is nothing to fold.) READ
COMMITTED, so that what is read after the lock is what its last holder left.

A node that stops while it holds the lock is bounded by the server: `idle_in_transaction_session_timeout` ends it, and
`lock_timeout` those who wait too long for it. Two round trips make a group: the lock and all that the group reads go
out together, then all that it writes with the COMMIT.

An answer that is lost with the connection leaves open whether the group was committed. So each notes its id in the
same transaction, in the row of its opening; the next attempt looks there, under the lock, so that the transaction
before it has ended either way. Until then nobody is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from aimem.core.feed import Cursor, resolve
from aimem.core.intent import Intent
from aimem.core.kinds import RESIDENT
from aimem.core.record import Record, Ref
from aimem.errors import AimemError, Busy, StorageFailed, StoreUnreachable
from aimem.limits import FOLLOW_SECS, GROUP_INTENTS_MAX, STORE_WRITE_SECS, WRITE_QUEUE_MAX
from aimem.store.base import Change, Outcome
from aimem.store.postgres.connections import Connections, Session, within
from aimem.store.postgres.failures import Action, DeadlinePassed, action
from aimem.store.postgres.following import (
    NEWS,
    OPENING,
    SAVE_STATE,
    STATE,
    Standing,
    all_news,
    fresh,
    identity_of,
    resident_of,
    saved,
    standing,
    standing_of,
    state_values,
)
from aimem.store.postgres.known import Known, ask
from aimem.store.postgres.reading import starts
from aimem.store.postgres.schema import WRITING
from aimem.store.postgres.session import Connection, one, snapshot
from aimem.store.postgres.table import Program, Transaction

log = logging.getLogger(__name__)

_RETRY_SECS = 0.1

# Plans of look-ups by key must not depend on how large the server believes the tables to be.
_SETTINGS = {
    "lock_timeout": "3s",  # longer than a stopped node may hold the lock
    "idle_in_transaction_session_timeout": "2s",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_BEGIN = (
    "SELECT "
    + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _SETTINGS.items())
    + f", pg_advisory_xact_lock({WRITING})"
)
_COMMITTED = "SELECT EXISTS (SELECT FROM start WHERE id = %s AND operation = %s)"
_SAVE_OPERATION = "UPDATE start SET operation = %s WHERE id = %s"

Work = Callable[[Session, Known], Awaitable[Program]]
"""Reads what it needs under the lock, and gives what is to be done then; that may run several times."""


@dataclass(slots=True)
class _Job:
    """What one caller asked for: intents, or other work that wants a transaction of its own."""

    intents: Sequence[Intent]
    future: asyncio.Future[list[Outcome]]
    work: Work | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    error: AimemError | None = None


class Writer:
    """Owns the writing session, and what this node knows of the store: its `state` and the `resident` records."""

    def __init__(
        self,
        connections: Connections,
        state: Standing,
        resident: dict[Ref, Record],
        *,
        origin: str,
        now: Callable[[], int],
        rand: Callable[[], str],
        committed: Callable[[list[Change]], None],
    ) -> None:
        self.state = state
        self.resident = resident
        self.commits = 0
        self._connections = connections
        self._origin = origin
        self._now = now
        self._rand = rand
        self._committed = committed
        self._session: Session | None = None
        self._identity = state.identity
        self._busy = asyncio.Lock()
        self._jobs: deque[_Job] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._follow_on())]

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        """Run intents in the next groups; see `Store.write`."""
        return await self._submit(_Job(intents, asyncio.get_running_loop().create_future()))

    async def exclusively(self, work: Work) -> None:
        """Do `work` in a transaction of its own."""
        await self._submit(_Job((), asyncio.get_running_loop().create_future(), work))

    def _submit(self, job: _Job) -> asyncio.Future[list[Outcome]]:
        if self._closing:
            raise Busy("the store is closing", hint="try again on another node, or when this one is back")
        if self._queued >= WRITE_QUEUE_MAX:
            raise Busy("too many writes are waiting", hint="try again in a moment")
        self._queued += max(1, len(job.intents))
        self._jobs.append(job)
        self._wake.set()
        return job.future

    async def close(self) -> None:
        """Finish what was accepted, then close the session."""
        self._closing = True
        self._wake.set()
        writing, following = self._tasks
        await writing
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        self._hang_up()

    async def _run(self) -> None:
        while jobs := await self._next_group():
            async with self._busy:
                if waiting := [job for job in jobs if job.error is None]:
                    await self._write_group(waiting)
            _answer(jobs)

    async def _next_group(self) -> list[_Job]:
        """What is queued, up to the bound of a group; waits for something. Empty when closing and all is done."""
        while not self._jobs and not self._closing:
            self._wake.clear()
            await self._wake.wait()
        group: list[_Job] = []
        size = 0
        while self._jobs and size < GROUP_INTENTS_MAX:
            if group and (self._jobs[0].work or group[0].work):
                break
            job = self._jobs.popleft()
            size += max(1, len(job.intents))
            group.append(job)
        self._queued -= size
        return group

    async def _write_group(self, jobs: list[_Job]) -> None:
        try:
            await self._carry_out(jobs)
        except AimemError as error:
            _fail(jobs, error)
            if isinstance(error, StoreUnreachable):  # who queued up meanwhile has waited as long
                _fail(self._jobs, error)
        except Exception as error:
            if len(jobs) == 1:
                log.exception("an intent failed")
                _fail(jobs, StorageFailed(f"internal error: the write was not carried out ({type(error).__name__})"))
            for job in jobs if len(jobs) > 1 else ():
                await self._write_group([job])

    async def _carry_out(self, jobs: list[_Job]) -> None:
        """Attempts until one comes to an end, or time is over.

        Raises:
            StoreUnreachable, Busy, DiskFull: the server can't be reached, or can't write.
        """
        operation, loop = uuid.uuid4(), asyncio.get_running_loop()
        deadline, again = loop.time() + STORE_WRITE_SECS, False
        while True:
            try:
                async with within(deadline - loop.time()):
                    session = await self._opened()
                    await self._attempt(session, jobs, operation, again=again)
                return
            except (psycopg.Error, DeadlinePassed) as error:
                self._connections.noticed(error)
                helps = action(error)
                if helps is Action.FAIL and isinstance(error, psycopg.DataError | psycopg.IntegrityError):
                    raise  # by something that one of the intents wants to write
                if helps is Action.FAIL or loop.time() + _RETRY_SECS >= deadline:
                    raise self._connections.told(error) from error
                again = True
                await asyncio.sleep(_RETRY_SECS)

    async def _opened(self) -> Session:
        if self._session is None:
            self._session = await self._connections.alone()
            self._identity = await identity_of(self._session)
        return self._session

    def _hang_up(self) -> None:
        """Leave the session, and the transaction that it may be in."""
        session, self._session = self._session, None
        if session is not None:
            session.pgconn.finish()

    async def _attempt(self, session: Session, jobs: list[_Job], operation: uuid.UUID, *, again: bool) -> None:
        try:
            await self._transact(session, jobs, operation, again=again)
        except BaseException:
            self._hang_up()
            raise

    async def _transact(self, session: Session, jobs: list[_Job], operation: uuid.UUID, *, again: bool) -> None:
        guess, known = self.view(Known()), Known()
        _run(jobs, guess)
        async with session.pipeline():
            await session.execute("BEGIN")
            await session.execute(_BEGIN)
            committed = await session.execute(_COMMITTED, (self._origin, operation))
            state = await session.execute(STATE, state_values(self.state))
            news = await session.execute(NEWS, (self.state.head,))
            answers = await ask(session, guess.missing)
        found = standing_of(await state.fetchone(), self.state)
        done = again and (await committed.fetchone() or (False,))[0]
        await self._take_in(session, found, await news.fetchall())
        await known.read(answers, guess.missing)
        if done:  # written again, so that the standby that the first COMMIT may not have waited for has it now
            await session.execute(_SAVE_OPERATION, (operation, self._origin))
            await session.execute("COMMIT")
            return
        programs = [await job.work(session, known) for job in jobs if job.work is not None]
        transaction = await self._settled(session, jobs, programs, known)
        await self._commit(session, transaction, operation)

    async def _settled(self, session: Session, jobs: list[_Job], programs: list[Program], known: Known) -> Transaction:
        """The transaction of a run in which nothing was missing."""
        while True:
            transaction = self.view(known)
            outcomes = _run(jobs, transaction, programs)
            if not transaction.missing:
                for job, each in zip(jobs, outcomes, strict=True):
                    job.outcomes = each
                return transaction
            async with session.pipeline():
                answers = await ask(session, transaction.missing)
            await known.read(answers, transaction.missing)

    def view(self, known: Known) -> Transaction:
        """A transaction on the state as this node knows it."""
        state = self.state
        return Transaction(
            known,
            now=known.moment(self._now),
            origin=self._origin,
            incarnation=state.incarnation,
            head=state.head,
            last_row=state.last_row,
            clock=state.clock,
            floor=state.floor,
            resident=self.resident,
        )

    async def _commit(self, session: Session, transaction: Transaction, operation: uuid.UUID) -> None:
        state = self.state
        after = replace(
            state,
            incarnation=transaction.incarnation,
            head=transaction.head,
            clock=transaction.clock.last,
            floor=transaction.floor,
            digest=fresh(state.digest, transaction.deltas),
            last_row=transaction.last_row,
            visible=state.visible + transaction.shown,
        )
        if after != state or transaction.has_written:
            after.revision += 1
            async with session.pipeline():
                await transaction.save(session, after.digest.sums)
                await session.execute(SAVE_STATE, saved(after))
                await session.execute(_SAVE_OPERATION, (operation, self._origin))
                await session.execute("COMMIT")
            self.commits += 1
        else:
            await session.execute("COMMIT")
        self.state = after
        self.resident.update(transaction.resident)
        if transaction.changes:
            self._committed(transaction.changes)

    # What other nodes wrote.

    async def _take_in(self, session: Session, found: Standing, first: Sequence[tuple[Any, ...]]) -> None:
        """Learn what was written since, under the lock; `first` are the first rows of it."""
        rewound = found.incarnation == self.state.incarnation and found.revision < self.state.revision
        if rewound or found.identity != self._identity:
            found = await self._begin_anew(session, found)
        if found is not self.state:
            await self._learn(session, found, first)

    async def _learn(
        self, connection: Connection, found: Standing, first: Sequence[tuple[Any, ...]] | None = None
    ) -> None:
        """Take over a state of the store, and tell of what led to it."""
        known = self.state
        if found.incarnation == known.incarnation:
            changes = await all_news(connection, known.head, first)
        else:  # its past may be another than the one that is known here
            cursor = Cursor(known.incarnation, known.start, known.head)
            after = resolve(cursor, starts=await starts(connection), head=found.head)
            changes = await all_news(connection, after)
            self.resident.clear()
            self.resident.update(await resident_of(connection))
            changes += [Change(0, 0, record, None, False) for record in self.resident.values()]
        self.state = found
        self.resident.update((each.record.ref, each.record) for each in changes if each.record.kind in RESIDENT)
        if changes:
            self._committed(changes)

    async def _begin_anew(self, session: Session, found: Standing) -> Standing:
        """The store was restored to an earlier time, or promoted on a new timeline: its past is not what was known.

        It goes on under a new incarnation and a new opening, so that cursors of the old future are recognised.
        """
        log.warning("the shared store was restored, or another server took over: it goes on under a new incarnation")
        anew = replace(
            found,
            incarnation=self._rand(),
            identity=self._identity,
            start=self._rand(),
            revision=max(found.revision, self.state.revision) + 1,
            clock=max(found.clock, self.state.clock),  # no version is made twice
        )
        await session.execute(OPENING, (anew.start, found.head + 1, self._now()))
        await session.execute(OPENING, (self._origin, found.head + 1, self._now()))
        await session.execute(SAVE_STATE, saved(anew))
        return anew

    async def follow(self) -> None:
        """Learn what other nodes have written until now."""
        async with self._busy:
            plain = await self._follow()
        if not plain and not self._closing:
            await self._submit(_Job((), asyncio.get_running_loop().create_future()))

    async def _follow(self) -> bool:
        """As `follow`; False where the past is not what was known, which only the writer can mend."""
        known = self.state
        try:
            async with self._connections.use() as connection:
                if await one(connection, "SELECT incarnation, revision FROM state") == (
                    known.incarnation,
                    known.revision,
                ):
                    return True
                async with snapshot(connection):
                    state = await standing(connection, known)
                    plain = state.identity == known.identity and state.revision > known.revision
                    if plain:
                        await self._learn(connection, state)
                    return plain or state is known
        except (psycopg.Error, DeadlinePassed) as error:
            raise self._connections.told(error) from error

    async def _follow_on(self) -> None:
        """Look for news while this node does not write itself."""
        while True:
            await asyncio.sleep(FOLLOW_SECS)
            if not self._busy.locked():
                with contextlib.suppress(AimemError):
                    await self.follow()


def _run(jobs: Sequence[_Job], transaction: Transaction, programs: Sequence[Program] = ()) -> list[list[Outcome]]:
    """Run all that a group asks for: the outcomes of each job, not all of them where something is missing."""
    outcomes: list[list[Outcome]] = []
    for job in jobs:
        outcomes.append([])
        for intent in job.intents:
            with transaction.forgiving():
                outcomes[-1].append(transaction.outcome(intent))
    for program in programs:
        with transaction.forgiving():
            program(transaction)
    return outcomes


def _fail(jobs: Iterable[_Job], error: AimemError) -> None:
    for job in jobs:
        job.error = error


def _answer(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.outcomes)
