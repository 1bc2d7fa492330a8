"""What a big store needs now and then: for `aimem store maintain`."""

from __future__ import annotations

from typing import Final

from aimem.errors import Locked, Misconfigured
from aimem.store.postgres.checks import acting_for
from aimem.store.postgres.partitions import OLD, parts
from aimem.store.postgres.session import Connection, one, rows

MAINTAINING: Final = 0x61696D650009
"""The advisory lock of whoever maintains or tunes; of the session, so it goes with it."""
REINDEX_SHARE: Final = 0.1
"""Dead rows among the vectors. VACUUM takes 8 ms for each from the graph: five times what building it anew takes."""
_TABLES: Final = ("record", "words", "embedding", "state", "digest", "start", "progress")


async def alone(connection: Connection) -> None:
    """No deadlines in this session, and nobody beside it.

    Raises:
        Locked: another one is at it. Misconfigured: the tables are another role's: the server would only warn of that.
    """
    found = await one(
        connection,
        "SELECT current_user::text, relowner::regrole::text FROM pg_class "
        "WHERE oid = to_regclass('record') AND NOT pg_has_role(relowner, 'USAGE')",
    )
    if found is not None:
        role, holder = found
        raise Misconfigured(
            f"the role {role} may not look after the store, whose tables are those of {holder}",
            hint=acting_for(holder, role),
        )
    await connection.execute(
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name LIKE '%_timeout' AND context = 'user'"
    )
    if await one(connection, "SELECT pg_try_advisory_lock(%s)", (MAINTAINING,)) != (True,):
        raise Locked("another `aimem store maintain` or `tune` works on this store", hint="wait for it")


async def maintain(connection: Connection) -> list[str]:
    """Statistics always; where many vectors are dead, the graph anew and then the rows. What was done, in words. The
    connection autocommits, is kept for it alone, and is closed then.

    Raises:
        Locked: another one is at it.
    """
    await alone(connection)
    await connection.execute(f"DROP TABLE IF EXISTS {OLD}")  # of a cutting that ended there
    done = []
    tables = await parts(connection)
    for (left,) in await rows(
        connection,
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = ANY(%s::regclass[]) AND NOT indisvalid",
        (tables,),
    ):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {left}")  # of a build that was cut off
        done.append(f"{left}, half built, is dropped")
    for table in _TABLES:
        await connection.execute(f"ANALYZE {table}")
    done.append("statistics are up to date")
    for part in tables:
        if (dead := await _dead_share(connection, part)) >= REINDEX_SHARE:
            await connection.execute(f"REINDEX INDEX CONCURRENTLY {part}_graph")
            await connection.execute(f"VACUUM (INDEX_CLEANUP ON) {part}")  # the new graph has nothing of them
            done.append(f"{dead:.0%} of the vectors in {part} were dead: its graph is built anew")
    return done


async def _dead_share(connection: Connection, part: str) -> float:
    """Of the rows of vectors; 0 where there is no graph."""
    found = await one(
        connection,
        "SELECT n_dead_tup::float8 / greatest(1, n_dead_tup + n_live_tup) FROM pg_stat_user_tables "
        "WHERE relid = %s::regclass AND to_regclass(%s) IS NOT NULL",
        (part, f"{part}_graph"),
    )
    return float(found[0]) if found else 0.0
