"""Filling an empty store: rows first, and at the end, in one go each, the indexes that only reading needs.

An index that grows row by row costs several times what building it does: that of words most, then the graph. So a load
takes them away, and makes them anew when all is in. Which of them are missing is told by the server's own catalogue,
so no mark of ours can be wrong after a kill: whoever goes on with the load, or opens the store to serve, finds them
missing, and they are made, each in a transaction of its own, before anybody is served.

Only an empty store that no node has open is loaded so. A node that comes later is turned away until the load has ended.
"""

from __future__ import annotations

import logging
from asyncio import gather
from collections.abc import Callable, Iterable

from aimem.core.kinds import EMBEDDING, TOUCH, source_key
from aimem.core.record import Ref
from aimem.errors import Locked
from aimem.limits import LOAD_MEMORY_KB, LOAD_SEEN_ROWS, LOAD_SETTLE_BATCH
from aimem.store.postgres import graph, settling
from aimem.store.postgres.connections import Session
from aimem.store.postgres.known import PAIR, Family
from aimem.store.postgres.partitions import parts
from aimem.store.postgres.schema import COMPLETING, CREATING, FILLING, INDEXES, creating
from aimem.store.postgres.seen import Seen
from aimem.store.postgres.session import lend_memory, one, rows
from aimem.store.postgres.text import told
from aimem.store.postgres.url import NODE

log = logging.getLogger(__name__)

Told = Callable[[str], None]
"""Told what is being done, in words."""


async def missing(session: Session) -> list[str]:
    """The names of INDEXES that are not there, or not whole."""
    found = await rows(
        session,
        "SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (name, place) "
        "LEFT JOIN pg_index made ON made.indexrelid = to_regclass(name) "
        "WHERE (made.indisvalid AND made.indisready) IS NOT TRUE ORDER BY place",
        (list(INDEXES),),
    )
    return [name for (name,) in found]


async def begin(session: Session) -> bool:
    """Take the indexes away where this store is empty and no node has it open. Whether it is to be loaded: then, or
    where such a load was broken off. The caller holds FILLING."""
    async with session.transaction():
        await session.execute("SELECT pg_advisory_xact_lock(%s)", (CREATING,))  # which every node takes that opens it
        if await _is_served(session) or not await _is_owned(session):
            return False
        if await one(session, "SELECT 1 FROM record LIMIT 1"):
            return bool(await missing(session))
        for name in INDEXES:
            await session.execute(f"DROP INDEX IF EXISTS {name}")
        return True


async def _is_served(session: Session) -> bool:
    """Whether a node is connected to this database."""
    found = await one(
        session,
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s LIMIT 1",
        (NODE,),
    )
    return found is not None


async def _is_owned(session: Session) -> bool:
    """Whether this role may make and drop indexes."""
    owned = "SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid IN ({})"
    tables = ("record", "words", "embedding")
    return await one(session, owned.format(", ".join(f"to_regclass('{name}')" for name in tables))) == (True,)


async def seen(session: Session) -> Seen:
    """What stands in the store."""
    found, last = Seen(), 0
    statement = f"SELECT row, kind, key, pair FROM record WHERE row > %s ORDER BY row LIMIT {LOAD_SEEN_ROWS}"
    while batch := await rows(session, statement, (last,)):
        last = batch[-1][0]
        for _, kind, key, pair in batch:
            ref = Ref(told(kind), told(key))
            found.add(ref)
            if ref.kind in (TOUCH, EMBEDDING):
                found.add(Family(ref.kind, source_key(*ref)))
            if pair is not None:
                found.add((PAIR, pair))
    return found


async def end(session: Session, beside: Session, say: Told) -> None:
    """Do what the load has left, as far as it is not done yet: the vectors that came with it, the graph over them, the
    indexes. Those of rows come last: until all are there the store counts as one that is being loaded. The words, which
    take as long as all the rest, are gone through on the session `beside`."""
    names = await missing(session)
    of_words = [name for name in names if INDEXES[name].startswith("words ")]
    of_rows = [name for name in names if name not in of_words]
    if names:
        await gather(_end_of_rows(session, of_rows, say), _end_of_words(beside, of_words, say))


async def _end_of_rows(session: Session, indexes: Iterable[str], say: Told) -> None:
    say("gathering statistics")
    await session.execute("ANALYZE record")  # by which vectors are read too
    await _settle(session, say)
    await session.execute("ANALYZE embedding")
    await build(session, indexes, say)


async def _end_of_words(session: Session, indexes: Iterable[str], say: Told) -> None:
    await build(session, indexes, say)
    await session.execute("ANALYZE words")


async def _settle(session: Session, say: Told) -> None:
    model = await settling.model_of_last(session)
    if model is None:
        return
    more, count = True, 0
    while more:
        say(f"putting vectors where searches look: {count}")
        async with session.transaction():
            more = await settling.settle(session, model, batch=LOAD_SETTLE_BATCH)
        count += LOAD_SETTLE_BATCH
    for part in await parts(session):
        if await graph.wants_graph(session):
            say(f"building the graph of the vectors in {part}")
            async with session.transaction():
                await settling.build_graph(session, model)


async def build(session: Session, names: Iterable[str], say: Told) -> None:
    """Make these indexes."""
    for name in names:
        say(f"building the index {name}")
        async with session.transaction():
            await lend_memory(session, LOAD_MEMORY_KB)
            await session.execute(f"DROP INDEX IF EXISTS {name}")  # one that is not whole
            await session.execute(creating(name))


async def is_incomplete(session: Session) -> bool:
    """For a node that opens the store: whether it has to `complete` it.

    Raises:
        Locked: it is being loaded.
    """
    if not await missing(session):
        return False
    await _refuse_beside_a_load(session, "pg_try_advisory_xact_lock_shared")
    return True


async def complete(session: Session) -> None:
    """For a node, before it serves: make what a load that was broken off has left. Nodes wait for each other.

    Raises:
        Locked: the load goes on.
    """
    await _refuse_beside_a_load(session, "pg_try_advisory_lock_shared")
    await session.execute("SELECT pg_advisory_lock(%s)", (COMPLETING,))
    names = await missing(session)
    await build(
        session, names, lambda what: log.warning("a migration was broken off: %s, before this node serves", what)
    )


async def _refuse_beside_a_load(session: Session, trying: str) -> None:
    if await one(session, f"SELECT {trying}({FILLING})") != (True,):
        raise Locked("a migration is filling this store", hint="start this node when it has ended")
