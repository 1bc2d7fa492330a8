"""Reads from hot standbys: which of them may answer, and what is known of each.

What always holds: a read is answered from one state of a replica, of which that same state says that it belongs to this
history of the store, holds the caller's own last write, and is no older than the bound. Where no replica has such a
state, or none answers, the primary is asked. A position in the feed serves as the token, not one in the server's log:
it is read with the rest, costs a commit nothing, and names the incarnation, so that one of a lost future is recognised.

Only standbys are connected to. psycopg asks each host of a URL by itself, so it can't prefer one: a promoted standby
counts as gone once its connections have ended, and its reads go to the primary that it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import psycopg

from aimem.errors import AimemError, Misconfigured
from aimem.limits import REPLICA_CALL_SECS, REPLICA_LOOK_SECS, REPLICA_PATIENCE_SECS
from aimem.store.postgres.checks import Finding
from aimem.store.postgres.connections import Connections
from aimem.store.postgres.failures import DeadlinePassed
from aimem.store.postgres.past import Past
from aimem.store.postgres.session import Connection, one, snapshot
from aimem.store.postgres.url import Target

log = logging.getLogger(__name__)

T = TypeVar("T")
UNREACHABLE, BEHIND = "replica_unreachable", "replica_behind"
_POLL_SECS = 0.002


class NoReplica(Exception):
    """None of them can answer this."""


class At(NamedTuple):
    """The state of a replica: what of the store's past it holds."""

    incarnation: str
    revision: int
    head: int


async def position(connection: Connection) -> At:
    """The state that this connection reads."""
    found = await one(connection, "SELECT incarnation, revision, head FROM state")
    assert found is not None
    return At(*found)


class Replica:
    """One URL of hot standbys. `at` is its state at the last look, `reads` how many it has answered."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.connections = Connections(target, hosts="standby")
        self.at: At | None = None
        self.bytes_behind: int | None = None
        """Of the server's log, when it was examined."""
        self.reads = 0
        self._suspect = False  # something failed there since the last look

    @property
    def why(self) -> str | None:
        """Why it can't be reached; None while it answers."""
        return self.connections.why

    @property
    def promising(self) -> bool:
        """Whether it is worth the asking."""
        return self.why is None and not self._suspect

    async def examine(self, system: str, database: str, log_position: str | None) -> None:
        """Look whether it is a replica of this database of this server.

        Raises:
            Misconfigured: it is not.
        """
        if self.why is not None:
            return
        try:
            async with self.connections.use() as connection:
                found = await one(
                    connection,
                    "SELECT system_identifier::text, current_database()::text, "
                    "pg_wal_lsn_diff(%s::pg_lsn, pg_last_wal_replay_lsn())::bigint FROM pg_control_system()",
                    (log_position,),
                )
        except (psycopg.Error, DeadlinePassed) as error:
            self.connections.why = self.connections.told(error).message
            return
        assert found is not None
        if found[:2] != (system, database):
            what = "another server" if found[0] != system else f"the database {found[1]}, not {database}"
            raise Misconfigured(
                f"{self.target.shown} is no replica of the store: it leads to {what}",
                hint="name hot standbys of the server of --store-url, with the same database",
            )
        self.bytes_behind = None if found[2] is None else max(0, found[2])

    async def look(self) -> None:
        """Learn its state."""
        if self.why is not None:
            return
        try:
            async with self.connections.use(REPLICA_CALL_SECS) as connection:
                self.at = await position(connection)
        except (psycopg.Error, DeadlinePassed):
            self._suspect = True
            return
        self._suspect = False

    async def read(
        self,
        deadline: float,
        may: Callable[[At], bool],
        after: int,
        read: Callable[..., Awaitable[T]],
        arguments: Sequence[Any],
    ) -> T:
        """What `read` gives on a state that `may` be read and holds `after`, waiting a moment for that to come.

        Raises:
            NoReplica: it is behind. psycopg.Error, DeadlinePassed: it failed.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + REPLICA_PATIENCE_SECS
        while True:
            try:
                using = self.connections.use(deadline - loop.time())
                async with using as connection, connection.pipeline(), snapshot(connection):
                    self.at = at = await position(connection)
                    if may(at) and at.head >= after:
                        found = await read(connection, *arguments)
                        self.reads += 1
                        return found
            except (psycopg.Error, DeadlinePassed):
                self._suspect = True
                raise
            if not may(at) or loop.time() >= until:
                raise NoReplica
            await asyncio.sleep(_POLL_SECS)


class Replicas:
    """The replicas of one store. `bound` is how old (s) what they answer may be."""

    def __init__(self, targets: Sequence[Target], bound: float) -> None:
        self.bound = bound
        self.past = Past()
        self.primary_reads = 0
        """Reads that a replica might have answered, and none did."""
        self._all = [Replica(target) for target in targets]
        self._turn = 0
        self._looking: list[asyncio.Task[None]] = []

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._all)

    def __bool__(self) -> bool:
        return bool(self._all)

    async def connect(self) -> None:
        """Connect to each. One that does not answer is found later.

        Raises:
            Misconfigured: nobody can connect this way.
        """
        await asyncio.gather(*(each.connections.start(needed=False) for each in self))

    def watch(self) -> None:
        """Look at each again and again from now on."""
        self._looking = [asyncio.create_task(self._look_on(each)) for each in self]

    async def close(self) -> None:
        """Let go of all. Idempotent."""
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        await asyncio.gather(*(each.connections.close() for each in self))

    async def _look_on(self, replica: Replica) -> None:
        while True:
            try:
                await replica.look()
            except Exception:
                log.exception("the replica %s can't be looked at", replica.target.shown)
            await asyncio.sleep(REPLICA_LOOK_SECS)

    def lag(self, replica: Replica) -> float:
        """Seconds that it was behind when it was last looked at."""
        return math.inf if replica.at is None else self.past.lag(replica.at.incarnation, replica.at.revision)

    def _may(self, at: At) -> bool:
        return self.past.lag(at.incarnation, at.revision) <= self.bound

    async def read(self, after: int, read: Callable[..., Awaitable[T]], arguments: Sequence[Any]) -> T:
        """What `read(connection, *arguments)` gives on a replica that holds the feed up to `after`, each in its turn.

        Raises:
            NoReplica: the primary is to be asked.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REPLICA_CALL_SECS
        self._turn += 1
        first = self._turn % len(self._all)
        for replica in (*self._all[first:], *self._all[:first]):
            if replica.promising and (replica.at is None or self._may(replica.at)) and loop.time() < deadline:
                with contextlib.suppress(NoReplica, psycopg.Error, DeadlinePassed, AimemError):
                    return await replica.read(deadline, self._may, after, read, arguments)
        self.primary_reads += 1
        raise NoReplica

    def findings(self) -> list[Finding]:
        """What is not as it should be."""
        found = []
        for each in self:
            shown = each.target.shown
            if each.why is not None:
                hint = "what it would answer is read elsewhere meanwhile"
                found.append(Finding(UNREACHABLE, f"the replica {shown} can't be reached: {each.why}", hint))
                continue
            if each.at is not None and not self._may(each.at):
                hint = "it is not read from: see whether it still follows the primary (pg_stat_wal_receiver there)"
                words = f"the replica {shown} is more than {self.bound:g} s behind, or has another history"
                found.append(Finding(BEHIND, words, hint))
        return found

    def describe(self) -> list[dict[str, Any]]:
        """Each as `status` shows it."""
        return [
            {
                "url": each.target.shown,
                "reachable": each.why is None,
                "why": each.why,
                "lag_secs": None if math.isinf(lag := self.lag(each)) else round(lag, 3),
                "bytes_behind_at_start": each.bytes_behind,
                "reads": each.reads,
            }
            for each in self
        ]
