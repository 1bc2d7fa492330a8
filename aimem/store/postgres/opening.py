"""From the URL of a database to a store: connect, make or migrate the tables, and begin a new opening of the store.

Any number of nodes may do so at once: the tables are made under one lock, and an opening is noted under the writers'.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import psycopg

from aimem.limits import STORE_OPEN_SECS
from aimem.store.ids import random_id
from aimem.store.postgres import loading, schema, tenancy
from aimem.store.postgres.connections import Connections, Session, open_connections, within
from aimem.store.postgres.failures import DeadlinePassed
from aimem.store.postgres.replicas import Replicas
from aimem.store.postgres.session import unbounded
from aimem.store.postgres.standing import OPENING, SAVE_STATE, Standing, identity_of, resident_of, saved, standing
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.url import Target
from aimem.store.resident import Resident

log = logging.getLogger(__name__)


async def open_store(
    target: Target,
    *,
    now: Callable[[], int] = time.time_ns,
    rand: Callable[[], str] = random_id,
    replicas: Replicas | None = None,
    fleet: str | None = None,
    filling: bool = False,
) -> PostgresStore:
    """Open the store in a database, making its tables where there are none. `replicas`, connected, are the store's from
    then on. `fleet`: whose node this is. Indexes that are missing are made first, however long it takes, unless this is
    for `filling` it.

    Raises:
        Locked: it is being filled by a migration that makes them at its end.
        Misconfigured: nobody can connect this way, the tables are newer than this program or another's, the extension
            is missing, or it is the store of another fleet.
        StoreUnreachable: the server does not answer.
    """
    connections = await open_connections(target)
    try:
        start = rand()
        state, resident = await _begin(connections, start, now, rand, fleet, filling=filling)
        return PostgresStore(connections, state, resident, start=start, now=now, rand=rand, replicas=replicas)
    except (psycopg.Error, DeadlinePassed) as error:
        await connections.close()
        raise connections.told(error) from error
    except BaseException:
        await connections.close()
        raise


async def _begin(
    connections: Connections,
    start: str,
    now: Callable[[], int],
    rand: Callable[[], str],
    fleet: str | None,
    *,
    filling: bool,
) -> tuple[Standing, Resident]:
    session = await connections.alone()
    try:
        async with within(STORE_OPEN_SECS), session.transaction():
            begun = await _open(session, start, now, rand, fleet)
            incomplete = not filling and await loading.is_incomplete(session)
        if incomplete:
            await unbounded(session, session=True)
            await loading.complete(session)
        return begun
    finally:
        await session.close()


async def _open(
    session: Session, start: str, now: Callable[[], int], rand: Callable[[], str], fleet: str | None
) -> tuple[Standing, Resident]:
    await unbounded(session)
    identity = await identity_of(session)
    await schema.prepare(session, incarnation=rand(), identity=identity)
    if fleet is not None:
        await tenancy.belong(session, fleet, now())
    await session.execute("SELECT pg_advisory_xact_lock(%s)", (schema.WRITING,))
    state = await standing(session)
    if state.identity != identity:
        log.warning("the shared store was restored, or another server took over: it goes on under a new incarnation")
        state.incarnation, state.identity = rand(), identity
    state.start, state.revision = start, state.revision + 1
    await session.execute(OPENING, (start, state.head + 1, now()))
    await session.execute(SAVE_STATE, saved(state))
    return state, await resident_of(session)
