"""The index over the memories of each namespace, which has their row numbers: by it words are looked for among these
alone (see `lexical`).

In a store that an older program made it has no numbers. Each record is looked up for its own then: 10,000 of a million
took 14 ms like that, and 1 from the index.
"""

from __future__ import annotations

from aimem.store.postgres.schema import INDEXES
from aimem.store.postgres.session import Connection, one, together

NAMESPACES = "record_namespace"
_NEXT, _OLD = f"{NAMESPACES}_next", f"{NAMESPACES}_old"


async def has_numbers(connection: Connection) -> bool:
    """Whether the index has them, and nothing is left of making it so."""
    found = await one(
        connection,
        "SELECT indnatts > indnkeyatts AND to_regclass(%s) IS NULL FROM pg_index WHERE indexrelid = to_regclass(%s)",
        (_OLD, NAMESPACES),
    )
    return found == (True,)


async def add_numbers(connection: Connection) -> None:
    """Put one that has them in the place of the index, beside readers and writers. What was cut off is finished. The
    connection autocommits."""
    for left in (_NEXT, _OLD):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {left}")
    if not await has_numbers(connection):
        await connection.execute(f"CREATE INDEX CONCURRENTLY {_NEXT} ON {INDEXES[NAMESPACES]}")
        async with together(connection):
            await connection.execute(f"ALTER INDEX {NAMESPACES} RENAME TO {_OLD}")
            await connection.execute(f"ALTER INDEX {_NEXT} RENAME TO {NAMESPACES}")
        await connection.execute(f"DROP INDEX CONCURRENTLY {_OLD}")
    # Else each row is looked up among the records, whether it is to be seen.
    await connection.execute("VACUUM (INDEX_CLEANUP OFF) record")
