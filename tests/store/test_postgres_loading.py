"""Filling an empty shared store the fast way: the same rows as one by one, and nobody is served without an index."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aimem.core.intent import Intent
from aimem.core.kinds import ALIAS, TOUCH
from aimem.core.record import Record, Ref
from aimem.core.upkeep import receive
from aimem.core.version import Version
from aimem.errors import Locked, StorageFailed
from aimem.limits import GROUP_INTENTS_MAX, LOAD_SPELL_BESIDE
from aimem.store.base import Store, Written
from aimem.store.moving.opening import opened_files
from aimem.store.moving.running import move
from aimem.store.moving.shared import opened_target
from aimem.store.postgres.group import Run
from aimem.store.postgres.known import PAIR, Family, mark_of
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.partitioning import partition
from aimem.store.postgres.schema import INDEXES
from aimem.store.postgres.seen import Seen
from aimem.store.postgres.session import Connection
from aimem.store.postgres.speller import Speller
from aimem.store.postgres.spelling import lines
from aimem.store.postgres.statements import copy_rows
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.url import read_target
from aimem.store.sqlite.store import open_sqlite
from tests.postgres_server import PostgresServer, name_of
from tests.store.conftest import NOW, SECOND, Clock, Ids, elsewhere, held, putting, storing, written
from tests.store.old_database import REAL
from tests.store.planted import MODEL, drawn, vector
from tests.store.shared import opened
from tests.store.store_source import StoreSource
from tests.store.test_migrate_ours import fill
from tests.store.test_moving import filled
from tests.waiting import eventually

pytestmark = pytest.mark.bad_luck

Make = Callable[[], str]

_TABLES = {
    "record": "SELECT * FROM record ORDER BY row",
    "words": "SELECT row, size, found::text FROM words ORDER BY row",
    "embedding": "SELECT row, piece, model, mark, vector::text, root FROM embedding ORDER BY row, piece",
    "digest": "SELECT bucket, sum FROM digest ORDER BY bucket",
    "progress": "SELECT name, position FROM progress ORDER BY name",
    "state": "SELECT incarnation, head, last_row, clock, floor, visible FROM state",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
}
_ARE_THERE = "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid = ANY(ARRAY[{}])".format(
    ", ".join(f"to_regclass('{name}')" for name in INDEXES)
)
_ODD = "a\tb\\c\nd\re\\N\\.\0\1{é}"
_BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '{}%'"
_ALL = [(len(INDEXES),)]


@asynccontextmanager
async def target(url: str) -> AsyncIterator[PostgresStore]:
    """A store that is to be filled, with the clock and the ids of the tests."""
    store = await open_store(replace(read_target(url), program="aimem migrate"), now=Clock(), rand=Ids(), filling=True)
    try:
        yield store
    finally:
        await store.close()


async def odd_records(store: Store) -> None:
    """Records of every sort, vectors before and behind their memories, and pairs that several hold."""
    await filled(store)
    rng = random.Random(3)
    memories = [elsewhere(f"m{number}", f"pair {number % 7}", NOW - (60 - number) * SECOND) for number in range(50)]
    await written(store, putting(*memories), putting(*(vector(each, drawn(rng)) for each in memories[::2])))
    for each in memories[::5]:
        await written(store, putting(elsewhere(each.key, f"again {each.key}", NOW)))
    metadata = {"agent_id": _ODD, "scope": _ODD}
    odd = elsewhere(_ODD, _ODD, NOW, content=_ODD, namespace=_ODD, tags=[_ODD, "\\N", '"'], metadata=metadata)
    await written(store, putting(odd, elsewhere("\\N", "\\.", NOW, namespace="\\N")))


async def tables(url: str, server: PostgresServer) -> dict[str, list[tuple[Any, ...]]]:
    return {name: server.sql(statement, name_of(url)) for name, statement in _TABLES.items()}


@pytest.mark.parametrize(("origin", "cut", "beside"), [("ours", 0, True), ("ours", 3, False), ("old", 0, True)])
async def test_the_same_rows_as_one_by_one(
    origin: str,
    cut: int,
    beside: bool,
    database: Make,
    postgres: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aimem.store.postgres.speller.LOAD_SPELL_BESIDE", 1 if beside else 1_000_000)
    monkeypatch.setattr("aimem.store.migrate.running.MIGRATE_SHARED_INTENTS", 7)
    monkeypatch.setattr("aimem.store.grouping.GROUP_INTENTS_MAX", 7)  # so that groups meet earlier ones
    monkeypatch.setattr("aimem.store.postgres.graph.EXACT_SEARCH_ROWS_MAX", 10)
    found = []
    async with AsyncExitStack() as stack:
        old = stack.enter_context(opened_files([REAL], tmp_path / "x")).old if origin == "old" else []
        ours = []
        if origin == "ours":
            source = await open_sqlite(tmp_path / "a.db", now=Clock(), rand=Ids(1))
            stack.push_async_callback(source.close)
            await odd_records(source)
            ours = [StoreSource("source", source)]
        for fast in (False, True):
            url, said = database(), list[str]()
            async with target(url) as store:
                if cut:
                    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                        await partition(connection, cut)
                if fast:
                    assert await store.load()
                    assert postgres.sql(_ARE_THERE, name_of(url)) == [(0,)]
                report = await move(old, ours, store, now=NOW, shown=lambda rows: None, told=said.append)
                for _ in range(cut + 1):  # each time the graph of one part
                    while await store.settle_vectors(MODEL if origin == "ours" else "none"):
                        pass
                assert await store.check() == []
                assert report.failed == 0
            assert ("building the index words_found" in said) == fast
            assert any("building the graph" in each for each in said) == (fast and origin == "ours")
            found.append(await tables(url, postgres))
    assert found[0]["record"]
    assert bool(found[0]["embedding"]) == (origin == "ours")
    assert found[0] == found[1]


async def test_what_a_process_spells_is_what_this_one_would_also_when_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aimem.store.postgres.speller.LOAD_SPELL_BESIDE", 2)
    memories = [elsewhere(f"m{at}", f"Naïve title {at}\t\\n", NOW, content="running 'quoted' 東京") for at in range(5)]
    texts = [(at, each.born.time, each.raw) for at, each in enumerate(memories)]
    speller = Speller()
    assert await speller.begin(texts[:1])() == lines(texts[:1])
    answers = [speller.begin(texts[at:]) for at in range(4)]
    never_asked, cancelled = answers.pop(), asyncio.ensure_future(answers.pop()())
    await asyncio.sleep(0)
    cancelled.cancel()
    assert [await answer() for answer in answers] == [lines(texts), lines(texts[1:])]
    assert await speller.begin(texts)() == lines(texts)
    assert await never_asked() == lines(texts[3:])
    process = speller._process
    assert process is not None
    process.kill()
    await process.wait()
    assert await speller.begin(texts)() == lines(texts)
    assert "this one does its work" in caplog.text
    await speller.close()


async def test_a_process_that_spells_ends_with_the_one_that_started_it() -> None:
    program = """
import asyncio, os
from aimem.store.postgres.speller import Speller

async def main():
    speller = Speller()
    await speller.begin([(1, 0, b'{"content":"","metadata":{},"tags":[],"title":""}')] * 200)()
    print(speller._process.pid, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    beside = Path("/proc", (await process.stdout.readline()).decode().strip())
    assert await process.wait() == -signal.SIGKILL
    await asyncio.to_thread(eventually, lambda: not beside.exists() or " Z " in (beside / "stat").read_text())


async def test_an_interrupt_at_the_terminal_is_for_the_command_alone() -> None:
    """It goes to all processes that the terminal started together: the one that spells would end with a traceback."""
    speller = Speller()
    try:
        text = (1, 0, b'{"content":"","metadata":{},"tags":[],"title":""}')
        await speller.begin([text] * LOAD_SPELL_BESIDE)()
        assert speller._process is not None
        assert os.getpgid(speller._process.pid) != os.getpgid(0)
    finally:
        await speller.close()


async def test_only_an_empty_store_that_nobody_serves_is_loaded(database: Make, postgres: PostgresServer) -> None:
    url = database()
    async with opened(url) as node, opened_target(read_target(url)) as store:
        assert postgres.sql(_ARE_THERE, name_of(url)) == _ALL
        await written(store, putting(elsewhere("x", "x", NOW)))
        await node.hear()
        assert await held(node, "memory", "x") is not None
    async with opened_target(read_target(url)):
        assert postgres.sql(_ARE_THERE, name_of(url)) == _ALL


async def test_a_role_that_does_not_own_the_tables_fills_them_row_by_row(
    database: Make, postgres: PostgresServer
) -> None:
    url = database()
    async with opened(url):
        pass
    name = name_of(url)
    for (table,) in postgres.sql("SELECT tablename FROM pg_tables WHERE tableowner = 'aimem'", name):
        postgres.sql(f"ALTER TABLE {table} OWNER TO postgres", name)
        postgres.sql(f"GRANT ALL ON {table} TO aimem", name)
    async with opened_target(read_target(url)) as store:
        assert postgres.sql(_ARE_THERE, name) == _ALL
        await written(store, putting(elsewhere("x", "x", NOW)))
        await store.end_load(lambda what: None)
        assert await store.check() == []


async def test_a_node_that_comes_during_a_load_is_turned_away(database: Make, postgres: PostgresServer) -> None:
    url = database()
    async with opened_target(read_target(url)) as store:
        await written(store, putting(elsewhere("x", "x", NOW)))
        head = postgres.sql("SELECT revision FROM state", name_of(url))
        with pytest.raises(Locked, match="a migration is filling this store"):
            await open_store(read_target(url))
        assert postgres.sql("SELECT revision FROM state", name_of(url)) == head, "it left no trace"
        await store.end_load(lambda what: None)
        async with opened(url) as node:
            assert await held(node, "memory", "x") is not None


@pytest.mark.parametrize(
    "harm",
    ["DROP INDEX record_order", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'words_found'::regclass"],
)
async def test_a_node_makes_what_is_missing_before_it_serves(
    database: Make, postgres: PostgresServer, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    url = database()
    async with opened(url) as node:
        await written(node, storing("a"))
    postgres.sql(harm, name_of(url))
    assert postgres.sql(_ARE_THERE, name_of(url)) != _ALL
    async with opened(url) as node:
        assert postgres.sql(_ARE_THERE, name_of(url)) == _ALL
        assert await node.check() == []
    assert "before this node serves" in caplog.text


@pytest.mark.parametrize("by", ["the next run", "a node"])
@pytest.mark.parametrize("at", ["the index of words", "those of rows"])
async def test_a_load_that_is_killed_while_it_makes_an_index_is_ended_by(
    at: str, by: str, tmp_path: Path, database: Make, postgres: PostgresServer
) -> None:
    source, url = tmp_path / "a.db", database()
    digest = await asyncio.to_thread(fill, source, *(f"memory {number}" for number in range(50)))
    name = name_of(url)
    command = [sys.executable, "-m", "aimem", "migrate", "--from", str(source), "--to", url]
    async with opened(url):
        pass  # the tables are there
    made = len(INDEXES) - 1 if at == "the index of words" else 1
    async with await connected(postgres, name) as of_rows, await connected(postgres, name) as of_words:
        await of_rows.execute("BEGIN; LOCK TABLE embedding IN SHARE UPDATE EXCLUSIVE MODE")  # no ANALYZE
        await of_words.execute("BEGIN; LOCK TABLE progress IN EXCLUSIVE MODE")  # nothing is written yet
        process = await asyncio.create_subprocess_exec(*command)
        await until_sql(postgres, name, _ARE_THERE, 0)
        await of_words.execute("COMMIT; BEGIN; LOCK TABLE words IN ROW EXCLUSIVE MODE")
        await until_sql(postgres, name, _BLOCKED.format("ANALYZE"), 1)
        await until_sql(postgres, name, _BLOCKED.format("CREATE INDEX words_found"), 1)
        assert postgres.sql(_ARE_THERE, name) == [(0,)]
        await (of_rows if at == "the index of words" else of_words).execute("ROLLBACK")
        await until_sql(postgres, name, _ARE_THERE, made)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        await of_rows.execute("ROLLBACK")
        await of_words.execute("ROLLBACK")
    await until_sql(
        postgres, name, f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND usename = 'aimem'", 0
    )
    assert postgres.sql(_ARE_THERE, name) == [(made,)]
    if by == "the next run":
        again = await asyncio.create_subprocess_exec(*command)
        assert await again.wait() == 0
        assert postgres.sql(_ARE_THERE, name) == _ALL
    async with opened(url) as node:
        assert postgres.sql(_ARE_THERE, name) == _ALL
        assert await node.check() == []
        assert node.digest.root() == digest


async def connected(server: PostgresServer, name: str) -> Any:
    return await psycopg.AsyncConnection.connect(server.url(name), autocommit=True)


async def until_sql(server: PostgresServer, name: str, statement: str, value: object) -> None:
    """Wait until a statement in a database gives this."""
    await asyncio.to_thread(server.await_true, lambda: server.sql(statement, name) == [(value,)], statement)


async def test_what_another_writes_during_a_load_is_met(database: Make) -> None:
    url = database()
    async with target(url) as store, target(url) as other:
        assert await store.load()
        await written(store, receive(elsewhere("a", "a", NOW)))
        await written(other, receive(elsewhere("x", "x", NOW, content="newer")))
        older = elsewhere("x", "x", NOW - SECOND, content="older")
        assert await written(store, receive(elsewhere("b", "b", NOW)), receive(older)) == [True, False]
        await written(other, receive(elsewhere("y", "y", NOW, content="newer")))
        assert await written(store, receive(elsewhere("y", "y", NOW - SECOND))) == [False]
        await store.end_load(lambda what: None)
        assert await store.check() == []


async def test_a_load_that_goes_on_knows_what_is_there(database: Make) -> None:
    url = database()
    memory = elsewhere("x", "x", NOW)
    async with target(url) as store:
        assert await store.load()
        await written(store, receive(memory), receive(elsewhere("y", "y", NOW)))
    async with target(url) as store:
        assert await store.load()
        replies = await written(store, receive(memory), receive(elsewhere("z", "x", NOW + SECOND)))
        assert replies == [False, True]
        await store.end_load(lambda what: None)
        assert await store.check() == []
        assert store.visible == 2, "z holds the pair of x"


async def test_the_next_group_is_run_while_the_server_takes_in_the_last(
    database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[Run]()

    def run(*given: Any, **more: Any) -> Run:
        begun.append(Run(*given, **more))
        return begun[-1]

    for module in ("writer", "lookahead"):
        monkeypatch.setattr(f"aimem.store.postgres.{module}.Run", run)
    async with target(database()) as store:
        assert await store.load()
        older, newer = (many(age) for age in (9, 3))
        first, second, third = await asyncio.gather(*(store.write(each) for each in (older, newer, [*newer, *older])))
        assert len(begun) == 3
        assert [reply(each) for each in first + second] == [True] * 2 * GROUP_INTENTS_MAX
        assert not any(reply(each) for each in third)
        assert store.head == 2 * GROUP_INTENTS_MAX
        await store.end_load(lambda what: None)
        assert await store.check() == []


@pytest.mark.parametrize("fault", [psycopg.OperationalError("gone"), psycopg.DataError("refused")])
async def test_what_was_run_ahead_of_a_group_that_fails_counts_for_nothing(
    fault: psycopg.Error, database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, failed = list[Run](), asyncio.Event()

    async def went_on(run: Run) -> None:
        run.outcomes()
        ahead.append(run)

    async def copy(connection: Connection, puts: Any) -> None:
        if not failed.is_set():
            while not ahead:
                await asyncio.sleep(0)
            failed.set()
            raise fault
        await copy_rows(connection, puts)

    monkeypatch.setattr(Run, "go_on", went_on)
    monkeypatch.setattr("aimem.store.postgres.table.copy_rows", copy)
    async with target(database()) as store:
        assert await store.load()
        writes = [store.write(many(age)) for age in (3, 9)]
        first, second = await asyncio.gather(*writes, return_exceptions=True)
        assert failed.is_set()
        assert isinstance(second, list)
        if isinstance(fault, psycopg.DataError):
            assert isinstance(first, StorageFailed)
            assert [reply(each) for each in second] == [True] * GROUP_INTENTS_MAX
        else:
            assert isinstance(first, list)
            assert [reply(each) for each in first] == [True] * GROUP_INTENTS_MAX
            assert not any(reply(each) for each in second)
        assert store.head == GROUP_INTENTS_MAX
        await store.end_load(lambda what: None)
        assert await store.check() == []


def many(age: int) -> list[Intent]:
    """A whole group of aliases, written so many seconds ago."""
    version, each = Version(NOW - age * SECOND, "c" * 16), range(GROUP_INTENTS_MAX)
    return [receive(Record.make(ALIAS, f"a/{at}", version, version, {"entity_id": "a", "alias": at})) for at in each]


def reply(outcome: Any) -> Any:
    assert isinstance(outcome, Written), outcome
    return outcome.reply


def test_what_was_seen_is_never_denied_and_little_else_believed() -> None:
    seen = Seen()
    there = [Ref("memory", f"{number}") for number in range(20_000)]
    for each in there:
        seen.add(each)
    assert all(each in seen for each in there)
    assert sum(Ref("memory", f"no {number}") in seen for number in range(20_000)) < 20
    seen.add(mark_of(Family(PAIR, "a\0b")))
    assert mark_of(Family(PAIR, "a\0b")) in seen
    assert Family(TOUCH, "a") not in seen
