"""When the disk fails the SQLite store: no room, a write error, a log that must not grow, readers beside the writer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aimem.core.intent import Decision, Plan, Stamp
from aimem.errors import DiskFull, Invalid, StorageFailed
from aimem.limits import WAL_BYTES_MAX
from aimem.store.base import Filter, Words, Written
from aimem.store.sqlite import writer as writer_module
from aimem.store.sqlite.store import SqliteStore, open_sqlite
from tests.store.conftest import Disk, storing
from tests.waiting import PATIENCE_SECS, until


async def titles(store: SqliteStore) -> set[str]:
    return {memory.record.body["title"] for memory in await store.select(Filter(time.time_ns()), 100_000, 0)}


async def test_on_a_full_disk_writes_are_refused_whole_reads_go_on_and_room_heals(small_disk: Disk) -> None:
    store = await open_sqlite(small_disk.path / "a.db")
    kept: set[str] = set()

    async def fill() -> None:
        for number in range(10_000):
            await store.write([storing(f"note {number}", content="x" * 8_000)])
            kept.add(f"note {number}")

    with pytest.raises(DiskFull, match="no room"):
        await fill()
    assert kept
    assert await titles(store) == kept
    digest = store.digest.root()
    with pytest.raises(DiskFull):
        await store.write([storing(f"more {number}", content="y" * 8_000) for number in range(100)])
    assert await titles(store) == kept
    assert store.digest.root() == digest
    small_disk.resize("40m")
    await store.write([storing("after")])
    assert await titles(store) == kept | {"after"}
    assert await store.check() == []
    await store.close()


class Failing:
    """A connection that fails one kind of statement as a broken disk would."""

    def __init__(self, real: sqlite3.Connection, on: str) -> None:
        self._real = real
        self._on = on
        self._loop = asyncio.get_running_loop()
        self.armed = False

    def execute(self, statement: str, *arguments: Any) -> Any:
        if self.armed and statement.startswith(self._on):
            # A slow disk: whoever was answered too early has heard by now.
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), self._loop).result()
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._real.execute(statement, *arguments)

    def close(self) -> None:
        self._real.close()


@pytest.mark.parametrize(
    ("statement", "beside"), [("COMMIT", False), ("PRAGMA wal_checkpoint", True), ("PRAGMA wal_checkpoint", False)]
)
async def test_an_io_error_ends_all_acknowledgements_until_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, beside: bool
) -> None:
    store = await open_sqlite(tmp_path / "a.db")
    owner: Any = store._writer._checkpointer if beside else store._writer
    disk = Failing(owner._connection, statement)
    owner._connection = disk
    kept = set()
    if statement == "COMMIT":
        await store.write([storing("before")])
        kept.add("before")
        disk.armed = True
        with pytest.raises(StorageFailed):
            await store.write([storing("lost")])
    else:
        monkeypatch.setattr(writer_module, "_CHECKPOINT_RECORDS", 1)
        monkeypatch.setattr(writer_module, "_REST_RECORDS", 0 if beside else 1)
        disk.armed = True
        await store.write([storing("durable before the checkpoint failed")])
        kept.add("durable before the checkpoint failed")
        await until(lambda: store._writer.failed is not None)
    with pytest.raises(StorageFailed, match="failed"):
        await store.write([storing("never")])
    disk.armed = False
    assert await titles(store) == kept
    await store.close()
    again = await open_sqlite(tmp_path / "a.db")
    await again.write([storing("after the restart")])
    assert await titles(again) == kept | {"after the restart"}
    assert await again.check() == []
    await again.close()


async def test_an_intent_that_breaks_takes_nobody_elses_write_with_it(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "a.db")

    def broken(stamp: Stamp) -> Plan:
        yield from ()
        raise ZeroDivisionError

    def refused(stamp: Stamp) -> Plan:
        yield from ()
        raise Invalid("no")

    results = await asyncio.gather(
        *(store.write([storing(f"note {number}")]) for number in range(20)),
        store.write([broken]),
        store.write([refused, storing("beside a refusal")]),
        return_exceptions=True,
    )
    assert isinstance(results[20], StorageFailed)
    refusal, written = results[21]  # type: ignore[misc]
    assert isinstance(refusal, Invalid)
    assert isinstance(written, Written)
    assert await titles(store) == {f"note {number}" for number in range(20)} | {"beside a refusal"}
    assert await store.check() == []
    await store.close()


async def test_a_listener_that_fails_keeps_nobody_waiting(tmp_path: Path) -> None:
    heard = []

    def broken(changes: object) -> None:
        raise RuntimeError("a bug")

    store = await open_sqlite(tmp_path / "a.db")
    store.subscribe(broken)
    store.subscribe(lambda changes: heard.append(len(changes)))
    async with asyncio.timeout(PATIENCE_SECS):
        (outcome,) = await store.write([storing("A")])
    assert isinstance(outcome, Written)
    assert (heard, store.visible) == ([1], 1)
    await store.close()


async def test_the_log_stays_bounded_though_readers_hold_on_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = await open_sqlite(path)
    done = asyncio.Event()

    async def read_on() -> None:
        while not done.is_set():
            await store.match(Words((("says",),)), Filter(time.time_ns()), 50)

    reading = [asyncio.create_task(read_on()) for _ in range(4)]
    largest = 0
    for start in range(0, 12_000, 400):
        await store.write(
            [storing(f"note {number}", content=f"{number} says " * 60) for number in range(start, start + 400)]
        )
        largest = max(largest, Path(f"{path}-wal").stat().st_size)
    done.set()
    await asyncio.gather(*reading)
    await store.close()
    assert largest < 2 * WAL_BYTES_MAX
    assert not Path(f"{path}-wal").exists() or Path(f"{path}-wal").stat().st_size == 0


async def test_a_read_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "a.db")
    await store.write([storing("there")])
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(stamp: Stamp) -> Plan:
        yield from ()
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()
        return Decision(())

    writing = asyncio.create_task(store.write([slow]))
    await entered.wait()
    assert await titles(store) == {"there"}
    leave.set()
    await writing
    await store.close()


async def test_writes_go_on_while_the_log_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_CHECKPOINT_RECORDS", 1)
    monkeypatch.setattr(writer_module, "_REST_RECORDS", 0)
    store = await open_sqlite(tmp_path / "a.db")
    entered, leave = threading.Event(), threading.Event()
    checkpointer = store._writer._checkpointer
    run = checkpointer._run

    def slow() -> None:
        entered.set()
        assert leave.wait(PATIENCE_SECS)
        run()

    monkeypatch.setattr(checkpointer, "_run", slow)
    await store.write([storing("begins a checkpoint")])
    assert await asyncio.to_thread(entered.wait, PATIENCE_SECS)
    try:
        async with asyncio.timeout(PATIENCE_SECS / 2):
            await store.write([storing("written beside it")])
    finally:
        leave.set()
    await store.close()
    again = await open_sqlite(tmp_path / "a.db")
    assert await titles(again) == {"begins a checkpoint", "written beside it"}
    await again.close()
