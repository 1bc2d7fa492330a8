"""The server is killed, frozen, restarted, replaced; connections are cut; an answer is lost; a node stops half-way:
nothing acknowledged is lost, nobody waits longer than the deadline, and all goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest

from aimem.core.kinds import MEMORY
from aimem.core.record import Ref
from aimem.errors import AimemError, Busy, StoreUnreachable
from aimem.store.base import Written
from aimem.store.postgres import writer
from aimem.store.postgres.schema import WRITING
from tests.postgres_server import ROLE, PostgresServer
from tests.store.conftest import feed, storing, written
from tests.store.shared import Node, all_hear, nodes
from tests.waiting import PATIENCE_SECS

pytestmark = pytest.mark.bad_luck

MakeServer = Callable[..., PostgresServer]


class Ledger:
    """Writers at every node, each with one write at a time, and the addresses of all that was acknowledged."""

    def __init__(self, found: Sequence[Node]) -> None:
        self.acknowledged: list[Ref] = []
        self.refused: list[StoreUnreachable | Busy] = []
        self._tasks = [
            asyncio.create_task(self._write(node, f"{at}-{of}")) for at, node in enumerate(found) for of in "ab"
        ]

    async def _write(self, node: Node, name: str) -> None:
        number = 0
        while True:
            number += 1
            try:
                (outcome,) = await node.store.write([storing(f"{name} {number}")])
            except (StoreUnreachable, Busy) as error:
                self.refused.append(error)
            else:
                assert isinstance(outcome, Written)
                self.acknowledged += [record.ref for record in outcome.records]

    async def more(self, number: int = 10) -> None:
        """Wait until so many more writes have been acknowledged."""
        enough, until = len(self.acknowledged) + number, time.monotonic() + PATIENCE_SECS
        while len(self.acknowledged) < enough:
            assert time.monotonic() < until, self.refused[-1:]
            await self._look()

    async def refusal(self) -> None:
        """Wait until a write has been refused."""
        async with asyncio.timeout(PATIENCE_SECS):
            while not self.refused:
                await self._look()

    async def _look(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.01)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def under_load(url: str, number: int = 2) -> AsyncIterator[tuple[list[Node], Ledger]]:
    """Nodes that write while the block runs; at its end all is there, told once, and sound."""
    async with nodes(url, number) as found:
        ledger = Ledger(found)
        try:
            await ledger.more()
            yield found, ledger
            await ledger.more()
        finally:
            await ledger.close()
        await asyncio.gather(*(node.store.hear() for node in found))
        await all_hear(found, max(node.store.head for node in found))
        for node in found:
            assert None not in await node.store.get(ledger.acknowledged)
            assert len(node.heard) == len({seq for seq, _ in node.heard}), "a change was told twice"
            assert {ref for _, ref in node.heard} == {record.ref for _, record in await feed(node.store)}
        assert len({node.store.digest.root() for node in found}) == 1
        assert await found[0].store.check() == []


def url_of(server: PostgresServer) -> str:
    return server.url(server.new_database(), role=ROLE)


@pytest.mark.parametrize("how", ["kill", "restart", "immediate"])
async def test_a_server_that_dies_under_load_loses_nothing_acknowledged(new_postgres: MakeServer, how: str) -> None:
    server = new_postgres(fsync=True)
    async with under_load(url_of(server)) as (_, ledger):
        for _ in range(2):
            if how == "kill":
                await asyncio.to_thread(server.kill)
            else:
                await asyncio.to_thread(server.stop, signal.SIGINT if how == "restart" else signal.SIGQUIT)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.start)
            await ledger.more()


async def test_a_frozen_server_is_a_503_in_time_and_goes_on_when_it_thaws(new_postgres: MakeServer) -> None:
    server = new_postgres(fsync=True)
    async with under_load(url_of(server)) as (found, ledger):
        server.freeze()
        try:
            with pytest.raises(AimemError) as refused:
                await found[0].store.get([Ref(MEMORY, "a")])
            assert refused.value.status == 503
            await ledger.refusal()  # while the server is frozen
        finally:
            server.thaw()
        await ledger.more()


async def test_backends_that_are_ended_under_load_are_replaced(
    new_postgres: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "STORE_WRITE_SECS", PATIENCE_SECS)
    server = new_postgres(fsync=True)
    async with under_load(url_of(server)) as (_, ledger):
        for _ in range(10):
            server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aimem'")
            await ledger.more(3)
        assert not ledger.refused, "each was tried again in time"


async def test_a_node_that_stops_while_it_writes_holds_others_up_for_seconds_only(new_postgres: MakeServer) -> None:
    server = new_postgres()
    url = url_of(server)
    async with nodes(url, 1) as (node,):
        stopped = await psycopg.AsyncConnection.connect(url)
        await written(node.store, storing("before"))
        await stopped.execute("SET idle_in_transaction_session_timeout = '2s'")  # as every group does
        await stopped.execute("SELECT pg_advisory_xact_lock(%s)", (WRITING,))
        await written(node.store, storing("after"))
        with pytest.raises(psycopg.Error):  # the server has ended its session
            await stopped.execute("SELECT 1")
        await stopped.close()


class Proxy:
    """Between a node and the server. With `swallow` set, the next COMMIT reaches the server and its answer nobody."""

    def __init__(self, port: int) -> None:
        self.swallow = False
        self.swallowed = 0
        self._port = port
        self._serving: set[asyncio.Task[None]] = set()

    async def listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def ended(self) -> None:
        """Wait until nobody is served any more."""
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        lost, group = asyncio.Event(), b""
        back = asyncio.create_task(self._pump(there_reader, writer, lost))
        try:
            while data := await reader.read(1 << 16):
                group += data
                if b"COMMIT" in data:
                    if self.swallow and b"UPDATE state" in group:
                        self.swallow = False
                        lost.set()
                    group = b""
                there_writer.write(data)
                await there_writer.drain()
        except OSError:
            pass
        finally:
            there_writer.close()
            await back
            writer.close()
            for each in (there_writer, writer):
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        try:
            while data := await reader.read(1 << 16):
                if lost.is_set():
                    self.swallowed += 1
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass


async def test_a_commit_whose_answer_is_lost_is_found_and_not_made_twice(database: Callable[[], str]) -> None:
    url = database()
    head, _, rest = url.partition("@127.0.0.1:")
    port, slash, path = rest.partition("/")
    proxy = Proxy(int(port))
    server = await proxy.listen()
    through = f"{head}@127.0.0.1:{server.sockets[0].getsockname()[1]}{slash}{path}"
    async with server, nodes(through, 1) as (node,):
        for number in range(4):
            proxy.swallow = True
            (memory,) = await written(node.store, storing(f"memory {number}"))
            assert (memory.created, node.store.head) == (True, number + 1), "written once, and told as it was"
            assert proxy.swallowed == number + 1
        assert [ref for _, ref in node.heard] == [record.ref for _, record in await feed(node.store)]
        assert await node.store.check() == []
    async with asyncio.timeout(PATIENCE_SECS):
        await proxy.ended()


async def test_a_promoted_standby_is_found_and_begins_a_new_incarnation(new_postgres: MakeServer) -> None:
    server = new_postgres(fsync=True)
    with server.standby(synchronous=True) as standby:
        name = server.new_database()
        head, _, rest = server.url(name, role=ROLE).partition("@")
        url = f"{head}@127.0.0.1:{server.port},127.0.0.1:{standby.port}/{name}?sslmode=disable"
        assert rest
        async with under_load(url) as (found, ledger):
            before = {node.store.incarnation for node in found}
            page = await found[0].store.changes(0, 5, 1 << 20)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(standby.promote)
            await ledger.more(20)
            async with asyncio.timeout(PATIENCE_SECS):  # one node may have written all of these before the other looked
                while not before.isdisjoint({node.store.incarnation for node in found}):
                    await asyncio.sleep(0.01)
            assert await found[0].store.resolve_cursor(page.cursor) == 5, "what both pasts have need not be read again"
        assert len(await _starts(url)) >= 3


async def _starts(url: str) -> list[tuple[str, int]]:
    async with nodes(url, 1) as (node,):
        return await node.store.starts()
