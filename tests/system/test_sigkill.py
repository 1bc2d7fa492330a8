"""A node is killed under load, again and again, and never loses a write that it acknowledged.

Each client flushes its ledger to disk before its next request, so what the ledger says was acknowledged, was. The
instant of the kill is drawn over the whole cycle of a group; a run in which too few kills met a request in flight
would prove nothing, and fails.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from aimem.node.node import Node
from aimem.node.settings import NodeSettings
from aimem.store.base import Filter
from aimem.store.sqlite.store import open_sqlite
from tests.waiting import PATIENCE_SECS

ROOT = Path(__file__).parent.parent.parent
KILLS = 10
WRITERS = 16


class Victim:
    """A node process on a free port."""

    def __init__(self, database: Path, *flags: str) -> None:
        command = [sys.executable, "-m", "aimem", "serve", "--db", str(database), "--bind", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "serving http://127.0.0.1:" in line:
                self.port = int(line.partition("serving http://127.0.0.1:")[2].split()[0].rstrip("/.,"))
                return
        raise AssertionError("".join(said))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Writer(threading.Thread):
    """One client: stores, and every fourth time deletes, in a closed loop; notes what was acknowledged, on disk."""

    def __init__(self, name: str, port: int, ledger: Path) -> None:
        super().__init__(name=name)
        self.port = port
        self.acknowledged = 0
        self.cut_in_flight = False
        self._ledger = ledger
        self._in_flight = False

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECS)
        handle = os.open(self._ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for number in range(1_000_000):
                title = f"{self.name}-{number}"
                status, reply = self._call(connection, "POST", "/memories", {"title": title, "content": "kept " * 30})
                assert status == 201, reply
                self._note(handle, {"title": title, "id": reply["id"]})
                if number % 4 == 3:
                    self._note(handle, {"title": title, "going": True})
                    status, _ = self._call(connection, "DELETE", f"/memories/{reply['id']}", None)
                    assert status == 200
                    self._note(handle, {"title": title, "gone": True})
        except (OSError, http.client.HTTPException):
            self.cut_in_flight = self._in_flight
        finally:
            os.close(handle)
            connection.close()

    def _call(self, connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.connect() if connection.sock is None else None
        self._in_flight = True
        connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, headers)
        reply = connection.getresponse()
        parsed = json.loads(reply.read())
        self._in_flight = False
        return reply.status, parsed

    def _note(self, handle: int, entry: dict[str, Any]) -> None:
        os.write(handle, (json.dumps(entry) + "\n").encode())
        os.fsync(handle)
        self.acknowledged += 1


def expected(folder: Path) -> tuple[set[str], set[str]]:
    """Titles that must be there, and titles that must not."""
    there: set[str] = set()
    gone: set[str] = set()
    for ledger in folder.glob("*.ledger"):
        for line in ledger.read_text().splitlines():
            entry = json.loads(line)
            if entry.get("gone"):
                gone.add(entry["title"])
            elif entry.get("going"):
                there.discard(entry["title"])  # whether an unanswered delete happened is not known
            else:
                there.add(entry["title"])
    return there, gone


async def titles_of(database: Path) -> set[str]:
    """The titles in a database whose digest, words and pairs agree with its rows."""
    store = await open_sqlite(database)
    assert await store.check() == []
    found = await store.select(Filter(time.time_ns()), 1_000_000, 0)
    await store.close()
    return {memory.record.body["title"] for memory in found}


async def test_no_acknowledged_write_is_lost_to_sigkill_under_load(tmp_path: Path) -> None:
    database, chance, met = tmp_path / "a.db", random.Random(), 0
    for cycle in range(KILLS):
        victim = Victim(database, "--tier", "keyword")
        writers = [
            Writer(f"{cycle}-{number}", victim.port, tmp_path / f"{cycle}-{number}.ledger") for number in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        while any(writer.acknowledged < 2 and writer.is_alive() for writer in writers):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))  # the instant: anywhere in a cycle of some ten milliseconds
        victim.kill()
        for writer in writers:
            writer.join()
        met += any(writer.cut_in_flight for writer in writers)
        there, gone = expected(tmp_path)
        found = await titles_of(database)
        assert there <= found
        assert not gone & found
    assert met * 2 >= KILLS


async def test_the_backlog_and_the_index_survive_sigkill(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    victim = Victim(database, "--tier", "semantic")
    writer = Writer("w", victim.port, tmp_path / "w.ledger")
    writer.start()
    while writer.acknowledged < 60 and writer.is_alive():
        time.sleep(0.001)
    victim.kill()
    writer.join()
    there, _ = expected(tmp_path)
    assert there <= await titles_of(database)
    node = await Node.open(NodeSettings(database, tier="semantic"))
    try:
        while node.health()["embedding_backlog"]:
            await asyncio_tick()
        assert await node.check() == []
    finally:
        await node.close()


async def asyncio_tick() -> None:
    import asyncio

    await asyncio.sleep(0.01)
