"""Nodes that read from a hot standby, as processes: what their callers find, and what they say when a server goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aimem.limits import STORE_WRITE_SECS
from tests.postgres_server import QUOTED_PASSWORD, ROLE, PostgresServer
from tests.waiting import eventually

from .processes import call, failed, serving

pytestmark = pytest.mark.bad_luck

SLACK = 30.0  # seconds by which a busy machine may be late
MakeServer = Callable[..., PostgresServer]


@contextmanager
def paused(standby: PostgresServer) -> Iterator[None]:
    """The standby shows nothing new inside."""
    standby.sql("select pg_wal_replay_pause()")
    standby.await_sql("select pg_get_wal_replay_pause_state()", "paused")
    yield
    standby.sql("select pg_wal_replay_resume()")


def replica(port: int) -> dict[str, Any]:
    (found,) = call(port, "GET", "/status").json()["shared_store"]["replicas"]
    return dict(found)


def await_reading(port: int) -> None:
    """Wait until the node reads from its replica."""
    before = replica(port)["reads"]
    eventually(lambda: call(port, "GET", "/memories").status == 200 and replica(port)["reads"] > before)


def store(port: int, title: str) -> dict[str, str]:
    """The header of a read that is to find this."""
    reply = call(port, "POST", "/memories", {"title": title, "content": "x"})
    assert reply.status == 201
    return {"Aimem-Position": reply.headers["aimem-position"]}


def titles(port: int, headers: dict[str, str] | None = None) -> set[str]:
    reply = call(port, "GET", "/memories", headers=headers)
    assert reply.status == 200, reply.body
    return {memory["title"] for memory in reply.json()["memories"]}


def test_callers_find_their_own_writes_wherever_they_read(new_postgres: MakeServer, tmp_path: Path) -> None:
    server = new_postgres()
    name = server.new_database()
    with server.standby() as standby:
        config = tmp_path / "aimem.toml"
        config.write_text(f'store_read_url = ["{standby.url(name, role=ROLE)}"]\nstore_read_lag_secs = 300\n')
        flags = ("--store-url", server.url(name, role=ROLE), "--config", str(config))
        with serving(*flags) as (_, one), serving(*flags) as (_, other):
            store(one, "before")
            await_reading(one)
            await_reading(other)
            with paused(standby):
                position = store(one, "new")
                assert titles(one) == {"before", "new"}, "who wrote is known at the same node"
                assert titles(other) == {"before"}, "and a stranger elsewhere may be told what is a little old"
                assert titles(other, position) == {"before", "new"}
                assert call(other, "GET", "/search?q=new", headers=position).json()["count"] == 1
                assert call(other, "GET", "/recall?context=new", headers=position).json()["count"] == 1
                assert call(other, "GET", "/memories", headers={"Aimem-Position": "x"}).status == 400
                page = call(one, "GET", "/metrics").body.decode()
                assert "aimem_store_replica_up{" in page
                assert 'aimem_store_reads_total{from="primary"}' in page

                server.kill()
                assert titles(other) == {"before"}
                assert call(other, "GET", "/recall?context=before").json()["count"] == 1
                started = time.monotonic()
                refused = call(other, "POST", "/memories", {"title": "never", "content": "x"})
                assert time.monotonic() - started < 2 * STORE_WRITE_SECS + SLACK
                assert (refused.status, refused.json()["code"]) == (503, "store_unreachable")
                assert "refused" in refused.json()["error"]
                assert call(other, "GET", "/memories", headers=position).status == 503, "this it would have to make up"
                health = call(other, "GET", "/health").json()
                assert (health["ready"], health["degraded"]) == (False, ["store_unreachable"])
            server.start()
            eventually(lambda: call(other, "POST", "/memories", {"title": "after", "content": "x"}).status == 201)
            assert titles(other) == {"before", "new", "after"}

            standby.kill()
            assert titles(other) == {"before", "new", "after"}
            eventually(lambda: call(other, "GET", "/health").json()["degraded"] == ["replica_unreachable"])
            assert titles(other) == {"before", "new", "after"}
            assert "refused" in replica(other)["why"]
            assert QUOTED_PASSWORD not in str(replica(other))


def test_what_is_said_of_replicas_at_start(new_postgres: MakeServer) -> None:
    server = new_postgres()
    name = server.new_database()
    away = "postgres://u:secret@127.0.0.1:1/d"
    with server.standby() as standby:
        for flags, code, words in (
            (("--store-read-url", standby.url(name, role=ROLE)), 0, "is no store yet"),
            (("--store-read-url", away), 0, "the replica postgres://u:***@127.0.0.1:1/d can't be reached"),
            (("--store-read-url", standby.url("with_vector", role=ROLE)), 78, "is no replica of the store"),
            (("--store-read-url", "postgres://u@pg-2.example/d?sslmode=require"), 0, "is not verified"),
            (("--store-read-url", "mysql://u@127.0.0.1/d"), 78, "write it as postgres://"),
        ):
            got, said = failed("--store-url", server.url(name, role=ROLE), *flags, "--check")
            assert got == code, said
            assert words in said
            assert "secret" not in said
    code, said = failed("--store-read-url", away)
    assert (code, "store_read_url needs store_url" in said) == (78, True)
