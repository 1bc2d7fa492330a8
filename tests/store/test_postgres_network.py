"""The network between a node and its store: late, cut, silent, or not to be trusted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import trustme

from aimem.errors import Misconfigured, StoreUnreachable
from aimem.store.postgres.connections import open_connections
from aimem.store.postgres.failures import DeadlinePassed
from aimem.store.postgres.url import read_target
from tests.fault_proxy import fault_proxy
from tests.postgres_server import PostgresServer

from .test_postgres_connections import BRIEF, NEVER, SLEEPING, ask, back, connected, fails_with

pytestmark = pytest.mark.bad_luck


def through(url: str, server: PostgresServer, port: int) -> str:
    return url.replace(f":{server.port}/", f":{port}/")


async def test_a_black_hole_costs_each_call_its_deadline(database: Callable[[], str], postgres: PostgresServer) -> None:
    with fault_proxy(postgres.port) as proxy:
        async with connected(through(database(), postgres, proxy.port)) as connections:
            await asyncio.gather(*(ask(connections) for _ in range(8)))
            proxy.black_hole = True
            results = await asyncio.gather(*(ask(connections, secs=BRIEF) for _ in range(20)), return_exceptions=True)
            assert {type(result) for result in results} == {StoreUnreachable}
            proxy.black_hole = False
            proxy.cut()
            await back(connections)  # one attempt to connect may still be in the hole


async def test_cut_and_refused_connections(database: Callable[[], str], postgres: PostgresServer) -> None:
    with fault_proxy(postgres.port) as proxy:
        async with connected(through(database(), postgres, proxy.port)) as connections:
            task = asyncio.create_task(ask(connections, NEVER))
            await asyncio.to_thread(postgres.await_sql, SLEEPING, 1)
            proxy.refuse = True
            proxy.cut()
            with pytest.raises(StoreUnreachable, match=r"^(?!.*no answer within)"):  # at once, not at the deadline
                await task
            await fails_with(connections, "closed the connection")
            proxy.refuse = False
            await back(connections)


async def test_a_slow_network_is_slow_and_works(database: Callable[[], str], postgres: PostgresServer) -> None:
    with fault_proxy(postgres.port) as proxy:
        async with connected(through(database(), postgres, proxy.port)) as connections:
            await ask(connections)
            proxy.delay = 0.1
            assert [await ask(connections) for _ in range(3)] == [1, 1, 1]


async def test_a_commit_whose_answer_is_lost_was_made_and_fails_here(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    with fault_proxy(postgres.port) as proxy:
        async with connected(through(database(), postgres, proxy.port)) as connections:
            async with connections.use() as connection:
                await connection.execute("create table kept (n int)")
            proxy.lose_answer_to(b"COMMIT")
            with pytest.raises(psycopg.OperationalError):
                async with connections.transaction() as connection:
                    await connection.execute("insert into kept values (1)")
            assert proxy.swallowed == 1
            await back(connections)
            assert await ask(connections, "select count(*) from kept") == 1


class Certificates:
    """A CA, and what it made out for one host."""

    def __init__(self, folder: Path, host: str) -> None:
        authority = trustme.CA()
        self.ca = folder / f"ca-{host}.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(self.context)


def unsaid(url: str, port: int) -> str:
    """The URL without `sslmode`, by a name that is not known to be this machine."""
    return url.partition("?")[0].replace("127.0.0.1", "db.example").replace(url.split(":")[3].split("/")[0], str(port))


async def test_off_this_machine_the_certificate_is_verified(
    database: Callable[[], str], postgres: PostgresServer, tmp_path: Path
) -> None:
    url, right, wrong = database(), Certificates(tmp_path, "db.example"), Certificates(tmp_path, "else.example")
    address = "?hostaddr=127.0.0.1"  # what the name leads to, without a resolver
    with fault_proxy(postgres.port, right.context) as proxy, fault_proxy(postgres.port, wrong.context) as other:

        async def answer(port: int, more: str = "", **config: str | None) -> object:
            target = read_target(unsaid(url, port) + address + more, env={}, **config)  # type: ignore[arg-type]
            connections = await open_connections(target)
            try:
                return await ask(connections)
            finally:
                await connections.close()

        assert await answer(proxy.port, ca_cert=str(right.ca), sslmode="verify-full") == 1
        with pytest.raises(Misconfigured, match="certificate verify failed"):
            await answer(proxy.port, ca_cert=str(wrong.ca), sslmode="verify-full")
        with pytest.raises(Misconfigured, match="does not match host name"):
            await answer(other.port, ca_cert=str(wrong.ca), sslmode="verify-full")
        assert await answer(other.port, "&sslmode=require") == 1  # encrypted, said not to be verified
        assert await answer(other.port, "&sslmode=disable") == 1


async def test_a_server_without_tls_off_this_machine_is_refused_with_the_line_to_write(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    url = unsaid(database(), postgres.port)
    target = read_target(url, env={})
    assert (target.assumed, target.settings["sslmode"]) == (True, "verify-full")
    resolved = replace(target, settings={**target.settings, "hostaddr": "127.0.0.1"})  # as a resolver would
    with pytest.raises(Misconfigured) as caught:
        await open_connections(resolved)
    assert "does not support SSL" in caught.value.message
    assert f"{target.shown}?sslmode=require" in (caught.value.hint or "")


async def test_a_deadline_is_told_as_one(database: Callable[[], str]) -> None:
    async with connected(database()) as connections:
        await ask(connections)  # so that a connection is free
        with pytest.raises(DeadlinePassed):
            async with connections.use(BRIEF) as connection:
                await connection.execute(NEVER.encode())
