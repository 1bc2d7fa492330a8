"""The real Postgres of the tests does what the tests that use it rely on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from .postgres_programs import family_of, memory_of, state_of
from .postgres_server import PASSWORD, PostgresServer

_SEGMENTS = Path("/proc/sysvipc/shm")
MakeServer = Callable[..., PostgresServer]


def test_a_database_is_fresh_has_the_extension_and_is_owned_by_a_role_that_is_no_superuser(
    database: Callable[[], str],
) -> None:
    first, second = database(), database()
    assert first != second
    assert PASSWORD not in first
    with psycopg.connect(first) as connection:
        (version,) = connection.execute("select extversion from pg_extension where extname = 'vector'").fetchone() or ()
        assert tuple(map(int, version.split("."))) >= (0, 8, 4)
        connection.execute("create table kept (v halfvec(3))")
        assert connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (False,)
    with psycopg.connect(second) as connection:
        assert connection.execute("select to_regclass('kept')").fetchone() == (None,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(first.replace("staple", "wrong"))


def test_it_keeps_what_was_committed_through_kill_and_restart_and_waits_while_frozen(new_postgres: MakeServer) -> None:
    server = new_postgres(fsync=True)
    server.sql("create table kept (n int)")
    server.sql("insert into kept values (1)")
    memory = memory_of(family_of(server._first))
    assert {type(each) for each in memory} == {int, type(Path())}
    server.kill()
    assert not any(each.exists() for each in memory if isinstance(each, Path))
    assert not {int(line.split()[1]) for line in _SEGMENTS.read_text().splitlines()[1:]} & memory
    with pytest.raises(psycopg.OperationalError):
        server.sql("select 1")
    server.start()
    server.restart(max_connections="7")
    assert server.sql("select n, current_setting('max_connections') from kept") == [(1, "7")]
    server.freeze()
    with pytest.raises(psycopg.OperationalError, match="timeout"):
        psycopg.connect(server.url(), connect_timeout=2)
    server.thaw()
    assert server.sql("select n from kept") == [(1,)]


def test_one_that_went_with_the_thread_that_started_it_is_ended_and_started_again(new_postgres: MakeServer) -> None:
    server = new_postgres()
    server.stop()
    thread = Thread(target=server.start)
    thread.start()
    thread.join()
    server.await_true(lambda: state_of(server._first) == "Z", "it outlives its thread")
    server.kill()
    server.start()
    assert server.sql("select 1") == [(1,)]


def test_a_synchronous_standby_has_every_commit_and_becomes_primary(new_postgres: MakeServer) -> None:
    server = new_postgres()
    server.sql("create table kept (n int)")
    with server.standby(synchronous=True) as standby:
        server.sql("insert into kept values (1)")
        server.kill()
        standby.promote()
        assert standby.sql("insert into kept select n + 1 from kept returning n") == [(2,)]
