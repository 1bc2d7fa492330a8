"""What a server is found unfit for, from a real one as far as it can be made unfit, else from facts put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from aimem.errors import Misconfigured, StoreUnreachable
from aimem.store.postgres.checks import Facts, could_be_lost, judge, look
from aimem.store.postgres.connections import open_connections
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.upkeep import maintain
from aimem.store.postgres.url import read_target
from tests.postgres_server import ROLE, PostgresServer, name_of

pytest.importorskip("psycopg")
pytestmark = pytest.mark.bad_luck


async def facts(url: str, now: Callable[[], int] = time.time_ns) -> Facts:
    connections = await open_connections(read_target(url))
    try:
        async with connections.use() as connection:
            return await look(connection, now)
    finally:
        await connections.close()


def codes(found: Facts, *, refusing: bool = False) -> set[str]:
    return {finding.code for finding in judge(found) if finding.refuses or not refusing}


@pytest.fixture
async def well(database: Callable[[], str]) -> Facts:
    """Of a server with nothing but the settings of the tests."""
    return await facts(database())


async def test_a_plain_server_is_fit_and_what_a_failover_could_lose_is_said(well: Facts) -> None:
    assert codes(well, refusing=True) == set()
    assert codes(well) == {"not_durable", "no_synchronous_standby"}  # the tests' server runs without fsync
    assert "could lose the last writes" in could_be_lost(well)
    assert abs(well.clock_off) <= well.clock_slack + 0.05
    assert (well.role, well.superuser, well.encoding, well.may_create) == (ROLE, False, "UTF8", True)


async def test_a_database_without_the_extension_says_the_statement_that_makes_it(postgres: PostgresServer) -> None:
    name = postgres.new_database(extension=False)
    try:
        found = await facts(postgres.url(name, role=ROLE))
    finally:
        postgres.drop_database(name)
    (finding,) = [each for each in judge(found) if each.refuses]
    assert finding.code == "extension_missing"
    assert f"in the database {name}: CREATE EXTENSION vector" in str(finding)


async def test_rights_encoding_commits_connections_and_superusers(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    url = database()
    name = name_of(url)
    assert "superuser" in codes(await facts(postgres.url(name)))
    postgres.sql(f"create schema closed; alter database {name} set search_path = closed", name)
    assert codes(await facts(url), refusing=True) == {"may_not_create"}
    postgres.sql(f"alter database {name} reset search_path")
    postgres.sql(f"alter database {name} set synchronous_commit = off")
    assert codes(await facts(url), refusing=True) == {"commit_not_synchronous"}
    postgres.sql(f"alter database {name} reset synchronous_commit")
    postgres.sql(f"alter database {name} connection limit 5")
    assert "few_connections" in codes(await facts(url))
    postgres.sql(f"create database latin_{name} owner {ROLE} encoding 'LATIN1' locale 'C' template template0")
    try:
        assert "encoding" in codes(await facts(postgres.url(f"latin_{name}", role=ROLE)), refusing=True)
    finally:
        postgres.drop_database(f"latin_{name}")


async def test_a_role_that_only_reads_is_told_whose_store_it_is(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    """Red before: it was to make a schema of its own, and with it an empty store beside the one that is there."""
    url = database()
    name, reader = name_of(url), f"reader_{name_of(url)}"
    await (await open_store(read_target(url))).close()
    postgres.sql(f"create role {reader} login; grant select on all tables in schema public to {reader}", name)
    postgres.access(f"host all {reader} 127.0.0.1/32 trust\n")
    try:
        found = await facts(postgres.url(name, role=reader))
        (finding,) = [each for each in judge(found) if each.refuses]
        assert finding.code == "may_not_write"
        assert f"GRANT {ROLE} TO {reader}" in finding.hint
        connections = await open_connections(read_target(postgres.url(name, role=reader)))
        async with connections.use() as connection:
            with pytest.raises(Misconfigured, match=f"whose tables are those of {ROLE}"):
                await maintain(connection)  # red before: the server only warned, and it ended well
        await connections.close()
        postgres.sql(f"grant {ROLE} to {reader}")
        assert codes(await facts(postgres.url(name, role=reader)), refusing=True) == set()
        postgres.sql(f"alter role {reader} nologin")
        with pytest.raises(Misconfigured, match="not permitted to log in"):
            await facts(postgres.url(name, role=reader))
    finally:
        postgres.access(None)
        postgres.sql(f"drop owned by {reader}; drop role {reader}", name)


async def test_a_session_that_is_set_to_read_only_is_no_standby(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    url = database()
    postgres.sql(f"alter database {name_of(url)} set default_transaction_read_only = on")
    with pytest.raises(StoreUnreachable) as refused:
        await facts(url)
    assert "default_transaction_read_only" in (refused.value.hint or "")


async def test_a_clock_that_is_off_is_told_but_not_for_a_slow_answer(database: Callable[[], str]) -> None:
    found = await facts(database(), lambda: time.time_ns() + 40 * 10**9)
    assert "clock_off" in codes(found)
    assert "behind" in next(str(each) for each in judge(found) if each.code == "clock_off")
    assert "clock_off" not in codes(replace(found, clock_off=20.0, clock_slack=19.0))


async def test_synchronous_standbys(postgres: PostgresServer, new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres()
    with server.standby(synchronous=True) as standby:
        name = server.new_database()
        found = await facts(server.url(name, role=ROLE))
        assert found.synchronous_standbys is None
        assert "GRANT pg_read_all_stats" in could_be_lost(found)
        server.sql(f"grant pg_read_all_stats to {ROLE}")
        found = await facts(server.url(name, role=ROLE))
        assert found.synchronous_standbys == 1
        assert could_be_lost(found).startswith("nothing acknowledged is lost")
        standby.kill()
        server.await_sql("select count(*) from pg_stat_replication", 0)
        assert "standby_gone" in codes(replace(found, synchronous_standbys=0))


def test_versions(well: Facts) -> None:
    assert codes(replace(well, server=140_010), refusing=True) == {"server_too_old"}
    assert "server_old" in codes(replace(well, server=160_004))
    assert codes(replace(well, extension="0.8.3"), refusing=True) == {"extension_too_old"}
    assert codes(replace(well, extension="0.10.0"), refusing=True) == set()
    assert codes(replace(well, extension=None, available=None), refusing=True) == {"extension_not_installed"}
    assert codes(replace(well, in_recovery=True), refusing=True) == {"read_only"}
