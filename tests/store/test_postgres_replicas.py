"""Reads from hot standbys: never older than the bound, never without the caller's own last write, and going on when a
standby or the primary is gone."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from aimem.core.kinds import MEMORY
from aimem.core.record import Ref
from aimem.errors import AimemError, Misconfigured, StoreUnreachable
from aimem.limits import REPLICA_CALL_SECS, STORE_CALL_SECS, STORE_WRITE_SECS
from aimem.store.base import Filter
from aimem.store.lagging import lagging
from aimem.store.postgres.checks import Finding
from aimem.store.postgres.inspection import examine
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.past import GRAIN_SECS, Past
from aimem.store.postgres.replicas import Replicas
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.url import Target, read_target
from tests.postgres_server import ROLE, PostgresServer
from tests.store.conftest import storing, written
from tests.waiting import PATIENCE_SECS, until

pytestmark = pytest.mark.bad_luck

MakeServer = Callable[..., PostgresServer]
BOUND = 0.5
SLACK = 30.0  # seconds by which a busy machine may be late


def test_lag_counts_from_the_last_moment_at_which_the_primary_held_no_more() -> None:
    past = Past()
    assert past.lag("a", 1) == math.inf
    for moment, revision in ((10.0, 1), (11.0, 1), (12.0, 2), (14.0, 3)):
        past.note(moment, "a", revision)
    assert [past.lag("a", revision) for revision in (0, 1, 2, 3, 4)] == [math.inf, 3.0, 2.0, 0.0, 0.0]
    assert past.lag("b", 3) == math.inf
    past.note(20.0, "a", 3)
    assert [past.lag("a", 2), past.lag("a", 3)] == [8.0, 0.0], "an idle primary does not make a replica old"
    past.note(13.0, "a", 9)
    assert past.lag("a", 3) == 0.0, "what comes late tells nothing"
    past.note(21.0, "b", 1)
    assert past.lag("a", 3) == math.inf


def test_a_busy_past_is_bounded_and_never_told_too_small() -> None:
    past = Past()
    for step in range(100_000):
        past.note(step / 1_000, "a", step)
    assert 10.0 <= past.lag("a", 89_999) < 10.0 + 2 * GRAIN_SECS
    assert len(past._moments) <= 12_000


@asynccontextmanager
async def following(
    server: PostgresServer, *standbys: PostgresServer, bound: float = BOUND
) -> AsyncIterator[PostgresStore]:
    """A store with replicas, each of which has caught up."""
    name = server.new_database()
    replicas = Replicas([read_target(each.url(name, role=ROLE)) for each in standbys], bound)
    for each in standbys:
        await asyncio.to_thread(each.await_sql, f"select count(*) from pg_database where datname = '{name}'", 1)
    await replicas.connect()
    store = await open_store(read_target(server.url(name, role=ROLE)), replicas=replicas)
    try:
        await caught_up(store)
        yield store
    finally:
        await store.close()


async def caught_up(store: PostgresStore) -> None:
    """Wait until every replica that answers may be read."""
    await until(lambda: all(store.replicas.lag(each) <= BOUND for each in store.replicas if each.why is None))


async def titles(store: PostgresStore, after: int = 0) -> set[str]:
    with lagging(after):
        return {each.record.body["title"] for each in await store.select(Filter(time.time_ns()), 100, 0)}


@contextmanager
def counted(store: PostgresStore) -> Iterator[list[int]]:
    """How many reads the replicas and the primary have answered inside: [replicas, primary]."""
    told = [0, 0]
    before = sum(each.reads for each in store.replicas), store.replicas.primary_reads
    yield told
    told[:] = [sum(each.reads for each in store.replicas) - before[0], store.replicas.primary_reads - before[1]]


@contextmanager
def paused(standby: PostgresServer) -> Iterator[None]:
    """The standby goes on receiving, and shows nothing new."""
    standby.sql("select pg_wal_replay_pause()")
    standby.await_sql("select pg_get_wal_replay_pause_state()", "paused")
    try:
        yield
    finally:
        standby.sql("select pg_wal_replay_resume()")


async def test_own_writes_are_read_at_once_though_replay_stands_still(new_postgres: MakeServer) -> None:
    server = new_postgres()
    with server.standby() as standby:
        async with following(server, standby, bound=60) as store:
            await written(store, storing("one"))
            with counted(store) as told:
                assert await titles(store, store.head) == {"one"}
            assert told in ([1, 0], [0, 1])
            with paused(standby):
                with counted(store) as told:
                    before = await titles(store)
                assert told == [1, 0], "within the bound a stranger may be told the old state"
                await written(store, storing("two"))
                with counted(store) as told:
                    assert await titles(store, store.head) == before | {"two"}
                    assert await titles(store) == before
                    assert await store.get([Ref(MEMORY, "none")]) == [None]
                assert told == [1, 1], "a read of nobody in particular is no matter of replicas"
            end = time.monotonic() + PATIENCE_SECS
            while (await titles(store)) != {"one", "two"}:
                assert time.monotonic() < end
                await asyncio.sleep(0.01)


async def test_a_replica_behind_the_bound_is_not_read_until_it_has_caught_up(new_postgres: MakeServer) -> None:
    server = new_postgres()
    with server.standby() as standby:
        async with following(server, standby) as store:
            with paused(standby):
                await written(store, storing("one"))
                await until(lambda: store.replicas.lag(next(iter(store.replicas))) > BOUND)
                with counted(store) as told:
                    assert await titles(store) == {"one"}
                assert told == [0, 1]
                (finding,) = store.replicas.findings()
                assert finding.code == "replica_behind"
            await caught_up(store)
            with counted(store) as told:
                assert await titles(store) == {"one"}
            assert told == [1, 0]
            assert store.replicas.findings() == []


async def test_a_replica_that_is_killed_frozen_or_restarted_costs_no_read(new_postgres: MakeServer) -> None:
    server = new_postgres()
    with server.standby() as first, server.standby() as second:
        async with following(server, first, second) as store:
            await written(store, storing("one"))
            for _ in range(10):
                assert await titles(store, store.head) == {"one"}
            assert min(each.reads for each in store.replicas) > 0, "each in its turn"
            first.kill()
            second.freeze()
            try:
                started = time.monotonic()
                assert await titles(store) == {"one"}
                assert time.monotonic() - started < STORE_CALL_SECS + SLACK
                with counted(store) as told:
                    started = time.monotonic()
                    for _ in range(40):
                        assert await titles(store) == {"one"}
                    assert time.monotonic() - started < 20 * REPLICA_CALL_SECS, "nobody waits for it again"
                assert told[1] >= 39
            finally:
                second.thaw()
            await asyncio.to_thread(first.start)
            end = time.monotonic() + PATIENCE_SECS
            before = [each.reads for each in store.replicas]
            while not all(each.reads > was for each, was in zip(store.replicas, before, strict=True)):
                assert await titles(store) == {"one"}
                assert time.monotonic() < end, store.replicas.describe()
                await asyncio.sleep(0.05)


async def test_reads_go_on_without_the_primary_and_writes_are_refused_in_time(new_postgres: MakeServer) -> None:
    server = new_postgres()
    with server.standby() as standby:
        async with following(server, standby) as store:
            await written(store, storing("one"))
            end = time.monotonic() + PATIENCE_SECS
            while (await titles(store, store.head)) != {"one"} or not next(iter(store.replicas)).reads:
                assert time.monotonic() < end
            await asyncio.sleep(0)
            with paused(standby):
                await written(store, storing("lost"))
                held = store.head
                await asyncio.to_thread(server.kill)
                started = time.monotonic()
                with pytest.raises(StoreUnreachable):
                    await store.write([storing("never")])
                assert time.monotonic() - started < STORE_WRITE_SECS + SLACK
                with pytest.raises(StoreUnreachable):
                    await titles(store, held)  # who wrote that is not told that it was never written
                await asyncio.sleep(2 * BOUND)
                assert await titles(store) == {"one"}, "the bound is that of when the primary was last heard"
            await asyncio.to_thread(server.start)
            end = time.monotonic() + PATIENCE_SECS
            while (await titles(store, held)) != {"one", "lost"}:
                assert time.monotonic() < end


async def test_a_promoted_replica_answers_under_the_new_incarnation(new_postgres: MakeServer) -> None:
    server = new_postgres(fsync=True)
    with server.standby(synchronous=True) as standby:
        name = server.new_database()
        both = standby.url(name, role=ROLE).replace("@127.0.0.1", f"@127.0.0.1:{server.port},127.0.0.1")
        await asyncio.to_thread(standby.await_sql, f"select count(*) from pg_database where datname = '{name}'", 1)
        replicas = Replicas([read_target(both)], BOUND)
        await examine(read_target(both), replicas=replicas)
        store = await open_store(read_target(both), replicas=replicas)
        try:
            await caught_up(store)
            await written(store, storing("one"))
            end = time.monotonic() + PATIENCE_SECS
            while not any(each.reads for each in replicas):  # of the hosts that are named a standby is read
                assert await titles(store, store.head) == {"one"}
                assert time.monotonic() < end
            before = store.incarnation
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(standby.promote)
            await asyncio.to_thread(standby.set, "synchronous_standby_names", "")
            end = time.monotonic() + PATIENCE_SECS
            while True:
                try:
                    await written(store, storing("two"))
                    break
                except AimemError:
                    assert time.monotonic() < end
            assert store.incarnation != before
            assert await titles(store, store.head) == {"one", "two"}
            standby.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}'")
            await until(lambda: "replica_unreachable" in {finding.code for finding in replicas.findings()})
            assert await titles(store, store.head) == {"one", "two"}, "the primary has all"
        finally:
            await store.close()


async def test_what_is_no_replica_of_this_store_is_refused(postgres: PostgresServer, new_postgres: MakeServer) -> None:
    server = new_postgres()
    name = server.new_database()
    with server.standby() as standby:
        target, copy = (read_target(each.url(name, role=ROLE)) for each in (server, standby))
        elsewhere = read_target(postgres.url(postgres.new_database(), role=ROLE))
        for store, replica, words in (
            (elsewhere, copy, "another server"),
            (target, read_target(standby.url("with_vector", role=ROLE)), "the database with_vector"),
            (target, read_target(standby.url(name, role=ROLE).replace("staple", "wrong")), "does not let this role in"),
        ):
            with pytest.raises(Misconfigured, match=words) as refused:
                await examined(store, replica)
            assert refused.value.hint
        for replica, words in (
            (read_target("postgres://u@127.0.0.1:1/db"), "refused"),
            (target, "not in hot standby mode"),
        ):
            (finding,) = await examined(target, replica)
            assert finding.code == "replica_unreachable"
            assert words in finding.message
        assert await examined(target, copy) == []


async def examined(store: Target, replica: Target) -> list[Finding]:
    """What an examination finds about a replica."""
    replicas = Replicas([replica], BOUND)
    try:
        await examine(store, replicas=replicas)
        return replicas.findings()
    finally:
        await replicas.close()
