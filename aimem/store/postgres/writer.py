"""One writer at a time in all nodes: each group of intents runs in one transaction that first takes one lock.

Intents read pairs, links, touches and rules, and what they read must not change until they have written; row locks
would not give that, and would meet in a circle. One advisory lock for the whole store does: groups happen one after
the other, `seq` is in the order of commits without gaps that a reader could miss, and the digest in the tables is
exact at every instant. What it costs is shared: up to `GROUP_INTENTS_MAX` intents per transaction, from each node that
waits in turn, those that came while it waited included; and no deltas of the digest need be folded in the background.
READ COMMITTED, so that what is read after the lock is what its last holder left.

A node that stops while it holds the lock is bounded by the server: `idle_in_transaction_session_timeout` ends it, and
`lock_timeout` those who wait too long for it. Two round trips make a group: the lock and all that the group reads go
out together, then all that it writes with the COMMIT. A third, between them, asks for what those read who joined.

An answer that is lost with the connection leaves open whether the group was committed. So each notes its id in the
same transaction, in the row of its opening; the next attempt looks there, under the lock, so that the transaction
before it has ended either way. Until then nobody is answered.

In a load more is done beside: see `lookahead`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from time import monotonic

import psycopg

from aimem.core.intent import Intent
from aimem.errors import AimemError, StorageFailed, StoreUnreachable
from aimem.limits import FOLLOW_SECS, STORE_CALL_SECS, STORE_WRITE_SECS
from aimem.store.base import Outcome
from aimem.store.grouping import Job, Jobs, answer
from aimem.store.postgres.connections import Connections, Session, within
from aimem.store.postgres.failures import Action, DeadlinePassed, action
from aimem.store.postgres.following import NEWS, Follower
from aimem.store.postgres.group import Group, Run, Work, fail, note
from aimem.store.postgres.known import Known, Recent, ask
from aimem.store.postgres.lookahead import Lookahead
from aimem.store.postgres.past import Past
from aimem.store.postgres.schema import WRITING
from aimem.store.postgres.seen import Seen
from aimem.store.postgres.standing import SAVE_STATE, STATE, Standing, identity_of, saved, standing_of, state_values
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


class Writer:
    """Owns the writing session, and keeps what the `node` knows of the store up to date."""

    def __init__(self, connections: Connections, node: Follower, *, origin: str, past: Past) -> None:
        self.node = node
        self.commits = 0
        self._connections = connections
        self._origin = origin
        self._past = past
        self._session: Session | None = None
        self._identity = node.state.identity
        self._recent = Recent()
        self._alone = True  # nobody else wrote between the last two groups
        self._lookahead: Lookahead | None = None  # in a load
        self._busy = asyncio.Lock()
        self._jobs = Jobs[Work]()
        self._wake = asyncio.Event()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._follow_on())]

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        """Run intents in the next groups; see `Store.write`."""
        return await self._submit(intents)

    async def exclusively(self, work: Work) -> None:
        """Do `work` in a transaction of its own."""
        await self._submit((), work)

    async def load(self, seen: Seen | None) -> None:
        """From now on what is new is copied in, and nothing is asked for that `seen` denies; with None no longer."""
        await self._end_lookahead()
        self._lookahead = None if seen is None else Lookahead(self.node, self._recent, self._upcoming)
        self._recent.load(self.node.state, seen)

    def _submit(self, intents: Sequence[Intent], work: Work | None = None) -> asyncio.Future[list[Outcome]]:
        job = Job(intents, asyncio.get_running_loop().create_future(), work)
        self._jobs.add(job)
        self._wake.set()
        return job.future

    async def close(self) -> None:
        """Finish what was accepted, then close the session."""
        self._jobs.closing = True
        self._wake.set()
        writing, following = self._tasks
        await writing
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await self._end_lookahead()
        self._hang_up()

    async def _end_lookahead(self) -> None:
        lookahead, self._lookahead = self._lookahead, None
        if lookahead is not None:
            await lookahead.speller.close()

    async def _run(self) -> None:
        while jobs := await self._next_group():
            async with self._busy:
                await self._write_group(Group(jobs))

    async def _next_group(self) -> list[Job[Work]]:
        """What is to be written next; waits for something. Empty when closing and all is done."""
        await self._some()
        return self._jobs.next_group()

    async def _upcoming(self) -> list[Job[Work]]:
        """As `_next_group`, ahead of its turn."""
        await self._some()
        return self._jobs.upcoming()

    async def _some(self) -> None:
        """Wait until something is to be written, or this is closing."""
        while not self._jobs and not self._jobs.closing:
            self._wake.clear()
            await self._wake.wait()

    async def _write_group(self, group: Group) -> None:
        """Write what a group asks for, and tell who waits for it."""
        try:
            await self._carry_out(group)
        except AimemError as error:
            fail(group.jobs, error)
            if isinstance(error, StoreUnreachable):
                self._turn_away(error)
        except Exception as error:
            if len(group.jobs) == 1:
                log.exception("an intent failed")
                told = f"internal error: the write was not carried out ({type(error).__name__})"
                fail(group.jobs, StorageFailed(told))
            for job in group.jobs if len(group.jobs) > 1 else ():
                await self._write_group(Group([job], may_grow=False))
        answer(group.jobs)

    def _turn_away(self, error: AimemError) -> None:
        """Fail those who queued up while a group could not be written: they have waited as long."""
        while late := self._jobs.next_group():
            fail(late, error)
            answer(late)

    async def _carry_out(self, group: Group) -> None:
        """Attempts until one comes to an end, or time is over.

        Raises:
            StoreUnreachable, Busy, DiskFull: the server can't be reached, or can't write.
        """
        self._refuse_if_rewound()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STORE_WRITE_SECS
        while True:
            try:
                async with within(deadline - loop.time()):
                    session = await self._opened()
                    await self._attempt(session, group)
                return
            except (psycopg.Error, DeadlinePassed) as error:
                self._connections.noticed(error)
                helps = action(error)
                if helps is Action.FAIL and isinstance(error, psycopg.DataError | psycopg.IntegrityError):
                    raise  # by something that one of the intents wants to write
                if helps is Action.FAIL or loop.time() + _RETRY_SECS >= deadline:
                    raise self._connections.told(error) from error
                group.again = True
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

    async def _attempt(self, session: Session, group: Group) -> None:
        try:
            await self._transact(session, group)
        except BaseException:
            self._hang_up()
            raise

    async def _transact(self, session: Session, group: Group) -> None:
        node, before = self.node, self.node.state
        run = self._run_of(group.jobs)
        guess, guessed = run.transaction, run.outcomes()
        began = monotonic()
        async with session.pipeline():
            await session.execute("BEGIN")
            await session.execute(_BEGIN)
            committed = await session.execute(_COMMITTED, (self._origin, group.operation))
            state = await session.execute(STATE, state_values(node.state))
            news = await session.execute(NEWS, (node.state.head,))
            answers = await ask(session, guess.missing)
        found = standing_of(await state.fetchone(), node.state)
        done = group.again and (await committed.fetchone() or (False,))[0]
        await node.take_in(session, self._identity, found, await news.fetchall())
        self._saw(began)
        if node.rewound.is_set():
            await session.execute("COMMIT")  # of the new incarnation
            self._refuse_if_rewound()
        self._alone = node.state is before
        if not self._alone:
            self._recent.forget()
        known = self._known()
        await known.read(answers, guess.missing)
        if self._alone and not (known.holds_any or guess.gave_up or done or any(job.work for job in group.jobs)):
            note(group.jobs, guessed)  # what was taken for absent is: another run would come to the same
            await self._commit(session, guess, group)
            return
        if done:  # written again, so that the standby that the first COMMIT may not have waited for has it now
            await session.execute(_SAVE_OPERATION, (group.operation, self._origin))
            await session.execute("COMMIT")
            return
        if not self._alone:
            await self._let_join(session, group, known)
        programs = [await job.work(session, known) for job in group.jobs if job.work is not None]
        transaction = await self._settled(session, group.jobs, programs, known)
        await self._commit(session, transaction, group)

    def _known(self) -> Known:
        """What need not be read: nothing while others write too."""
        return self._recent.of(self.node.state) if self._alone else Known()

    def _refuse_if_rewound(self) -> None:
        """What is to be written rests on what is known here of a past that the store has lost: how far the feeds of
        others were read, for one. It would be believed, and what was lost not fetched again."""
        if self.node.rewound.is_set():
            raise StoreUnreachable(
                "the shared store was taken back to an earlier time; this node begins anew",
                hint="try again in a moment",
            )

    async def _let_join(self, session: Session, group: Group, known: Known) -> None:
        """Add who came while other nodes had the lock, and read what these will want to know."""
        if joined := group.grow(self._jobs):
            guess = self.node.view(known)
            Run(joined, guess).outcomes()
            await _fetch(session, guess, known)

    async def _settled(
        self, session: Session, jobs: list[Job[Work]], programs: list[Program], known: Known
    ) -> Transaction:
        """The transaction of a run in which nothing was missing."""
        while True:
            transaction = self.node.view(known)
            outcomes = Run(jobs, transaction, programs).outcomes()
            if not transaction.missing:
                note(jobs, outcomes)
                return transaction
            await _fetch(session, transaction, known)

    async def _commit(self, session: Session, transaction: Transaction, group: Group) -> None:
        after = self.node.after(transaction)
        if after.revision == self.node.state.revision:
            await session.execute("COMMIT")
        else:
            transaction.foretell(self._recent)
            if (lookahead := self._lookahead) is None:
                await self._save(session, transaction, after, group)
            else:
                with lookahead.beside(transaction, after):
                    await transaction.copy(session, lookahead.speller)
                    await self._save(session, transaction, after, group)
            self.commits += 1
        self.node.committed(after, transaction)
        transaction.remembered(self._recent, after)

    async def _save(self, session: Session, transaction: Transaction, after: Standing, group: Group) -> None:
        async with session.pipeline():
            await transaction.save(session, after.digest.sums)
            await session.execute(SAVE_STATE, saved(after))
            await session.execute(_SAVE_OPERATION, (group.operation, self._origin))
            await session.execute("COMMIT")

    def _run_of(self, jobs: list[Job[Work]]) -> Run:
        """A run of a group on what is known: the one that was begun ahead, where there is one."""
        lookahead = self._lookahead
        begun = None if lookahead is None else lookahead.run_of(jobs)
        run = begun or Run(jobs, self.node.view(self._known()))
        run.outcomes()
        if lookahead is not None:
            lookahead.spell(run.transaction)
        return run

    async def follow(self, secs: float = STORE_CALL_SECS) -> None:
        """Learn what other nodes have written until now. One attempt, that takes `secs` at most.

        Raises:
            psycopg.Error, DeadlinePassed: as `Connections.use`. AimemError: as a write.
        """
        async with self._busy:
            began = monotonic()
            async with self._connections.use(secs) as connection:
                plain = await self.node.look(connection)
            if plain:
                self._saw(began)
        if not plain and not self._jobs.closing:
            await self._submit(())

    def _saw(self, moment: float) -> None:
        """What is known of the store now is no older than this."""
        self._past.note(moment, self.node.state.incarnation, self.node.state.revision)

    async def _follow_on(self) -> None:
        """Look for news while this node does not write itself."""
        while not self._jobs.closing:
            await asyncio.sleep(FOLLOW_SECS)
            if not self._busy.locked():
                try:
                    await self.follow()
                except (psycopg.Error, DeadlinePassed, AimemError):
                    continue  # the watcher of the connections has told of it
                except Exception:
                    log.exception("what other nodes wrote can't be read")


async def _fetch(session: Session, transaction: Transaction, known: Known) -> None:
    """Read what a run lacked."""
    async with session.pipeline():
        answers = await ask(session, transaction.missing)
    await known.read(answers, transaction.missing)
