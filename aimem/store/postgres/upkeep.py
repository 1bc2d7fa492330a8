"""What a big store needs now and then, and what its server should be given: for `aimem store maintain` and `tune`.

The bytes per row and the costs are measured at 1e5 and 1e6 rows (PostgreSQL 18, pgvector 0.8, 384 dimensions); what
stands above 1e6 is arithmetic from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aimem.errors import Locked
from aimem.store.postgres.nearest import GRAPH
from aimem.store.postgres.session import Connection, one, rows

MAINTAINING: Final = 0x61696D650009
"""The advisory lock of whoever maintains; of the session, so it goes with it."""
REINDEX_SHARE: Final = 0.1
"""Dead rows among the vectors. VACUUM takes 8 ms for each from the graph: five times what building it anew takes."""
_TABLES: Final = ("record", "words", "embedding", "state", "digest", "start", "progress")
_GRAPH_BYTES, _BUILD_BYTES, _WORDS_BYTES, _HEAP_BYTES = 1_170, 1_500, 226, 2_443  # per memory
_HOT_HEAP_SHARE: Final = 0.2
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is, and what the server has."""

    memories: int
    vectors: int
    dead_share: float  # of the rows of vectors
    graph_bytes: int  # 0 without one
    settings: dict[str, int]  # bytes, milliseconds, or counts


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting that should be at least `wanted`; `given` is what it is."""

    setting: str
    given: int
    wanted: int
    unit: str  # MiB, s, or nothing
    why: str

    @property
    def met(self) -> bool:
        """Whether nothing need be done."""
        return self.given >= self.wanted


async def measure(connection: Connection) -> Size:
    """Read the figures."""
    found = await one(
        connection,
        "SELECT (SELECT visible FROM state), (SELECT count(*) FROM embedding), "
        "coalesce((SELECT n_dead_tup::float8 / greatest(1, n_dead_tup + n_live_tup) FROM pg_stat_user_tables "
        "WHERE relid = 'embedding'::regclass), 0), coalesce(pg_relation_size(to_regclass(%s)), 0)",
        (GRAPH,),
    )
    assert found is not None
    named = await rows(
        connection,
        "SELECT name, CASE WHEN unit IN ('kB', '8kB', 'MB') THEN pg_size_bytes(current_setting(name)) "
        "WHEN unit = 's' THEN setting::bigint * 1000 ELSE setting::bigint END FROM pg_settings "
        "WHERE name IN ('shared_buffers', 'maintenance_work_mem', 'max_wal_size', 'checkpoint_timeout', "
        "'max_parallel_maintenance_workers')",
    )
    memories, vectors, dead_share, graph_bytes = found
    return Size(memories, vectors, dead_share, graph_bytes, {name: int(value) for name, value in named})


def advise(size: Size) -> list[Advice]:
    """What a server of this size should be given."""
    count = max(size.memories, size.vectors)
    hot = count * (_GRAPH_BYTES + _WORDS_BYTES + int(_HEAP_BYTES * _HOT_HEAP_SHARE))
    wal = 2_048 if count <= 100_000 else 8_192 if count <= 1_000_000 else 32_768
    wanted = (
        ("shared_buffers", max(128, hot // _MIB), "MiB", "graph, word index and a fifth of the rows stay in memory"),
        ("maintenance_work_mem", max(64, count * _BUILD_BYTES // _MIB), "MiB",
         "a graph that does not fit while it is built takes 6 times as long"),
        ("max_wal_size", wal, "MiB", "each checkpoint makes the pages of the graph be written whole: 140 KB a row"),
        ("checkpoint_timeout", 900, "s", "as above"),
        ("max_parallel_maintenance_workers", 1 if count <= 1_000_000 else 7, "", "one halves the time of a build"),
    )  # fmt: skip
    given = {"MiB": _MIB, "s": 1_000, "": 1}
    return [
        Advice(name, size.settings[name] // given[unit], least, unit, why)
        for name, least, unit, why in wanted
        if name in size.settings
    ]


async def maintain(connection: Connection) -> list[str]:
    """Statistics always; where many vectors are dead, the graph anew and then the rows. What was done, in words. The
    connection autocommits, is kept for it alone, and is closed then.

    Raises:
        Locked: another one is at it.
    """
    await connection.execute(
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name LIKE '%_timeout' AND context = 'user'"
    )
    if await one(connection, "SELECT pg_try_advisory_lock(%s)", (MAINTAINING,)) != (True,):
        raise Locked("another `aimem store maintain` works on this store", hint="wait for it")
    done = []
    for (left,) in await rows(
        connection,
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'embedding'::regclass AND NOT indisvalid",
    ):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {left}")  # of a build that was cut off
        done.append(f"{left}, half built, is dropped")
    for table in _TABLES:
        await connection.execute(f"ANALYZE {table}")
    done.append("statistics are up to date")
    size = await measure(connection)
    if size.graph_bytes and size.dead_share >= REINDEX_SHARE:
        await connection.execute(f"REINDEX INDEX CONCURRENTLY {GRAPH}")
        await connection.execute("VACUUM embedding")
        done.append(f"{size.dead_share:.0%} of the vectors were dead: the graph is built anew")
    return done
