"""Power loss, for real: the database lies on a file system of its own inside an image file, which holds only what was
flushed. A copy of the image is what a disk would hold if the power went at that instant; mounted, it must have every
acknowledged write. And SIGKILL, which leaves the operating system alive, at any instant of a group."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aimem.core import writes
from aimem.core.memory import clean_create
from aimem.store.base import Filter
from aimem.store.sqlite import schema
from aimem.store.sqlite.store import open_sqlite

ROOT = Path(__file__).parent.parent.parent


class Disk:
    """An ext4 file system in an image file, mounted at `place`."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def mount(self) -> None:
        self.place.mkdir(exist_ok=True)
        # A long commit interval: nothing may reach the image by time alone, only because it was flushed.
        subprocess.run(["mount", "-o", "loop,commit=300", self.image, self.place], check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.place], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk.img", tmp_path / "disk")
    try:
        with made.image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", made.image], check=True, capture_output=True)
        made.mount()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs mkfs.ext4, a loop device and root: {error}")
    yield made
    made.unmount()


async def titles(path: Path) -> set[str]:
    store = await open_sqlite(path)
    found = {memory.record.body["title"] for memory in await store.select(Filter(time.time_ns()), 100_000, 0)}
    assert await store.check() == []
    await store.close()
    return found


async def test_what_was_acknowledged_survives_the_loss_of_power(disk: Disk, tmp_path: Path) -> None:
    store = await open_sqlite(disk.place / "a.db")
    acknowledged: set[str] = set()

    async def client(name: int) -> None:
        for number in range(25):
            title = f"{name}-{number}"
            raw = {"title": title, "content": "as it was"}
            await store.write([writes.create(clean_create(raw, time.time_ns(), anonymous="anonymous:test"))])
            acknowledged.add(title)

    await asyncio.gather(*(client(name) for name in range(8)))
    crashed = Disk(tmp_path / "crashed.img", tmp_path / "crashed")
    shutil.copyfile(disk.image, crashed.image)
    await store.close()
    crashed.mount()
    try:
        assert await titles(crashed.place / "a.db") == acknowledged
    finally:
        crashed.unmount()


WRITER = """
import asyncio, os, sys, time
from aimem.core import writes
from aimem.core.memory import clean_create
from aimem.store.sqlite.store import open_sqlite

async def main(path, ledger):
    store = await open_sqlite(path)
    record = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async def client(name):
        number = 0
        while True:
            title = f"{os.getpid()}-{name}-{number}"
            raw = {"title": title, "content": "as it was " * 20}
            await store.write([writes.create(clean_create(raw, time.time_ns(), anonymous="anonymous:test"))])
            os.write(record, (title + "\\n").encode())
            number += 1
    print("ready", flush=True)
    await asyncio.gather(*(client(name) for name in range(16)))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_was_acknowledged_survives_sigkill_at_any_instant(tmp_path: Path) -> None:
    path, ledger, chance = tmp_path / "a.db", tmp_path / "ledger", random.Random(7)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, ledger], stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ}
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        before = ledger.stat().st_size
        while ledger.stat().st_size < before + 500 + chance.randrange(3_000):
            await asyncio.sleep(0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        acknowledged = set(ledger.read_text().splitlines())
        assert acknowledged <= await titles(path)


CREATOR = """
import asyncio, sys
from aimem.store.sqlite.store import open_sqlite

async def main(path):
    print("now", flush=True)
    store = await open_sqlite(path)
    print("open", flush=True)
    await asyncio.sleep(60)

asyncio.run(main(sys.argv[1]))
"""


async def test_a_start_that_is_killed_while_it_makes_the_file_leaves_one_that_can_be_opened(tmp_path: Path) -> None:
    chance = random.Random(3)
    for cycle in range(12):
        path = tmp_path / f"{cycle}.db"
        process = subprocess.Popen([sys.executable, "-c", CREATOR, path], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        if cycle:
            await asyncio.sleep(chance.uniform(0, 0.02))  # the instant: anywhere in the making of the file
        process.kill()
        process.wait()
        process.stdout.close()
        assert await titles(path) == set()


async def test_a_file_that_is_only_marked_as_ours_is_shaped_when_it_is_opened(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    schema.claim(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert await titles(tmp_path / "a.db") == set()
