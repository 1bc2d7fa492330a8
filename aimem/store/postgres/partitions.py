"""The parts of the table of vectors, by hash of the root namespace: a search in one root looks at one of them.

Only this table is cut. What grows with the number of rows is the graph over vectors: the memory that it takes to build,
and the share of it that a namespace is. Words are found by the rarest of a question within a budget, and records by
their keys, for which one index each is right whatever the size; and one table of them has one feed.

A store begins with a plain table, whose `root` is empty. `partitioning` makes one that is cut, into one part at least;
from then on `root` says where a row belongs.
"""

from __future__ import annotations

from collections.abc import Iterable

from aimem.store.postgres.session import Connection, one, rows
from aimem.store.postgres.text import stored

EMBEDDING = "embedding"
NEXT = "embedding_next"
"""The table that is to take its place, while it is filled."""
OLD = "embedding_old"
"""The table whose place was taken, until it is dropped."""

ROOT = "coalesce(split_part(r.namespace, '/', 1), '')"
"""Of the memory `r`."""
NAMESPACE = "coalesce(r.namespace, '')"
"""Of the memory `r`, as the table has it."""
PARTS = (
    "SELECT CASE relkind WHEN 'p' THEN (SELECT count(*) FROM pg_inherits WHERE inhparent = oid) ELSE 0 END AS parts "
    f"FROM pg_class WHERE oid = to_regclass('{EMBEDDING}') AND relname = '{EMBEDDING}'"
)
"""How many there are, 0 where the table is not cut. No row in a state from before the table took its place: rows are
missing from it there."""
CUT_ANEW = "the vectors were cut anew behind this state"
"""Of an error that says so: the next state has them."""
HOLD = f"LOCK TABLE {EMBEDDING} IN ACCESS SHARE MODE"
"""Nobody cuts the table anew until the transaction ends."""


def roots_of(namespaces: Iterable[str]) -> list[str]:
    """The roots of these, as the table has them."""
    return sorted({stored(each).partition("/")[0] for each in namespaces})


async def parts(connection: Connection, table: str = EMBEDDING) -> list[str]:
    """The tables that hold the rows: one that is not cut is its own part. Empty where there is no such table."""
    found = await rows(
        connection,
        "SELECT coalesce(i.inhrelid, c.oid)::regclass::text FROM pg_class c "
        "LEFT JOIN pg_inherits i ON i.inhparent = c.oid WHERE c.oid = to_regclass(%s) "
        "ORDER BY coalesce(i.inhrelid, c.oid)",
        (table,),
    )
    return [name for (name,) in found]


async def has_index(connection: Connection, name: str) -> bool:
    """Whether an index is there and whole: of a table that is cut, for all parts."""
    found = await one(
        connection, "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid", (name,)
    )
    return found == (1,)


async def is_cut(connection: Connection, table: str = EMBEDDING) -> bool:
    """Whether its rows have roots."""
    return await one(connection, "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", (table,)) == (True,)
