"""The vectors of a shared store in parts: the same answers, a search that looks at its own part alone, and the step to
another number beside searches and writes, cut off anywhere."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aimem.core import upkeep, writes
from aimem.core.kinds import MEMORY
from aimem.core.record import Record
from aimem.store.base import Filter, Nearest, Pieces, Written
from aimem.store.postgres import graph, nearest, partitioning, settling, tuning
from aimem.store.postgres.nearest import Asked, Sizes
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.partitioning import half_done, partition
from aimem.store.postgres.partitions import NEXT, OLD, parts
from aimem.store.postgres.session import Connection, rows
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.upkeep import maintain
from aimem.store.postgres.url import read_target
from aimem.store.postgres.vectors import with_vectors
from tests.postgres_server import ROLE, PostgresServer, name_of
from tests.store.conftest import NOW, creating, written
from tests.store.planted import (
    MODEL,
    Planted,
    Vector,
    drawn,
    find,
    memory,
    note_searches,
    planting,
    session,
    settle,
    vector,
    vector_body,
    wrong_vectors,
)
from tests.store.shared import nodes
from tests.waiting import PATIENCE_SECS

PROJECT = Path(__file__).parents[2]
ROOTS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
MANY = 600
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"namespaces": ("alpha/0",)},
    {"namespaces": ("alpha/0", "alpha/1", "zeta/1")},
    {"namespaces": ("nowhere",)},
    {"tag": "odd"},
    {"visible_from": "beta/1"},
)
SLOW = "import runpy, aimem.store.postgres.partitioning as p; p._BATCH = 5; runpy.run_module('aimem', None, '__main__')"
"""The command with batches so small that it can be met in the middle."""


@pytest.fixture
async def planted(database: Callable[[], str]) -> AsyncIterator[Planted]:
    async with planting(database(), (each for number in range(MANY) for each in pair(number))) as store:
        yield store


def pair(number: int, root: str = "") -> list[Record]:
    """A memory with its vector."""
    namespace = f"{root or ROOTS[number % len(ROOTS)]}/{number % 2}"
    made = memory(number, namespace=namespace, tags=["odd"] if number % 50 == 1 else [])
    return [made, vector(made, *itertools.repeat(drawn(random.Random(number)), 1 + (number % 9 == 0)))]


async def cut(planted: Planted, count: int, tell: Callable[[str], None] = lambda words: None) -> list[str]:
    async with session(planted.connection) as connection:
        return await partition(connection, count, tell)


def interrupt(words: str) -> None:
    raise InterruptedError


async def answers(planted: Planted) -> list[Nearest]:
    questions = [drawn(random.Random(seed)) for seed in (5, -1, -2)]
    return [await find(planted, question, 10, **which) for which in FILTERS for question in questions]


async def told(connection: Any, *, cut: bool) -> dict[int, Pieces]:
    """The vectors of some memories. `cut`: as it is remembered."""
    return (await with_vectors(connection, range(1, 80), MODEL, cut=cut))[1]


async def test_answers_are_the_same_with_any_number_of_parts(planted: Planted) -> None:
    before, held = await answers(planted), await told(planted.connection, cut=False)
    assert len(held) > 10
    assert [len(found.near) for found in before] == [10] * 9 + [0] * 3 + [10] * 6
    for count in (4, 1, 3):
        (done,) = await cut(planted, count)
        assert f"partitions = {count}; searches waited" in done
        assert len(await parts(planted.connection)) == count
        assert await answers(planted) == before
        assert await told(planted.connection, cut=True) == await told(planted.connection, cut=False) == held
        assert await wrong_vectors(planted) == []
        assert await settle(planted) == 1  # nothing is left to do
    assert await cut(planted, 3) == ["partitions = 3 already"]
    stored = "SELECT DISTINCT attstorage::text FROM pg_attribute WHERE attname = 'vector' "
    stored += "AND attrelid = ANY(%s::regclass[])"
    assert await rows(planted.connection, stored, (await parts(planted.connection),)) == [("p",)]


async def touched(planted: Planted, **which: object) -> set[str]:
    """The parts that a search reads in: the first of a session, whose counts are its own."""
    async with session(planted.connection) as connection, connection.transaction():
        narrow = Filter(NOW, **which)  # type: ignore[arg-type]
        await Asked(connection, drawn(random.Random(1)), MODEL, narrow, 10).find(Sizes(), MANY)
        read = "SELECT relname::text FROM pg_stat_xact_user_tables WHERE relname LIKE 'embedding%' "
        read += "AND coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0"
        return {name for (name,) in await rows(connection, read)}


def lower_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a graph is built, and chosen, at the size of a test."""
    monkeypatch.setattr(graph, "EXACT_SEARCH_ROWS_MAX", 100)
    monkeypatch.setattr(nearest, "EXACT_SEARCH_ROWS_MAX", 30)
    monkeypatch.setattr(nearest, "SEARCH_SECS", PATIENCE_SECS)
    monkeypatch.setattr("aimem.core.searching.EXACT_SEARCH_ROWS_MAX", 30)


async def test_a_search_in_one_root_looks_at_one_part_also_by_the_graph(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cut(planted, 4)
    assert len(await touched(planted, namespaces=("alpha/0",))) == 1
    filled = await rows(planted.connection, "SELECT DISTINCT tableoid::regclass::text FROM embedding")
    assert await touched(planted) == {name for (name,) in filled}
    before = await answers(planted)
    lower_bounds(monkeypatch)
    for number in range(4):
        assert await graph.wants_graph(planted.connection)
        assert not await graph.has_graph(planted.connection)
        async with planted.connection.transaction():
            await settling.build_graph(planted.connection, MODEL)
        built = await rows(planted.connection, "SELECT 1 FROM pg_class WHERE relname LIKE 'embedding_4_%_graph'")
        assert len(built) == number + 1
    assert await graph.has_graph(planted.connection)
    assert not await graph.wants_graph(planted.connection)
    tried = note_searches(monkeypatch)
    assert len(await touched(planted, namespaces=("alpha/0",))) == 1
    assert len(await touched(planted)) == 4
    assert tried == [True, True]
    for found, true in zip(await answers(planted), before, strict=True):
        rows_found, rows_true = ({row for row, _ in each.near} for each in (found, true))
        assert len(rows_found & rows_true) >= 0.7 * len(rows_true)
        assert len(rows_found) == len(rows_true)


async def test_the_plan_goes_by_what_is_in_the_part(planted: Planted) -> None:
    connection = planted.connection
    which = Filter(NOW, namespaces=("alpha/0",))
    assert await Sizes().among(connection, which, 6_000) == 6_000  # one table
    await cut(planted, 4)
    sizes = [await Sizes().among(connection, Filter(NOW, namespaces=(f"{root}/0",)), 6_000) for root in ROOTS]
    assert all(800 <= size < 6_000 for size in sizes)
    assert await Sizes().among(connection, Filter(NOW, namespaces=tuple(f"{root}/0" for root in ROOTS)), 6_000) == 6_000
    assert await Sizes().among(connection, Filter(NOW), 6_000) == 6_000


async def test_a_memory_that_changes_its_root_moves_to_its_part(planted: Planted) -> None:
    await cut(planted, 16)
    moved, where = pair(7, "omega")[0], "SELECT DISTINCT tableoid::regclass::text, root FROM embedding WHERE row = %s"
    number = planted.rows[f"{MEMORY}/{moved.key}"]
    ((before, _),) = await rows(planted.connection, where, (number,))
    await planted.put([moved])
    await settle(planted)
    ((after, root),) = await rows(planted.connection, where, (number,))
    assert (root, after != before) == ("omega", True)
    found = await find(planted, drawn(random.Random(7)), 1, namespaces=("omega/1",))
    assert [row for row, _ in found.near] == [number]
    assert await wrong_vectors(planted) == []
    await planted.connection.execute("UPDATE embedding SET root = 'elsewhere' WHERE row = %s", (number,))
    assert await wrong_vectors(planted) == [f"vectors: row {number}, piece 0 is not in the part of its root"]


async def test_what_was_cut_off_anywhere_is_gone_on_with(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two attempts memories come, move and go."""
    lower_bounds(monkeypatch)
    monkeypatch.setattr(partitioning, "_BATCH", 100)

    class CutOff(Exception):
        pass

    steps: list[str] = []

    def tell(words: str) -> None:
        steps.append(words)
        raise CutOff

    for attempt in itertools.count():
        with suppress(CutOff):
            await cut(planted, 4, tell)
            break
        if steps[-1] == "searches look in the new table":
            assert await half_done(planted.connection) is None
            continue
        assert "`aimem store partition 4` goes on with it" in (await half_done(planted.connection) or "")
        await planted.put([*pair(MANY + attempt), *pair(2 * attempt, "omega"), ended(2 * attempt + 1)])
        if attempt % 2:
            await settle(planted)
    assert len(steps) == len(set(steps)) > 8  # nothing is done twice
    assert await half_done(planted.connection) is None
    assert await parts(planted.connection, OLD) == []
    await settle(planted)
    assert await wrong_vectors(planted) == []
    (moved,) = (await find(planted, drawn(random.Random(2)), 1, namespaces=("omega/0",))).near
    assert moved[0] == planted.rows[f"{MEMORY}/{2:08}"]


def ended(number: int) -> Record:
    made = pair(number)[0]
    return Record.make(MEMORY, made.key, made.version, made.born, made.body, deleted=True)


async def test_what_was_begun_is_dropped_by_asking_for_another_number(planted: Planted) -> None:
    before = await answers(planted)

    for count in (4, 8):
        with pytest.raises(InterruptedError):
            await cut(planted, count, interrupt)
        assert len(await parts(planted.connection, NEXT)) == count
    assert await cut(planted, 1) == ["partitions = 1 already", "the table of 8 that was begun is dropped"]
    assert await rows(planted.connection, "SELECT relname FROM pg_class WHERE relname LIKE 'embedding_%_0'") == []
    assert await rows(planted.connection, "SELECT FROM progress WHERE name NOT LIKE 'settled:%%'", ()) == []
    assert await answers(planted) == before


async def test_a_long_read_holds_up_the_swap_and_the_swap_holds_up_nobody_for_long(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "SEARCH_SECS", PATIENCE_SECS)
    told: list[str] = []
    async with session(planted.connection) as reader:
        async with reader.transaction():
            await reader.execute("SELECT FROM embedding LIMIT 1")
            cutting = asyncio.create_task(cut(planted, 4, told.append))
            async with asyncio.timeout(PATIENCE_SECS):
                while not any("waiting for a gap" in words for words in told):
                    began = time.monotonic()
                    assert (await find(planted, drawn(random.Random(1)), 1)).near
                    assert time.monotonic() - began < 30  # 1.5 s, on a machine that has time
        await cutting
    assert len(await parts(planted.connection)) == 4


async def test_a_state_from_before_the_swap_is_not_searched_in(planted: Planted) -> None:
    """Rows of the new table would be missing from it. The store takes another state then."""
    async with session(planted.connection) as reader:
        with pytest.raises(InterruptedError):
            await cut(planted, 4, interrupt)  # the table that is to come is there
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await reader.execute("SELECT FROM state")
        await cut(planted, 4)
        asked = Asked(reader, drawn(random.Random(1)), MODEL, Filter(NOW), 10)
        with pytest.raises(psycopg.errors.SerializationFailure):
            await told(reader, cut=False)
        with pytest.raises(psycopg.errors.SerializationFailure):
            await asked.find(Sizes(), MANY)


async def test_a_standby_that_has_not_heard_of_the_step_searches_as_before(
    new_postgres: Callable[..., PostgresServer],
) -> None:
    """What is remembered of the primary does not mislead a search there."""
    server = new_postgres()
    name, asked, sizes = server.new_database(), drawn(random.Random(5)), Sizes()
    with server.standby() as standby:
        async with (
            await psycopg.AsyncConnection.connect(server.url(name, role=ROLE), autocommit=True) as primary,
            await psycopg.AsyncConnection.connect(standby.url(name, role=ROLE), autocommit=True) as reader,
        ):
            planted = Planted(primary)
            await planted.open()
            await planted.put(each for number in range(60) for each in pair(number))
            await settle(planted)

            async def found(connection: psycopg.AsyncConnection[Any]) -> Nearest:
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                which = Filter(NOW, namespaces=("zeta/1",))
                near = await Asked(connection, asked, MODEL, which, 5).find(sizes, 60)
                await connection.execute("COMMIT")
                return near

            before, held = await found(primary), await told(primary, cut=False)
            assert (len(before.near), len(held) > 5) == (5, True)
            standby.await_sql("SELECT to_regclass('embedding') IS NOT NULL", True, name)
            standby.await_sql("SELECT count(*) FROM embedding", 67, name)
            standby.sql("SELECT pg_wal_replay_pause()")
            await cut(planted, 4)
            assert await found(primary) == await found(reader) == before
            assert await told(primary, cut=True) == await told(reader, cut=True) == held
            assert await rows(reader, "SELECT relkind::text FROM pg_class WHERE relname = 'embedding'") == [("r",)]
            standby.sql("SELECT pg_wal_replay_resume()")
            standby.await_sql("SELECT relkind::text FROM pg_class WHERE relname = 'embedding'", "p", name)
            assert await found(reader) == before


class Writing:
    """A caller of a node, who writes, moves and deletes memories with their vectors until it is told to end."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.live: dict[str, tuple[str, Vector]] = {}
        self.ending = False
        self._rng = random.Random(11)

    async def put(self, number: int) -> str:
        namespace, drawing = f"{ROOTS[number % 6]}/{number % 2}", drawn(self._rng)
        (made,) = await self.store.write([creating(f"title {number}", namespace=namespace)])
        assert isinstance(made, Written)
        (record,) = made.records
        await written(self.store, upkeep.keep_vector(record.key, record.version, vector_body(drawing)))
        self.live[record.key] = namespace, drawing
        return record.key

    async def run(self) -> int:
        """How many were written."""
        for number in itertools.count(1_000):
            key = await self.put(number)
            if number % 3 == 0:
                await written(self.store, writes.update(key, {"namespace": "omega/x"}))
                self.live[key] = "omega/x", self.live[key][1]
            if number % 5 == 0:
                await written(self.store, writes.delete(key))
                del self.live[key]
            if self.ending:
                return number - 1_000
        raise AssertionError


async def found_in(store: PostgresStore, asked: Vector, namespace: str | None) -> list[str | None]:
    which = Filter(time.time_ns(), namespaces=None if namespace is None else (namespace,))
    near = (await store.nearest(asked, MODEL, which, 1)).near
    memories = await store.by_rows([row for row, _ in near])
    return [None if each is None else each.record.key for each in memories]


async def test_nodes_write_search_and_settle_on_while_it_is_cut(
    database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes that were started before the step: no write is lost, and what was found before is found at each instant."""
    monkeypatch.setattr(partitioning, "_BATCH", 40)
    monkeypatch.setattr(nearest, "SEARCH_SECS", PATIENCE_SECS)
    async with nodes(database(), 2) as (first, second):
        writer = Writing(first.store)
        kept = [await writer.put(number) for number in range(60)]
        while await second.store.settle_vectors(MODEL):
            pass
        searches = 0

        async def settling_on() -> None:
            while not writer.ending:
                await second.store.settle_vectors(MODEL)

        async def asking() -> None:
            nonlocal searches
            while not writer.ending:
                for key in kept:
                    namespace, asked = writer.live[key]
                    assert await found_in(second.store, asked, namespace) == [key]
                    assert await found_in(first.store, asked, None) == [key]
                    searches += 2

        async def cutting() -> None:
            try:
                for count in (4, 2, 7):
                    connection = await second.store.connections.alone()
                    await partition(connection, count)
                    await connection.close()
                    await asyncio.sleep(0.3)
            finally:
                writer.ending = True

        count, *_ = await asyncio.gather(writer.run(), settling_on(), asking(), cutting())
        assert min(count, searches) > 10
        while await first.store.settle_vectors(MODEL):
            pass
        for store in (first.store, second.store):
            assert await store.check() == []
            for key, (namespace, asked) in writer.live.items():
                assert await found_in(store, asked, namespace) == [key]
        assert await second.store.settled_vectors() == len(writer.live)
        assert await second.store._calls.read_primary(_parts) == 7


async def _parts(connection: Connection) -> int:
    return len(await parts(connection))


@pytest.mark.parametrize("where", ["copying", "swap"])
async def test_killed_in_the_middle_it_goes_on(planted: Planted, postgres: PostgresServer, where: str) -> None:
    name = planted.connection.info.dbname
    before = await answers(planted)
    words = [sys.executable, "-c", SLOW, "store", "partition", "4", "--store-url", postgres.url(name, role=ROLE)]

    async def noted(what: str) -> int:
        asked = "SELECT coalesce(max(position), 0) FROM progress WHERE name = %s"
        return int((await rows(planted.connection, asked, (f"{NEXT}:{what}",)))[0][0])

    async with session(planted.connection) as reader:
        if where == "swap":
            await reader.set_autocommit(False)
            await reader.execute("SELECT FROM embedding LIMIT 1")
        killed = subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.DEVNULL)
        try:
            async with asyncio.timeout(PATIENCE_SECS):
                while not await noted("copied") or (where == "swap" and not await waiting(planted)):
                    assert killed.poll() is None
                    await asyncio.sleep(0.002)
        finally:
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        if where == "copying":
            assert await noted("copied") < await noted("until")
        await planted.put([*pair(3, "omega"), ended(4)])
        await settle(planted)
        assert await wrong_vectors(planted) == []
    async with asyncio.timeout(PATIENCE_SECS):
        while True:
            done = await asyncio.to_thread(subprocess.run, words, cwd=PROJECT, capture_output=True)
            if done.returncode != 75:
                break
            await asyncio.sleep(0.1)  # the server has not seen yet that the other is gone
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"partitions = 4; searches waited" in done.stderr
    assert await wrong_vectors(planted) == []
    await planted.put([*pair(3), *pair(4)])
    await settle(planted)
    assert await answers(planted) == before


async def waiting(planted: Planted) -> bool:
    """Whether somebody waits for the whole table."""
    asked = "SELECT FROM pg_locks WHERE relation = 'embedding'::regclass AND NOT granted"
    return bool(await rows(planted.connection, asked))


async def test_a_new_store_is_made_with_parts_and_wrong_numbers_are_refused(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    url = database()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "aimem", "store", *words, "--store-url", url]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE_SECS)

    for number in ("0", "65", "many"):
        assert run("partition", number).returncode == 2
    assert postgres.sql("SELECT to_regclass('state')", name_of(url)) == [(None,)]
    done = run("partition", "4")
    assert (done.returncode, done.stdout) == (0, "")
    assert "partitions = 4" in done.stderr
    store = await open_store(read_target(url))
    try:
        writer = Writing(store)
        keys = [await writer.put(number) for number in range(6)]
        while await store.settle_vectors(MODEL):
            pass
        assert [await found_in(store, writer.live[key][1], None) for key in keys] == [[key] for key in keys]
        assert await store.check() == []
    finally:
        await store.close()
    held = postgres.sql("SELECT count(DISTINCT tableoid), count(DISTINCT root) FROM embedding", name_of(url))
    assert held[0][0] > 1
    assert held[0][1] == 6
    assert "partitions = 4 already" in run("partition", "4").stderr
    assert run("check").returncode == 0


async def test_tune_cuts_it_where_the_size_needs_that(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_partitions", lambda vectors, roots: 4 if (vectors, roots) == (667, 6) else 0)
    async with session(planted.connection) as connection:
        size = await tuning.measure(connection)
        assert (size.partitions, size.roots) == (1, 6)
        applied = await tuning.apply(connection)
        assert any("partitions = 4" in words for words in applied.done)
        assert (await tuning.measure(connection)).partitions == 4
    monkeypatch.setattr(tuning, "_MUCH_DEAD", 1)
    for done in (True, False):
        async with session(planted.connection) as connection:
            assert (f"{tuning.CLEANUP} = off" in (await tuning.apply(connection)).done) is done
    await cut(planted, 3)  # what was set for the parts holds for the new ones
    async with session(planted.connection) as connection:
        assert (await tuning.measure(connection)).cleanup == "off"


async def test_the_graph_of_a_part_is_built_anew_where_that_part_is_dead(
    planted: Planted, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower_bounds(monkeypatch)
    await cut(planted, 4)
    name = planted.connection.info.dbname
    files = "SELECT relname::text, pg_relation_filenode(oid) FROM pg_class WHERE relname LIKE 'embedding_4_%_graph'"
    before = dict(postgres.sql(files, name))
    assert len(before) == 4
    ((part, gone),) = await rows(
        planted.connection, "SELECT tableoid::regclass::text, count(*) FROM embedding WHERE root = 'alpha' GROUP BY 1"
    )
    async with session(planted.connection) as connection:
        await connection.execute("DELETE FROM embedding WHERE root = 'alpha'")
    postgres.await_sql(f"SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = '{part}'", gone, name)
    async with session(planted.connection) as connection:
        done = await maintain(connection)
    assert any(f"of the vectors in {part} were dead" in words for words in done)
    after = dict(postgres.sql(files, name))
    assert {each for each in before if after[each] != before[each]} == {f"{part}_graph"}
    assert await graph.has_graph(planted.connection)


async def test_a_store_of_the_release_before_is_brought_up_to_date(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    url = database()
    async with nodes(url, 1) as (node,):
        await Writing(node.store).put(1)
        await node.store.settle_vectors(MODEL)
    postgres.sql("ALTER TABLE embedding DROP COLUMN root, DROP COLUMN namespace", name_of(url))
    postgres.sql("UPDATE state SET schema = 2", name_of(url))
    async with nodes(url, 2) as (node, _):
        await Writing(node.store).put(2)
        await node.store.settle_vectors(MODEL)
        assert await node.store.settled_vectors() == 2
        assert await node.store.check() == []
    assert postgres.sql("SELECT schema FROM state", name_of(url)) == [(4,)]
