"""The covering index over the vectors: those of a namespace lie side by side, so that to compute them all is to read
them from there and nothing else.

Without it each is looked up twice, among the records and in the table. At a million rows, a namespace of ten thousand
took 53 ms of the server like that, and 8 ms with it; it takes 1 KB a vector, and 12 s to make.

`namespace` in the table is behind the writes, as all of it is (see `settling`). A program of before schema 4 did not
fill it in; whoever wants the index then has the table made anew (see `partitioning`).
"""

from __future__ import annotations

from aimem.store.postgres.partitions import EMBEDDING, has_index, parts
from aimem.store.postgres.session import Connection, one

COVER = f"{EMBEDDING}_namespace"
_OVER = "(namespace) INCLUDE (row, model, root, vector)"


async def has_cover(connection: Connection) -> bool:
    """Whether it is there, for all parts."""
    return await has_index(connection, COVER)


async def names_namespaces(connection: Connection) -> bool:
    """Whether every vector in the table has its namespace, and will have."""
    found = await one(
        connection,
        "SELECT attnotnull FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'namespace'",
        (EMBEDDING,),
    )
    return found == (True,)


async def build_cover(connection: Connection, table: str = EMBEDDING) -> None:
    """Build it, beside readers and writers. What a build that was cut off has left is finished. The connection
    autocommits."""
    for part in await parts(connection, table):
        name = f"{part}_namespace"
        if not await has_index(connection, name):
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # one that is not whole
            await connection.execute(f"CREATE INDEX CONCURRENTLY {name} ON {part} {_OVER}")
        # Else each row is looked up in the table, whether it is to be seen.
        await connection.execute(f"VACUUM (INDEX_CLEANUP OFF) {part}")
        if part != table:
            await connection.execute(f"CREATE INDEX IF NOT EXISTS {table}_namespace ON ONLY {table} {_OVER}")
            await connection.execute(f"ALTER INDEX {table}_namespace ATTACH PARTITION {name}")
