"""How a call reaches the server: which one answers, how long it may take, and what is tried again.

Reads are answered from one committed state, by the primary, or by a replica where the caller has said that this will
do (see `store.lagging`). They are bounded; only who asks for a connection of its own takes as long as it takes. What
goes wrong is told as one of our own errors. Groups of intents have their own ways, as theirs may not be made twice (see
`writer`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg

from aimem.limits import STORE_CALL_SECS
from aimem.store import lagging
from aimem.store.postgres.connections import Connections, Session
from aimem.store.postgres.failures import Action, DeadlinePassed, action
from aimem.store.postgres.replicas import NoReplica, Replicas
from aimem.store.postgres.session import snapshot, unbounded

T = TypeVar("T")
_RETRY_SECS = 0.1


class Calls:
    """Calls on a store by its `connections` to the primary, and its `replicas`. All of them raise StoreUnreachable or
    Busy where the server can't be reached, or took too long."""

    def __init__(self, connections: Connections, replicas: Replicas) -> None:
        self._connections = connections
        self._replicas = replicas

    async def read_primary(self, read: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """What `read(connection, *arguments)` gives, on one committed state."""
        return await self._read(_deadline(), read, arguments)

    async def read_any(self, read: Callable[..., Awaitable[T]], *arguments: Any, alone: bool = False) -> T:
        """As `read_primary`; from a replica where the caller said that this will do. `alone`: what it gives is that of
        one statement, which sees one state without a transaction around it."""
        after, deadline = lagging.wanted(), _deadline()
        if after is not None and self._replicas:
            with suppress(NoReplica):
                return await self._replicas.read(after, read, arguments)
        return await self._read(deadline, read, arguments, alone=alone)

    async def _read(
        self, deadline: float, read: Callable[..., Awaitable[T]], arguments: Sequence[Any], *, alone: bool = False
    ) -> T:
        async def attempt(secs: float) -> T:
            async with self._connections.use(secs) as connection:
                if alone:
                    return await read(connection, *arguments)
                async with connection.pipeline(), snapshot(connection):
                    return await read(connection, *arguments)

        return await self.repeat(attempt, deadline)

    async def repeat(self, attempt: Callable[[float], Awaitable[T]], deadline: float | None = None) -> T:
        """What an attempt comes to that may take so many seconds; again where a connection was lost, until the deadline
        (loop time), which is that of a call where none is given."""
        loop = asyncio.get_running_loop()
        deadline = _deadline() if deadline is None else deadline
        said: Exception | None = None  # of an attempt that had its time: the last one may have had next to none
        while True:
            try:
                return await attempt(deadline - loop.time())
            except (psycopg.Error, DeadlinePassed) as error:
                said = said if said is not None and isinstance(error, DeadlinePassed) else error
                if action(error) is Action.FAIL or loop.time() + _RETRY_SECS >= deadline:
                    raise self._connections.told(said) from error
                await asyncio.sleep(_RETRY_SECS)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A transaction for work beside the writer's, on tables that it does not write."""
        try:
            async with self._connections.transaction() as connection:
                yield connection
        except (psycopg.Error, DeadlinePassed) as error:
            raise self._connections.told(error) from error

    def alone(self) -> AbstractAsyncContextManager[Session]:
        """A connection of its own, for as long as it takes."""
        return own_session(self._connections)

    @asynccontextmanager
    async def long_snapshot(self) -> AsyncIterator[Session]:
        """One committed state for as long as it takes."""
        async with self.alone() as session, snapshot(session):
            yield session


@asynccontextmanager
async def own_session(connections: Connections) -> AsyncIterator[Session]:
    """A connection for one caller alone, for as long as it takes. Raises as `Calls`."""
    try:
        session = await connections.alone()
        try:
            await unbounded(session, session=True)
            yield session
        finally:
            session.pgconn.finish()
    except (psycopg.Error, DeadlinePassed) as error:
        raise connections.told(error) from error


def _deadline() -> float:
    """When a call that begins now has to be done (loop time)."""
    return asyncio.get_running_loop().time() + STORE_CALL_SECS
