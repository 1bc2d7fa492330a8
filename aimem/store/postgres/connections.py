"""Connections to the shared store: a pool that recovers by itself, and a deadline on every call.

What always holds: nobody waits longer than they said. A connection whose call is not done in time, or whose caller went
away, is dropped, never asked to cancel: psycopg would wait ten seconds for a server that does not answer. Whether a
dropped call was carried out is not known; the writer finds out by the id of its operation.

The pool's own way back doubles its pauses, so an outage would last twice as long as it is. Here it gives up at once,
and a watcher that was told of trouble tries every `STORE_PROBE_SECS` until the server answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, waiting
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg.types import TypeInfo
from psycopg_pool import AsyncConnectionPool

from aimem.errors import AimemError, Misconfigured, StoreUnreachable
from aimem.limits import (
    STORE_CALL_SECS,
    STORE_CHECK_SECS,
    STORE_CONNECT_SECS,
    STORE_CONNECTIONS_MAX,
    STORE_CONNECTIONS_MIN,
    STORE_IDLE_SECS,
    STORE_LIFE_SECS,
    STORE_LOCK_SECS,
    STORE_PROBE_SECS,
    STORE_WAITING_MAX,
)
from aimem.store.postgres.failures import Action, DeadlinePassed, action, told
from aimem.store.postgres.url import Target, how_to_say_it

log = logging.getLogger(__name__)
logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it warns of is told here, once and with the reason

_SERVER_SETTINGS = {
    "statement_timeout": f"{int(STORE_CALL_SECS * 1_000)}ms",
    "lock_timeout": f"{int(STORE_LOCK_SECS * 1_000)}ms",
    "idle_in_transaction_session_timeout": f"{int(2 * STORE_CALL_SECS * 1_000)}ms",
    "client_connection_check_interval": "1s",  # a statement whose caller dropped the connection ends with it
    "timezone": "UTC",
    "default_transaction_isolation": r"read\ committed",  # the writer reads behind its lock what the last one left
    "hnsw.iterative_scan": "relaxed_order",  # `off` gave 0.6 of 10 rows where 1 % passed the filter
    "hnsw.ef_search": "100",
    "hnsw.max_scan_tuples": "40000",
    "hnsw.scan_mem_multiplier": "4",
}
_NOT_TRUSTED = (
    "does not support SSL",
    "certificate verify failed",
    "does not match host name",
    "root certificate file",
)
"""What libpq says, which has no codes for it, of a server that is not as trustworthy as it was asked to be."""
_TRANSACTION_TIMEOUT_SINCE = 170_000  # PostgreSQL 17


class Session(AsyncConnection[TupleRow]):
    """A connection that is dropped, at once, when the task that waits for it is cancelled."""

    async def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


class Pool(AsyncConnectionPool[Session]):
    """A pool whose check of an idle connection has an end too."""

    @staticmethod
    async def check_connection(conn: Session) -> None:
        """Ask for nothing."""
        async with within(STORE_CHECK_SECS):
            await conn.execute("")


class Connections:
    """The connections of one process to one database. Made by `open_connections`. `hosts`: which of those that the URL
    names, as libpq's `target_session_attrs` says it."""

    def __init__(self, target: Target, *, most: int = STORE_CONNECTIONS_MAX, hosts: str = "read-write") -> None:
        self.target = target
        self._hosts = hosts
        self._vector: TypeInfo | None = None
        self._trouble = asyncio.Event()
        self._drained = False
        self.why: str | None = None
        """What the last attempt to connect said; None while the server answers."""
        self._pool = Pool(
            self._conninfo,
            connection_class=Session,
            kwargs={"autocommit": True, "prepare_threshold": 5},
            min_size=min(STORE_CONNECTIONS_MIN, most),
            max_size=most,
            max_waiting=STORE_WAITING_MAX,
            max_idle=STORE_IDLE_SECS,
            max_lifetime=STORE_LIFE_SECS,
            reconnect_timeout=0,
            configure=self._configure,
            open=False,
        )
        self._watcher: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self, *, needed: bool = True) -> Self:
        """Connect once, so that what can't work is told now, and fill the pool. A server that is not `needed` may be
        away: the watcher waits for it.

        Raises:
            Misconfigured: nobody can connect this way: wrong password, no such database, no TLS where it is needed.
            StoreUnreachable: the server does not answer.
        """
        try:
            connection = await self._dial()
        except (psycopg.Error, DeadlinePassed) as error:
            refused = refusal(error, self.target)
            if needed or not isinstance(refused, StoreUnreachable):
                raise refused from error
            self.why = " ".join(str(error).split())
            self._trouble.set()
        else:
            await connection.close()
        await self._pool.open()
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        self._closing = True
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})  # the pool may swallow the cancellation: then it ends by the flag
        await self._pool.close(STORE_CONNECT_SECS)

    @asynccontextmanager
    async def use(self, secs: float = STORE_CALL_SECS) -> AsyncIterator[Session]:
        """A connection for as long as the block takes, `secs` at most from the asking on, autocommitting.

        Raises:
            psycopg.Error, DeadlinePassed: as they come; `failures.action` tells what helps, `told` how to say it.
        """
        task = asyncio.current_task()
        asked = task.cancelling() if task is not None else 0
        try:
            async with within(secs), self._pool.connection(timeout=secs) as connection:
                if task is not None and task.cancelling() > asked:  # a connection came at the same instant: the pool
                    raise asyncio.CancelledError  # gives it, and forgets that the caller, or the deadline, went on
                yield connection
        except (psycopg.Error, DeadlinePassed) as error:
            self.noticed(error)
            raise

    @asynccontextmanager
    async def transaction(self, secs: float = STORE_CALL_SECS) -> AsyncIterator[Session]:
        """A transaction on a connection of its own: committed at the end of the block, undone by an exception."""
        async with self.use(secs) as connection, connection.transaction():
            yield connection

    async def alone(self) -> Session:
        """A connection outside of the pool, for whoever keeps one: a writer's, a stream's. The caller closes it.

        Raises:
            psycopg.Error, DeadlinePassed: it can't be had; the watcher knows.
        """
        try:
            return await self._dial()
        except (psycopg.Error, DeadlinePassed) as error:
            self.noticed(error)
            raise

    def noticed(self, error: Exception) -> None:
        """Somebody met this error on a connection: where that means trouble, the watcher looks at once."""
        if action(error) is Action.RECONNECT:
            self._drained = self._drained or isinstance(error, psycopg.Error)
            self._trouble.set()

    def told(self, error: Exception) -> AimemError:
        """The error as callers see it."""
        return told(error, self.target.shown, why=self.why)

    async def _conninfo(self) -> str:
        return conninfo(self.target, self._hosts)

    async def _dial(self) -> Session:
        """One new connection."""
        async with within(2 * STORE_CONNECT_SECS):
            connection = await Session.connect(await self._conninfo(), autocommit=True, prepare_threshold=5)
            try:
                await self._configure(connection)
            except BaseException:
                connection.pgconn.finish()
                raise
            return connection

    async def _configure(self, connection: Session) -> None:
        """What no start-up option can say. The type is looked up once, not per connection."""
        async with within(STORE_CONNECT_SECS):
            await self._prepare(connection)

    async def _prepare(self, connection: Session) -> None:
        if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
            await connection.execute(f"SET transaction_timeout = {int(3 * STORE_CALL_SECS * 1_000)}")
        if self._vector is None:
            self._vector = await TypeInfo.fetch(connection, "halfvec")
        if self._vector is not None:
            from pgvector.psycopg.halfvec import register_halfvec_info

            register_halfvec_info(connection, self._vector)

    async def _watch(self) -> None:
        """After trouble: throw the idle connections away, and try until the server answers."""
        while not self._closing:
            await self._trouble.wait()
            self._trouble.clear()
            drain, self._drained = self._drained, False
            if drain:
                await self._pool.drain()
            while not await self._answers() and not self._closing:
                await asyncio.sleep(STORE_PROBE_SECS)
            if not drain:
                await self._pool.drain()  # what hangs would cost each of its next users a deadline
            await self._pool.check()

    async def _answers(self) -> bool:
        try:
            connection = await self._dial()
        except (psycopg.Error, DeadlinePassed, AimemError) as error:
            first, self.why = self.why is None, " ".join(str(error).split())
            if first:
                log.error("%s", self.told(error).message)
            return False
        await connection.close()
        if self.why is not None:
            log.warning("the shared store %s answers again", self.target.shown)
        self.why = None
        return True


def conninfo(target: Target, hosts: str) -> str:
    """How libpq is told to connect, with the secrets as they are now. `hosts` as `Connections` has it."""
    settings = dict(target.settings) | target.secrets()
    settings |= {
        "application_name": target.program,
        "client_encoding": "UTF8",
        "connect_timeout": str(int(STORE_CONNECT_SECS)),
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "8000",
        "target_session_attrs": hosts,
        "options": " ".join(f"-c {name}={value}" for name, value in _SERVER_SETTINGS.items()),
    }
    return psycopg.conninfo.make_conninfo(**settings)


def refusal(error: Exception, target: Target) -> AimemError:
    """Why no connection could be made; what only an operator can mend is a matter of the configuration."""
    shown, words = target.shown, " ".join(str(error).split())
    if any(phrase in words for phrase in _NOT_TRUSTED):
        hint = how_to_say_it(target) if target.assumed else "see sslmode and store_ca_cert, aimem-store(7)"
        return Misconfigured(f"{shown} can't be reached as safely as asked for: {words}", hint=hint)
    state = getattr(error, "sqlstate", None)
    if "no password supplied" in words or "password authentication failed" in words or state in ("28P01", "28000"):
        return Misconfigured(
            f"{shown} does not let this role in: {words}",
            hint="put the password into ~/.pgpass, or into a file of its owner's alone: store_password_file",
        )
    if "is not permitted to log in" in words or "not currently accepting connections" in words:
        return Misconfigured(
            f"{shown}: {words}",
            hint="ALTER ROLE ... LOGIN, or ALTER DATABASE ... ALLOW_CONNECTIONS true: aimem-store(7)",
        )
    if state == "3D000" or ("database" in words and "does not exist" in words):
        return Misconfigured(f"{shown}: {words}", hint="see aimem-store(7) for the statements that make it")
    return told(error, shown)


async def open_connections(
    target: Target, *, most: int = STORE_CONNECTIONS_MAX, read_only: bool = False
) -> Connections:
    """Connect to a database. With `read_only` a standby will do."""
    return await Connections(target, most=most, hosts="any" if read_only else "read-write").start()


@asynccontextmanager
async def within(secs: float) -> AsyncIterator[None]:
    """Whatever waits for a `Session` inside is cut off after `secs`, and its connection dropped.

    Raises:
        DeadlinePassed: the time was over.
    """
    deadline = asyncio.timeout(secs)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise DeadlinePassed(f"no answer within {round(secs, 1):g} s") from error
