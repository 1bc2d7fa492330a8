"""What a store of some size needs, and what of it this program can do itself: for `aimem store tune`.

Every rule has its measured reason: at 1e5 and 1e6 rows (PostgreSQL 18, pgvector 0.8, 384 dimensions); what stands above
1e6 is arithmetic from them. Whatever is done is done beside readers and writers, one step at a time, each whole or not
at all; what stands already is not done again, so that a run that was broken off is finished by the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from aimem.limits import GRAPH_MEMORY_KB_MAX, PARTITIONS_MAX
from aimem.store.postgres.cover import build_cover, has_cover, names_namespaces
from aimem.store.postgres.namespaces import add_numbers, has_numbers
from aimem.store.postgres.partitioning import Tell, partition
from aimem.store.postgres.partitions import ROOT, parts
from aimem.store.postgres.session import Connection, one, rows, together, unbounded
from aimem.store.postgres.upkeep import alone

_GRAPH_BYTES, _BUILD_BYTES, _WORDS_BYTES, _HEAP_BYTES, _COVER_BYTES = 1_170, 1_500, 226, 2_443, 1_031  # per memory
_HOT_HEAP_SHARE: Final = 0.2
_MIB: Final = 1 << 20
_SCALE: Final = {"MiB": _MIB, "s": 1_000, "": 1}
_LARGE: Final = 500_000  # memories, from which on counting the rows of a word takes longer than a search
_UNEVEN: Final = 2  # times the mean, that the largest part has
_COVERED: Final = 100_000  # from so many on looking up what a namespace has takes longer than what is done with it
_MUCH_DEAD: Final = 20_000  # vectors, of which a tenth takes VACUUM longer than a connection lives

STATISTICS, CLEANUP = "words.found statistics", "embedding.vacuum_index_cleanup"
PARTITIONS: Final = "partitions"
COVERING: Final = "covering index"
NUMBERED: Final = "index of namespaces"
STANDBYS: Final = "standbys"
_OF_ROLE: Final = ("maintenance_work_mem", "max_parallel_maintenance_workers")
"""What a role may set for itself: its builds take it, and nothing else of the server changes."""
_AT_RESTART: Final = ("shared_buffers",)


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is, and what the server and the tables have."""

    memories: int
    vectors: int
    settings: dict[str, int]  # bytes, milliseconds, or counts
    statistics: int = 100
    cleanup: str = "auto"
    partitions: int = 1
    covered: bool = False
    numbered: bool = True  # whether the index of namespaces has row numbers
    standbys: int = 0
    roots: int = 1  # of namespaces


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting that should be `wanted`: a number is the least. `given` is what it is."""

    setting: str
    given: int | str
    wanted: int | str
    unit: str  # MiB, s, or nothing
    why: str

    @property
    def met(self) -> bool:
        """Whether nothing need be done."""
        if isinstance(self.given, int) and isinstance(self.wanted, int):
            return self.given >= self.wanted
        return self.given == self.wanted

    @property
    def value(self) -> str:
        """What is wanted, as the server reads it."""
        return f"{self.wanted}{self.unit.replace('MiB', 'MB')}"


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a tuning: what was `done`, in words, and the statements that are `left` to a superuser, each with
    why."""

    done: list[str]
    left: list[tuple[str, str]]


async def measure(connection: Connection) -> Size:
    """Read the figures. The connection is closed then."""
    await unbounded(connection, session=True)
    tables = await parts(connection)
    found = await one(
        connection,
        "SELECT (SELECT visible FROM state), (SELECT count(*) FROM embedding), "
        "(SELECT CASE WHEN attstattarget >= 0 THEN attstattarget::int "
        "ELSE current_setting('default_statistics_target')::int END "
        "FROM pg_attribute WHERE attrelid = 'words'::regclass AND attname = 'found'), "
        "(SELECT CASE WHEN bool_and('vacuum_index_cleanup=off' = ANY(coalesce(reloptions, '{}'))) THEN 'off' "
        "ELSE 'auto' END FROM pg_class WHERE oid = ANY(%s::regclass[])), "
        f"(SELECT count(DISTINCT {ROOT}) FROM record r WHERE visible), "
        "(SELECT count(*) FROM pg_stat_replication WHERE application_name IS DISTINCT FROM 'pg_basebackup')",
        (tables,),
    )
    assert found is not None
    named = await rows(
        connection,
        "SELECT name, CASE WHEN unit IN ('kB', '8kB', 'MB') THEN pg_size_bytes(current_setting(name)) "
        "WHEN unit = 's' THEN setting::bigint * 1000 ELSE setting::bigint END FROM pg_settings "
        "WHERE name IN ('shared_buffers', 'maintenance_work_mem', 'max_wal_size', 'checkpoint_timeout', "
        "'max_parallel_maintenance_workers')",
    )
    memories, vectors, statistics, cleanup, roots, standbys = found
    return Size(
        memories,
        vectors,
        {name: int(value) for name, value in named},
        statistics or 100,
        cleanup,
        len(tables),
        covered=await has_cover(connection),
        numbered=await has_numbers(connection),
        standbys=standbys,
        roots=roots,
    )


def advise(size: Size) -> list[Advice]:
    """What a store of this size should be given, in the order in which it is done."""
    count = max(size.memories, size.vectors)
    spread = _HEAP_BYTES + (_COVER_BYTES if size.vectors >= _COVERED else 0)
    hot = count * (_GRAPH_BYTES + _WORDS_BYTES + int(spread * _HOT_HEAP_SHARE))
    wal = 2_048 if count <= 100_000 else 8_192 if count <= 1_000_000 else 32_768
    at_once = count if size.partitions == 1 else min(count, _UNEVEN * count // size.partitions)
    wanted = (
        ("shared_buffers", max(128, hot // _MIB), "MiB", "graph, word index and a fifth of the rest stay in memory"),
        ("maintenance_work_mem", max(64, at_once * _BUILD_BYTES // _MIB), "MiB",
         "a graph that does not fit while it is built takes 6 times as long"),
        ("max_wal_size", wal, "MiB", "each checkpoint makes the pages of the graph be written whole: 140 KB a row"),
        ("checkpoint_timeout", 900, "s", "as above"),
        ("max_parallel_maintenance_workers", 1 if count <= 1_000_000 else 7, "", "one halves the time of a build"),
    )  # fmt: skip
    found = [
        Advice(name, size.settings[name] // _SCALE[unit], least, unit, why)
        for name, least, unit, why in wanted
        if name in size.settings
    ]
    if size.memories >= _LARGE:
        why = "tells how common 10,000 words are, not 1,000: others are counted, up to 5,500 rows each at 1e6"
        found.append(Advice(STATISTICS, size.statistics, 1_000, "", why))
    if size.vectors >= _MUCH_DEAD:
        why = "VACUUM takes 8 to 17 ms a dead row from the graph; `maintain` builds it anew in an eighth of that"
        found.append(Advice(CLEANUP, size.cleanup, "off", "", why))
    why = "so that the build of each graph fits into 2 GB, and a search in one root looks at one of them"
    found.append(Advice(PARTITIONS, size.partitions, _partitions(size.vectors, size.roots), "", why))
    if size.vectors >= _COVERED:
        why = "the vectors of a namespace side by side: computing 10,000 of 1e6 took 53 ms of CPU without, 8 with it"
        found.append(Advice(COVERING, "there" if size.covered else "not there", "there", "", why))
    if size.memories >= _COVERED:
        given = "with rows" if size.numbered else "without rows"
        why = "tells among which rows to look for words: 10,000 of 1e6 took 14 ms without their numbers, 1 with them"
        found.append(Advice(NUMBERED, given, "with rows", "", why))
    why = "with two one may be away and writes wait for the other; reads may want more, see --store-read-url"
    found.append(Advice(STANDBYS, size.standbys, 2, "", why))
    return found


def _partitions(vectors: int, roots: int) -> int:
    """Twice as many as hold a graph each that fits, since roots are uneven: 16 for 10^7 vectors, 64 for 10^8. No more
    than there are roots to put into them."""
    graphs = vectors * _BUILD_BYTES / (GRAPH_MEMORY_KB_MAX << 10)
    if graphs <= 1 or roots < _UNEVEN:
        return 1
    return min(1 << math.ceil(math.log2(_UNEVEN * graphs)), 1 << math.floor(math.log2(roots)), PARTITIONS_MAX)


async def apply(connection: Connection, tell: Tell = lambda words: None) -> Applied:
    """Do what `advise` says and this role may; `tell` hears how what takes long comes on. The connection autocommits,
    is kept for it alone, and is closed then.

    What a restart of the server decides is left: a server that is given more memory than its machine has does not
    start.

    Raises:
        Locked: another one is at it.
    """
    await alone(connection)
    result = Applied([], [])
    for advice in advise(await measure(connection)):
        if advice.met or advice.setting == STANDBYS:  # no server is made from here
            continue
        if advice.setting == COVERING:
            result.done.extend(await _covered(connection, tell))
        elif advice.setting == NUMBERED:
            await add_numbers(connection)
            result.done.append(f"{NUMBERED}: {advice.wanted}")
        elif advice.setting == PARTITIONS:
            result.done.extend(await partition(connection, int(advice.wanted), tell))
        elif advice.setting in (STATISTICS, CLEANUP):
            async with together(connection):
                for statement in await _of_tables(connection, advice.setting):
                    await connection.execute(statement)
            result.done.append(f"{advice.setting} = {advice.value}")
        elif advice.setting in _OF_ROLE and int(advice.wanted) * _SCALE[advice.unit] <= GRAPH_MEMORY_KB_MAX << 10:
            await connection.execute(await _of_role(connection, advice))
            result.done.append(f"{advice.setting} = {advice.value}, for this role")
        elif advice.setting not in _AT_RESTART and await _may_set(connection, advice.setting):
            await connection.execute(_of_server(advice))
            await connection.execute("SELECT pg_reload_conf()")
            result.done.append(f"{advice.setting} = {advice.value}, for the server")
        else:
            why = "in force after a restart; see that the machine has the memory"
            why = why if advice.setting in _AT_RESTART else "then SELECT pg_reload_conf()"
            result.left.append((_of_server(advice).as_string(None), why))
    return result


async def _covered(connection: Connection, tell: Tell) -> list[str]:
    """Have the index built, where an older program has left vectors without namespaces over a table made anew."""
    done = []
    if not await names_namespaces(connection):
        done = await partition(connection, len(await parts(connection)), tell)
    await build_cover(connection)
    tell("the covering index is built")
    return [*done, f"{COVERING}: there"]


async def _of_tables(connection: Connection, setting: str) -> list[str]:
    if setting == STATISTICS:
        return ["ALTER TABLE words ALTER found SET STATISTICS 1000", "ANALYZE words"]
    return [f"ALTER TABLE {part} SET (vacuum_index_cleanup = off)" for part in await parts(connection)]


async def _of_role(connection: Connection, advice: Advice) -> sql.Composed:
    (database,) = await one(connection, "SELECT current_database()") or ("",)
    return sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET {} = {}").format(
        sql.Identifier(database), sql.Identifier(advice.setting), sql.Literal(advice.value)
    )


def _of_server(advice: Advice) -> sql.Composed:
    return sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(advice.setting), sql.Literal(advice.value))


async def _may_set(connection: Connection, setting: str) -> bool:
    """Whether this role was granted ALTER SYSTEM on a setting, and to make the server read it."""
    found = await one(
        connection,
        "SELECT has_parameter_privilege(%s, 'ALTER SYSTEM') AND has_function_privilege('pg_reload_conf()', 'EXECUTE')",
        (setting,),
    )
    return found == (True,)
