"""A shared store as a source, and as a target that one move at a time fills. Imports psycopg."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aimem.core.feed import Cursor, resolve
from aimem.core.record import Record, Ref
from aimem.errors import Locked, Misconfigured
from aimem.limits import MIGRATE_BATCH_BYTES, MIGRATE_BATCH_RECORDS
from aimem.store.moving.source import Page
from aimem.store.postgres import reading
from aimem.store.postgres.calls import own_session
from aimem.store.postgres.clock import ServersClock
from aimem.store.postgres.connections import Session, open_connections
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.schema import FILLING, version_of
from aimem.store.postgres.session import one, snapshot
from aimem.store.postgres.standing import Standing, standing
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.url import Target


class SharedSource:
    """A `Source`: one committed state, read without writing anything. A standby will do."""

    def __init__(self, name: str, session: Session, state: Standing, starts: list[tuple[str, int]]) -> None:
        self.name = name
        self.incarnation = state.incarnation
        self.head = state.head
        self.floor = state.floor
        self.clock = state.clock
        self.digest = state.digest.root()
        self._session = session
        self._starts = starts

    async def resolve(self, cursor: Cursor) -> int:
        if cursor.incarnation != self.incarnation:
            return 0
        return resolve(cursor, starts=self._starts, head=self.head)

    async def page(self, after: int) -> Page:
        found = await reading.changes(self._session, after, MIGRATE_BATCH_RECORDS, MIGRATE_BATCH_BYTES, None)
        cursor = Cursor(found.incarnation, found.start, found.position)
        return Page([record for _, record in found.found], cursor, found.more)

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        return await reading.find(self._session, refs)

    async def positions(self, prefix: str) -> dict[str, int]:
        return await reading.positions(self._session, prefix)


@asynccontextmanager
async def opened_source(target: Target) -> AsyncIterator[SharedSource]:
    """The store of a database, as it is now.

    Raises:
        Misconfigured: nobody can connect this way, or it is no store of ours. StoreUnreachable: no answer.
    """
    connections = await open_connections(target, most=1, read_only=True)
    try:
        async with own_session(connections) as session, snapshot(session):
            if await version_of(session) is None:
                raise Misconfigured(f"{target.shown} holds no store of aimem, and none of ai-memory")
            yield SharedSource(target.shown, session, await standing(session), await reading.starts(session))
    finally:
        await connections.close()


@asynccontextmanager
async def opened_target(target: Target) -> AsyncIterator[PostgresStore]:
    """The store of a database, to be filled: as a load, where that may be (see `postgres.loading`).

    Raises:
        Locked: it is being filled by another. Otherwise as `postgres.opening.open_store`.
    """
    target = replace(target, program="aimem migrate")
    connections = await open_connections(target, most=1)
    try:
        async with own_session(connections) as session:
            if await one(session, "SELECT pg_try_advisory_lock(%s)", (FILLING,)) != (True,):
                raise Locked(
                    f"another migration into {target.shown} is running, or a node ends one that was broken off",
                    hint="run this again when it has ended",
                )
            store = await open_store(target, now=ServersClock(time.time_ns), filling=True)
            try:
                await store.hear()  # of the server's time, before anything is stamped
                await store.load()
                yield store
            finally:
                await store.close()
    finally:
        await connections.close()
