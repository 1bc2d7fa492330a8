"""What is wrong with a database or its settings, and what others do in it meanwhile: told with what to do, or suffered
without a loss."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from aimem.core.kinds import MEMORY
from aimem.core.record import Ref
from aimem.errors import AimemError, Misconfigured, StoreUnreachable
from aimem.store.base import Written
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.schema import WRITING
from aimem.store.postgres.url import read_target
from tests.fault_proxy import fault_proxy
from tests.postgres_server import ROLE, PostgresServer, name_of
from tests.store.conftest import creating, storing, written
from tests.store.shared import nodes, opened
from tests.store.test_migrate_ours import run, titles_of
from tests.waiting import PATIENCE_SECS, until

pytestmark = pytest.mark.bad_luck

Make = Callable[[], str]


async def test_a_statement_that_takes_too_long_is_told_and_its_connection_serves_on(database: Make) -> None:
    async with opened(database()) as store:
        with pytest.raises(psycopg.errors.QueryCanceled) as late:
            async with store.connections.use(PATIENCE_SECS) as connection:
                await connection.execute("SELECT pg_sleep(600)")
        told = store.connections.told(late.value)
        assert (told.status, told.retryable) == (503, True)
        await written(store, creating("after"))


async def test_tables_that_another_session_has_locked_are_a_503_in_time(database: Make) -> None:
    """As of a VACUUM FULL, or of a migration by hand."""
    url = database()
    async with opened(url) as store:
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE record")
            with pytest.raises(AimemError, match="lock timeout") as refused:  # not what the last, short attempt met
                await store.get([Ref(MEMORY, "a")])
            assert (refused.value.status, refused.value.retryable) == (503, True)
            with pytest.raises(AimemError) as refused:
                await store.write([creating("meanwhile")])
            assert (refused.value.status, refused.value.retryable) == (503, True)
        await written(store, creating("after"))
        assert await store.check() == []


async def test_a_deadlock_with_another_session_undoes_the_group_and_it_is_written_again(
    new_postgres: Callable[..., PostgresServer],
) -> None:
    server = new_postgres(deadlock_timeout="2s")  # before the writer has waited too long for a lock
    name = server.new_database()
    async with opened(server.url(name, role=ROLE)) as store:
        count = 0
        while "deadlock detected" not in server.log():
            count += 1
            (made,) = await written(store, storing("A", content=f"{count}"))
            async with await psycopg.AsyncConnection.connect(server.url(name)) as other:
                await other.execute("SET deadlock_timeout = '1h'")  # so that it is the writer who finds it
                await other.execute("SELECT FROM record WHERE key = %s FOR UPDATE", (made.record.key,))
                writing = asyncio.create_task(store.write([storing("A", content="new")]))
                waits = "select count(*) from pg_locks where not granted"
                await asyncio.to_thread(server.await_sql, waits, 1)
                await other.execute("SELECT pg_advisory_xact_lock(%s)", (WRITING,))  # when the writer has let go of it
                await other.rollback()
            (outcome,) = await writing
            assert isinstance(outcome, Written)
        assert store.visible == 1
        assert await store.check() == []


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
async def test_a_database_whose_transactions_are_isolated_more_than_ours_fails_no_write(
    database: Make, postgres: PostgresServer, level: str
) -> None:
    """One snapshot for the whole transaction would be older than the lock, and each group but one fail with 40001."""
    url = database()
    postgres.sql(f"alter database {name_of(url)} set default_transaction_isolation = '{level}'")
    async with nodes(url, 3) as found:
        await asyncio.gather(*(written(node.store, storing(f"memory {at}")) for at in range(30) for node in found))
        await asyncio.gather(*(node.store.hear() for node in found))
        assert {node.store.visible for node in found} == {30}
        assert await found[0].store.check() == []


async def test_a_node_that_ends_while_it_makes_the_tables_leaves_none(database: Make, postgres: PostgresServer) -> None:
    url = database()
    with fault_proxy(postgres.port) as proxy:
        proxy.lose_answer_to(b"CREATE TABLE words")
        with pytest.raises(StoreUnreachable):
            await open_store(read_target(url.replace(f":{postgres.port}/", f":{proxy.port}/")))
        assert proxy.swallowed == 1
    async with opened(url) as store:
        await written(store, creating("first"))


@pytest.mark.parametrize("table", ["record", "words", "digest", "start", "progress"])
async def test_a_database_with_a_part_of_a_store_is_refused_and_the_rest_named(
    database: Make, postgres: PostgresServer, table: str
) -> None:
    url = database()
    async with opened(url):
        pass
    postgres.sql(f"drop table {table}", name_of(url))
    with pytest.raises(Misconfigured, match=table) as refused:
        await open_store(read_target(url))
    assert refused.value.hint


async def test_a_store_that_changes_while_it_is_copied_is_copied_as_it_was_at_one_moment(
    database: Make, tmp_path: Path
) -> None:
    url, target = database(), tmp_path / "copy.db"
    async with opened(url) as store:
        await written(store, *(creating(f"{number:06}") for number in range(3_000)))
        count, stop = 3_000, asyncio.Event()

        async def write_on() -> None:
            nonlocal count
            while not stop.is_set():
                await written(store, creating(f"{count:06}"))
                count += 1

        writing = asyncio.create_task(write_on())
        await until(lambda: count > 3_010)
        command = [sys.executable, "-m", "aimem", "migrate", "--from", url, "--to", str(target), "--verify", "--json"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        stop.set()
        await writing
        assert process.returncode == 0
        assert not any(each["missing"] for each in json.loads(out)["verified"])
        copied = sorted(await titles_of(target))
        assert copied == [f"{number:06}" for number in range(len(copied))], "what was written first, without a gap"
        assert 3_010 < len(copied) < count
        assert await asyncio.to_thread(run, "--from", url, "--to", target) == 0  # and then what was written since
        assert len(await titles_of(target)) == count
