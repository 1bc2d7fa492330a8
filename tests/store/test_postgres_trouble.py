"""Bad luck of a server while callers write: nothing that was acknowledged is lost, nothing is done twice, every call
ends in time with a reason, and writing resumes without a restart."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from aimem.core.kinds import MEMORY
from aimem.errors import AimemError, Busy, DiskFull, StoreUnreachable
from aimem.limits import STORE_WRITE_SECS
from aimem.store.base import Written
from aimem.store.postgres.store import PostgresStore
from tests.fault_proxy import fault_proxy
from tests.postgres_server import ROLE, PostgresServer, name_of
from tests.waiting import PATIENCE_SECS

from .conftest import Disk, creating
from .shared import opened

pytestmark = pytest.mark.bad_luck

MakeServer = Callable[..., PostgresServer]
LATEST = 2 * STORE_WRITE_SECS + PATIENCE_SECS  # a write may wait for the group before it, then for itself


class Load:
    """Callers that create memories, one after the other, and note what came of each."""

    def __init__(self, store: PostgresStore, callers: int = 8) -> None:
        self.acknowledged: list[str] = []
        self.errors: list[AimemError] = []
        self.slowest = 0.0
        self._store = store
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(callers)]

    async def _call(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            title, started = f"{number}-{count}", time.monotonic()
            count += 1
            try:
                (outcome,) = await self._store.write([creating(title)])
                if isinstance(outcome, Written):
                    self.acknowledged.append(title)
                else:
                    self.errors.append(outcome)
            except AimemError as error:
                self.errors.append(error)
            self.slowest = max(self.slowest, time.monotonic() - started)

    async def more(self, count: int = 20, secs: float = PATIENCE_SECS) -> None:
        """Wait until so many more are acknowledged."""
        goal, until = len(self.acknowledged) + count, time.monotonic() + secs
        while len(self.acknowledged) < goal:
            assert time.monotonic() < until, self.errors[-1:]
            await asyncio.sleep(0.02)

    async def refusal(self) -> None:
        """Wait until a write is refused."""
        before = len(self.errors)
        async with asyncio.timeout(PATIENCE_SECS):
            while len(self.errors) == before:
                await asyncio.sleep(0.02)

    async def __aenter__(self) -> Load:
        return self

    async def __aexit__(self, *error: object) -> None:
        """The callers end before their store is closed, which would answer them without ever giving way."""
        self._stop.set()
        await asyncio.gather(*self._tasks)


async def suffer(store: PostgresStore, trouble: Callable[[Load], Awaitable[None]]) -> None:
    """Write, suffer, write on; then what was acknowledged is there, once."""
    async with Load(store) as load:
        await load.more()
        await trouble(load)
        await load.more()
    assert load.slowest < LATEST
    assert {type(error) for error in load.errors} <= {StoreUnreachable, Busy}
    await nothing_is_lost(store, load)


async def nothing_is_lost(store: PostgresStore, load: Load) -> None:
    page = await store.changes(0, 1_000_000, 1 << 40, (MEMORY,))
    titles = [record.body["title"] for _, record in page.changes]
    assert len(titles) == len(set(titles))
    assert set(load.acknowledged) <= set(titles)
    assert store.visible == len(titles)


def own_store(new_postgres: MakeServer, **settings: str) -> tuple[PostgresServer, str]:
    server = new_postgres(fsync=True, **settings)
    return server, server.url(server.new_database(), role=ROLE)


async def test_killed(new_postgres: MakeServer) -> None:
    server, url = own_store(new_postgres)

    async def trouble(load: Load) -> None:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)

    async with opened(url) as store:
        await suffer(store, trouble)


async def test_restarted_and_shut_down_at_once(new_postgres: MakeServer) -> None:
    import signal

    server, url = own_store(new_postgres)

    async def trouble(load: Load) -> None:
        await asyncio.to_thread(server.restart)
        await asyncio.to_thread(server.restart, signal.SIGQUIT)

    async with opened(url) as store:
        await suffer(store, trouble)


async def test_frozen_for_longer_than_a_write_may_take(new_postgres: MakeServer) -> None:
    server, url = own_store(new_postgres)

    async def trouble(load: Load) -> None:
        server.freeze()
        try:
            await load.refusal()
        finally:
            server.thaw()

    async with opened(url) as store:
        await suffer(store, trouble)


async def test_backends_terminated_again_and_again(new_postgres: MakeServer) -> None:
    server, url = own_store(new_postgres)

    async def trouble(load: Load) -> None:
        for _ in range(5):
            server.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}'")
            await asyncio.sleep(0.2)

    async with opened(url) as store:
        await suffer(store, trouble)


async def test_read_only_and_out_of_connections(new_postgres: MakeServer) -> None:
    server, url = own_store(new_postgres)
    name = name_of(url)
    ends = f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}'"

    async def trouble(load: Load) -> None:
        for off, on in (
            (f"alter database {name} set default_transaction_read_only = on",
             f"alter database {name} reset default_transaction_read_only"),
            (f"alter role {ROLE} connection limit 0", f"alter role {ROLE} connection limit -1"),
        ):  # fmt: skip
            server.sql(off)
            server.sql(ends)
            await asyncio.sleep(1)
            server.sql(on)
            await asyncio.sleep(1)

    async with opened(url) as store:
        await suffer(store, trouble)


async def test_cut_black_holed_and_slow(new_postgres: MakeServer) -> None:
    server, url = own_store(new_postgres)
    with fault_proxy(server.port) as proxy:

        async def trouble(load: Load) -> None:
            for _ in range(5):
                proxy.cut()
                await asyncio.sleep(0.1)
            proxy.black_hole = True
            await asyncio.sleep(2)
            proxy.black_hole = False
            proxy.cut()
            proxy.delay = 0.05
            await asyncio.sleep(1)
            proxy.delay = 0.0

        async with opened(url.replace(f":{server.port}/", f":{proxy.port}/")) as store:
            await suffer(store, trouble)


async def test_a_commit_whose_answer_is_lost_is_acknowledged_and_made_once(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    url = database()
    with fault_proxy(postgres.port) as proxy:
        async with opened(url.replace(f":{postgres.port}/", f":{proxy.port}/")) as store:
            await store.write([creating("before")])
            for number in range(3):
                proxy.lose_answer_to(b"COMMIT")
                (outcome,) = await store.write([creating(f"lost {number}")])
                assert isinstance(outcome, Written)
            assert proxy.swallowed == 3
            page = await store.changes(0, 100, 1 << 20, (MEMORY,))
            assert len(page.changes) == 4 == store.visible


async def test_failover_to_a_synchronous_standby(new_postgres: MakeServer) -> None:
    server, url = own_store(new_postgres)
    with server.standby(synchronous=True) as standby:
        both = url.replace(f"127.0.0.1:{server.port}", f"127.0.0.1:{server.port},127.0.0.1:{standby.port}")
        async with opened(both) as store:
            incarnation = store.incarnation

            async def trouble(load: Load) -> None:
                await asyncio.to_thread(server.kill)
                standby.settings["synchronous_standby_names"] = ""
                await asyncio.to_thread(standby.promote)
                await asyncio.to_thread(standby.set, "synchronous_standby_names", "")

            await suffer(store, trouble)
            assert store.incarnation != incarnation  # another timeline: cursors of the old one are not to be trusted


async def test_a_stopped_session_that_holds_the_writers_lock(database: Callable[[], str]) -> None:
    """As of a node that was stopped amid a write: others wait for as long as the server lets it, and then write."""
    url = database()
    async with opened(url) as store, opened(url) as other:
        await store.write([creating("before")])
        holder = await other.connections.alone()
        try:
            await holder.execute("BEGIN")
            await holder.execute("SELECT pg_advisory_xact_lock(%s)", (0x61696D650002,))
            started = time.monotonic()
            try:
                await store.write([creating("meanwhile")])
            except (StoreUnreachable, Busy):
                assert time.monotonic() - started < LATEST
        finally:
            holder.pgconn.finish()
        (outcome,) = await store.write([creating("after")])
        assert isinstance(outcome, Written)


@contextmanager
def small_disk(server: PostgresServer, size: str) -> Iterator[Disk]:
    """A file system of its own that the server may write to; it has to have left it at the end."""
    place = server.folder / "small"
    place.mkdir()
    owner = f"uid={server.folder.stat().st_uid},gid={server.folder.stat().st_gid},mode=700"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},{owner}", "aimem-test", place], check=False)
    if made.returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield Disk(place)
    finally:
        server.kill()
        subprocess.run(["umount", place], check=True)


async def test_a_full_disk_is_told_and_over_when_there_is_room(new_postgres: MakeServer) -> None:
    server = new_postgres()
    with small_disk(server, "24m") as disk:
        server.sql(f"create tablespace small location '{disk.path}'")
        server.sql(f"create database full_disk owner {ROLE} template with_vector tablespace small strategy file_copy")
        async with opened(server.url("full_disk", role=ROLE)) as store:
            written = 0
            while isinstance(outcome := await _one(store, f"{written}", os.urandom(24_000).hex()), Written):
                written += 1
                assert written < 5_000
            assert isinstance(outcome, DiskFull)
            assert len((await store.changes(0, 10_000, 1 << 30, (MEMORY,))).changes) == written  # reads go on
            disk.resize("64m")
            assert isinstance(await _one(store, "room again", "x"), Written)


async def _one(store: PostgresStore, title: str, content: str) -> object:
    """What came of one write, refusals as values."""
    try:
        return (await store.write([creating(title, content=content)]))[0]
    except AimemError as error:
        return error
