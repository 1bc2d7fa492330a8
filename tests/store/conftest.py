"""Stores of every sort, opened with a clock and ids that the test sets: what the contract suite runs against. And the
disk that runs full."""

from __future__ import annotations

import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from aimem.core import writes
from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import MEMORY
from aimem.core.memory import clean_create
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.errors import AimemError, NotFound
from aimem.store.base import Filter, Store, Written
from aimem.store.memory.store import MemoryStore
from aimem.store.postgres.opening import open_store as open_postgres
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.url import read_target
from aimem.store.sqlite.store import open_sqlite

SECOND = 10**9
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
NOW = 1_800_000_000 * SECOND


class Clock:
    """A wall clock that stands where it is put."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Ids:
    """Ids that come in the same order in every run; `family` keeps those of several stores apart."""

    def __init__(self, family: int = 0) -> None:
        self.next = family << 32

    def __call__(self) -> str:
        self.next += 1
        return f"{self.next:016x}"


class OpenStore(Protocol):
    """Opens a new store; `again` closes one and opens what it held, as the next process would."""

    clock: Clock

    async def __call__(self, name: str = "a") -> Store: ...

    async def again(self, store: Store) -> Store: ...


class _Opener:
    def __init__(self, folder: Path, closing: AsyncExitStack) -> None:
        self.clock = Clock()
        self.folder = folder
        self._closing = closing
        self._families = 0

    def ids(self) -> Ids:
        self._families += 1
        return Ids(self._families)

    def kept(self, store: Store) -> Store:
        self._closing.push_async_callback(store.close)
        return store


class OpenMemory(_Opener):
    """Opens stores in memory."""

    async def __call__(self, name: str = "a") -> Store:
        return self.kept(MemoryStore(now=self.clock, rand=self.ids()))

    async def again(self, store: Store) -> Store:
        assert isinstance(store, MemoryStore)
        await store.close()
        return self.kept(MemoryStore(now=self.clock, rand=self.ids(), after=store))


class OpenSqlite(_Opener):
    """Opens SQLite files in a folder."""

    async def __call__(self, name: str = "a") -> Store:
        return self.kept(await open_sqlite(self.folder / f"{name}.db", now=self.clock, rand=self.ids()))

    async def again(self, store: Store) -> Store:
        await store.close()
        return await self(store.path.stem)  # type: ignore[attr-defined]


class OpenPostgres(_Opener):
    """Opens databases of a server."""

    def __init__(self, folder: Path, closing: AsyncExitStack, new_database: Callable[[], str]) -> None:
        super().__init__(folder, closing)
        self._new_database = new_database
        self._urls: dict[str, str] = {}
        self._url_of: dict[str, str] = {}

    async def __call__(self, name: str = "a") -> Store:
        if name not in self._urls:
            self._urls[name] = self._new_database()
        return await self._open(self._urls[name])

    async def _open(self, url: str) -> Store:
        target = read_target(url)
        self._url_of[target.shown] = url
        return self.kept(await open_postgres(target, now=self.clock, rand=self.ids()))

    async def again(self, store: Store) -> Store:
        assert isinstance(store, PostgresStore)
        await store.close()
        return await self._open(self._url_of[store.connections.target.shown])


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenStore]:
    """Opens stores of one sort; all are closed at the end."""
    async with AsyncExitStack() as closing:
        match request.param:
            case "memory":
                yield OpenMemory(tmp_path, closing)
            case "sqlite":
                yield OpenSqlite(tmp_path, closing)
            case _:
                yield OpenPostgres(tmp_path, closing, request.getfixturevalue("database"))


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    """One new store."""
    return await open_store()


@pytest.fixture
def clock(open_store: OpenStore) -> Clock:
    """The clock of the stores that this test opens."""
    return open_store.clock


class Disk:
    """A small file system of its own, mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def remount(self, options: str) -> None:
        """Change how it is mounted."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def resize(self, size: str) -> None:
        """Make room, or take it away."""
        self.remount(f"size={size}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 6 MiB."""
    place = tmp_path / "small disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "aimem-test", str(place)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"mounting a tmpfs needs root: {made.stderr.strip()}")
    yield Disk(place)
    subprocess.run(["umount", place], check=True)


def body(title: str, **fields: Any) -> dict[str, Any]:
    """A memory's body, complete, long-lived where nothing else is said."""
    return {
        "title": title,
        "content": f"about {title}",
        "tier": "long",
        "namespace": "notes",
        "source": "api",
        "tags": [],
        "priority": 5,
        "confidence": 1.0,
        "metadata": {"agent_id": "ai:tester"},
        **fields,
    }


def creating(title: str, *, on_conflict: str = "merge", **fields: Any) -> Intent:
    return writes.create(body(title, **fields), on_conflict=on_conflict)


def storing(title: str, **fields: Any) -> Intent:
    """What a caller's request becomes, at the real time: for stores without a clock of the test."""
    raw = {"title": title, "content": f"what {title} says", **fields}
    return writes.create(clean_create(raw, time.time_ns(), anonymous="anonymous:test"))


def putting(*records: Record, **progress: int) -> Intent:
    """An intent that writes records as they are, and asks nothing."""

    def plan(stamp: Stamp) -> Plan:
        yield from ()
        return Decision(records, None, progress)

    return plan


def archiving(memory_id: str, reason: str = "done") -> Intent:
    """A user's archiving: the memory as it is, with `archived` in its body."""

    def plan(stamp: Stamp) -> Plan:
        record = yield from get(MEMORY, memory_id)
        if record is None or record.deleted:
            raise NotFound("not found")
        changed = {**record.body, "archived": {"at": stamp.now, "reason": reason}}
        made = Record.make(MEMORY, memory_id, stamp.version(), record.born, changed)
        return Decision([made], writes.Stored(made, False))

    return plan


def elsewhere(key: str, title: str, at: int, *, deleted: bool = False, **fields: Any) -> Record:
    """A memory record that another node wrote, under an id of its own choosing."""
    version = Version(at, "e" * 16)
    return Record.make(MEMORY, key, version, version, body(title, **fields), deleted=deleted)


async def written(store: Store, *intents: Intent) -> list[Any]:
    """The replies of intents that must not be refused."""
    replies = []
    for outcome in await store.write(intents):
        assert isinstance(outcome, Written), outcome
        replies.append(outcome.reply)
    return replies


async def stored(store: Store, intent: Intent) -> Record:
    """The record that one write leaves."""
    (reply,) = await written(store, intent)
    record: Record = reply.record
    return record


async def refused(store: Store, intent: Intent) -> AimemError:
    """Why one write was refused."""
    (outcome,) = await store.write([intent])
    assert isinstance(outcome, AimemError), outcome
    return outcome


async def held(store: Store, kind: str, key: str) -> Record | None:
    """What stands under an address."""
    (record,) = await store.get([Ref(kind, key)])
    return record


async def feed(store: Store, after: int = 0) -> list[tuple[int, Record]]:
    """The whole feed after a place."""
    page = await store.changes(after, 1_000_000, 1 << 40)
    assert not page.more
    return page.changes


async def titles(store: Store, **which: Any) -> list[str]:
    """Titles of the visible memories that pass a filter, in the order of `select`."""
    found = await store.select(Filter(which.pop("now", NOW), **which), 1_000, 0)
    return [memory.record.body["title"] for memory in found]
