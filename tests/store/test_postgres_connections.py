"""Connections to a server that is killed, frozen, restarted and failed over: nobody waits longer than they said, and
the pool is back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import psycopg_pool.pool_async
import pytest

from aimem.errors import AimemError, Misconfigured, StoreUnreachable
from aimem.store.postgres.connections import Connections, Session, open_connections, within
from aimem.store.postgres.failures import Action, DeadlinePassed, action, what_to_look_at
from aimem.store.postgres.url import read_target
from tests.postgres_server import PASSWORD, ROLE, PostgresServer
from tests.waiting import PATIENCE_SECS

pytestmark = pytest.mark.bad_luck

MakeServer = Callable[..., PostgresServer]
BRIEF = 1.0  # seconds that a call may take which is to fail, or is repeated
LATE = 9.0  # seconds that a busy machine may be late with the end of a call: psycopg's own way takes ten more


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connections]:
    connections = await open_connections(read_target(url))
    try:
        yield connections
    finally:
        await connections.close()


async def ask(connections: Connections, statement: str = "select 1", secs: float = PATIENCE_SECS) -> object:
    """The first field; what fails is told as callers see it, and within the time that was given."""
    started = time.monotonic()
    try:
        async with connections.use(secs) as connection:
            row = await (await connection.execute(statement.encode())).fetchone()
            return row[0] if row else None
    except (psycopg.Error, DeadlinePassed) as error:
        told = connections.told(error)
        assert PASSWORD not in str(told.body())
        raise told from error
    finally:
        assert time.monotonic() - started < secs + LATE


async def back(connections: Connections) -> None:
    """The server answers again: calls work by themselves."""
    until = time.monotonic() + PATIENCE_SECS
    while True:
        try:
            await ask(connections, secs=BRIEF)
            break
        except StoreUnreachable:
            assert time.monotonic() < until
            await asyncio.sleep(0.02)
    assert [await ask(connections) for _ in range(20)] == [1] * 20  # no broken one is left behind


async def fails_with(connections: Connections, words: str, cut: Callable[[], object] = lambda: None) -> None:
    """Calls fail, and then say this: the first may still meet a connection from before. `cut` ends those that are
    there: one that is being opened is not among them at first."""
    until, told = time.monotonic() + PATIENCE_SECS, "none failed"
    while words not in told:
        cut()
        try:
            await ask(connections, secs=BRIEF)
        except StoreUnreachable as error:
            told = error.message
        assert time.monotonic() < until, told


NEVER = "set statement_timeout = 0; select pg_sleep(600)"
SLEEPING = f"select count(*) from pg_stat_activity where query = '{NEVER}'"


async def test_a_call_past_its_deadline_is_dropped_here_and_ended_there(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    async with connected(database()) as connections:
        with pytest.raises(StoreUnreachable, match=r"no answer within 0\.3 s"):
            await ask(connections, NEVER, secs=0.3)
        await asyncio.to_thread(postgres.await_sql, SLEEPING, 0)


async def test_a_caller_that_goes_away_takes_its_connection_with_it(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    async with connected(database()) as connections:
        tasks = [asyncio.create_task(ask(connections, NEVER)) for _ in range(8)]
        await asyncio.to_thread(postgres.await_sql, SLEEPING, 8)
        started = time.monotonic()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert time.monotonic() - started < LATE
        await back(connections)


async def test_a_caller_that_goes_away_as_its_connection_comes_has_gone(
    database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool forgets a cancellation of that instant: whoever was to end, or to be late, then goes on for ever."""
    connections = await open_connections(read_target(database()), most=1)
    waiting, give = psycopg_pool.pool_async.WaitingClient, psycopg_pool.pool_async.WaitingClient.set

    async def forever() -> None:
        async with connections.use(PATIENCE_SECS):
            await asyncio.Event().wait()

    for turns in range(6):  # of the loop between the connection and the cancellation
        async with connections.use(PATIENCE_SECS):
            task = asyncio.create_task(forever())
            while not connections._pool._waiting:
                await asyncio.sleep(0)

            async def giving(self: Any, conn: Any, task: asyncio.Task[None] = task, turns: int = turns) -> bool:
                given = await give(self, conn)
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                return given

            monkeypatch.setattr(waiting, "set", giving)
        await asyncio.wait({task}, timeout=PATIENCE_SECS)
        monkeypatch.setattr(waiting, "set", give)
        assert task.cancelled(), turns
    await connections.close()


async def test_killed_and_restarted_servers_are_found_again(new_postgres: MakeServer) -> None:
    server = new_postgres()
    async with connected(server.url(server.new_database(), role=ROLE)) as connections:
        await asyncio.to_thread(server.kill)
        await fails_with(connections, "refused")  # and not just that it took too long
        await asyncio.to_thread(server.start)
        await back(connections)
        await asyncio.to_thread(server.restart)
        await back(connections)


async def test_a_frozen_server_costs_each_call_its_deadline_and_no_more(new_postgres: MakeServer) -> None:
    server = new_postgres()
    async with connected(server.url(server.new_database(), role=ROLE)) as connections:
        await asyncio.gather(*(ask(connections, "select pg_sleep(0.1)") for _ in range(8)))
        server.freeze()
        results = await asyncio.gather(*(ask(connections, secs=BRIEF) for _ in range(20)), return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnreachable}
        server.thaw()
        await back(connections)


async def test_terminated_backends_and_a_server_out_of_connections(new_postgres: MakeServer) -> None:
    server = new_postgres(max_connections="8", max_wal_senders="0", wal_level="replica")
    name = server.new_database()
    async with connected(server.url(name, role=ROLE)) as connections:
        await ask(connections)
        server.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}'")
        await back(connections)
        server.sql(f"alter role {ROLE} connection limit 2")
        results = await asyncio.gather(*(ask(connections, "select pg_sleep(0.05)") for _ in range(20)))
        assert len(results) == 20  # two connections are enough to serve all in turn
        server.sql(f"alter role {ROLE} connection limit 0")
        server.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}'")
        await fails_with(connections, "too many connections")
        server.sql(f"alter role {ROLE} connection limit -1")
        await back(connections)


async def test_a_promoted_standby_is_found_among_the_hosts_of_the_url(new_postgres: MakeServer) -> None:
    server = new_postgres()
    name = server.new_database()
    with server.standby() as standby:
        hosts = f"127.0.0.1:{server.port},127.0.0.1:{standby.port}"
        url = server.url(name, role=ROLE).replace(f"127.0.0.1:{server.port}", hosts)
        with pytest.raises(AimemError, match="read-only"):
            await open_connections(read_target(standby.url(name, role=ROLE)))
        async with connected(url) as connections:
            assert await ask(connections, "select inet_server_port()") == server.port
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(standby.promote)
            await back(connections)
            assert await ask(connections, "select inet_server_port()") == standby.port


async def test_a_changed_password_is_read_anew(new_postgres: MakeServer) -> None:
    server = new_postgres()
    url = server.url(server.new_database(), role=ROLE)
    file = server.folder / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    connections = await open_connections(
        read_target(url.replace(url.split(":")[2].split("@")[0], ""), password_file=file)
    )
    try:
        await back(connections)
        server.sql(f"alter role {ROLE} password 'another'")
        assert await ask(connections) == 1  # who is in stays in
        ending = f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}'"
        await fails_with(connections, "password authentication failed", lambda: server.sql(ending))
        file.write_text("another\n")
        await back(connections)
    finally:
        await connections.close()


async def test_what_only_an_operator_can_mend_is_told_at_start(database: Callable[[], str]) -> None:
    url = database()
    for wrong, words in (
        (url.replace("staple", "wrong"), "does not let this role in"),
        (url.replace("/test_", "/missing_"), "does not exist"),
    ):
        with pytest.raises(Misconfigured, match=words) as caught:
            await open_connections(read_target(wrong))
        assert caught.value.hint
        assert "horse" not in str(caught.value.body())
    with pytest.raises(StoreUnreachable):
        await open_connections(read_target("postgres://u@127.0.0.1:1/db"))


async def test_closing_ends_while_idle_connections_are_looked_at(new_postgres: MakeServer) -> None:
    server = new_postgres()
    connections = await open_connections(read_target(server.url(server.new_database(), role=ROLE)))
    await back(connections)
    checked, look = asyncio.Event(), connections._pool.check_connection

    async def looking(conn: Session) -> None:
        server.freeze()  # before it is asked: the question hangs
        checked.set()
        await look(conn)

    connections._pool.check_connection = looking  # type: ignore[method-assign]
    until = time.monotonic() + PATIENCE_SECS
    while not checked.is_set():  # as it comes, no connection may be idle yet when it looks
        assert time.monotonic() < until
        connections.noticed(psycopg.OperationalError("as if"))
        await asyncio.sleep(0.1)
    try:
        await asyncio.wait_for(connections.close(), PATIENCE_SECS)
    finally:
        server.thaw()


async def test_a_time_out_of_ones_own_is_not_taken_for_the_deadline() -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with within(5):
            raise TimeoutError("mine")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (psycopg.errors.AdminShutdown, Action.RECONNECT),
        (psycopg.errors.TooManyConnections, Action.RECONNECT),
        (psycopg.errors.ReadOnlySqlTransaction, Action.RECONNECT),
        (psycopg.OperationalError, Action.RECONNECT),
        (psycopg.errors.SerializationFailure, Action.RETRY),
        (psycopg.errors.DeadlockDetected, Action.RETRY),
        (psycopg.errors.LockNotAvailable, Action.RETRY),
        (psycopg.errors.InvalidSqlStatementName, Action.PREPARE_ANEW),
        (psycopg.errors.QueryCanceled, Action.FAIL),
        (psycopg.errors.UniqueViolation, Action.FAIL),
        (psycopg.errors.DiskFull, Action.FAIL),
        (ValueError, Action.FAIL),
    ],
)
def test_what_helps_against_an_error(error: type[Exception], what: Action) -> None:
    assert action(error()) is what


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ('connection to server at "127.0.0.1", port 5432 failed: Connection refused', "runs at 127.0.0.1:5432"),
        ('connection to server at "pg" (::1), port 7 failed: timeout expired', "the host is up at pg:7"),
        ('connection to server on socket "/run/x/.s.PGSQL.5432" failed: No such file', "pg_isready -h /run/x tells"),
        ('connection to server at "h", port 7 failed: FATAL: sorry, too many clients already', "max_connections"),
        ('connection to server at "h", port 7 failed: FATAL: password authentication failed', "read anew"),
        ('connection to server at "h", port 7 failed: FATAL: the database system is starting up', "wait until"),
        ('connection to server at "h", port 7 failed: session is read-only', "name the primary"),
        ("failed to resolve host 'pg'", "getent hosts"),
        ("no answer within 5 s", "the host is up, and no firewall"),
        ('connection to server at "h", port 7 failed: server closed the connection', "the log of the server at h:7"),
    ],
)
def test_what_to_look_at_is_said(reason: str, hint: str) -> None:
    assert hint in what_to_look_at(reason)
