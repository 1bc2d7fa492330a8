"""A backup beside a node that is written to: seconds, MB a second, peak memory, and what writers notice of it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchlib.load import Outcome, drive, request
from benchlib.node import DIST, Node
from benchlib.stores import fill, memory
from benchlib.texts import Texts

_MB = 1e6


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000, help="rows that are there before (100,000)")
    parser.add_argument("--clients", type=int, default=16, help="writers, each in a closed loop (16)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long writers run without a backup (10)")


class Backup(threading.Thread):
    """One run of the command, watched from its start to its end."""

    def __init__(self, database: Path, folder: Path) -> None:
        super().__init__(daemon=True)
        self._began = time.perf_counter()
        command = [sys.executable, str(DIST), "backup", "--db", str(database), "--to", str(folder)]
        self._process = subprocess.Popen(command)
        self.ended = threading.Event()
        self.seconds = self.memory_mb = self.cpu = 0.0
        self.code = -1

    def run(self) -> None:
        _, status, usage = os.wait4(self._process.pid, 0)  # not `wait`: only this tells the peak of just this process
        self.seconds = time.perf_counter() - self._began
        self.memory_mb, self.cpu = usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime
        self.code = self._process.returncode = os.waitstatus_to_exitcode(status)
        self.ended.set()


def _stores(texts: Texts, first: int, more: Callable[[], bool]) -> Callable[[], bytes | None]:
    """New memories, as long as there are to be `more`."""
    number = first

    def following() -> bytes | None:
        nonlocal number
        number += 1
        return request("POST", "/api/v1/memories", json.dumps(memory(texts, number)).encode()) if more() else None

    return following


def _tell(what: str, outcome: Outcome) -> None:
    print(
        f"  writers {what}: {outcome.rate:,.0f}/s, p50 {outcome.percentile(0.5):.1f} ms, "
        f"p99 {outcome.percentile(0.99):.1f} ms, at most {outcome.percentile(1):.0f} ms, errors {outcome.errors()}"
    )


def run(options: argparse.Namespace) -> int:
    texts = Texts(1)
    with Node("--tier", "keyword") as node:
        fill(node, texts, options.rows)
        end = time.perf_counter() + options.seconds
        without = drive(node.port, options.clients, _stores(texts, 10**7, lambda: time.perf_counter() < end))
        folder = node.folder / "backups"
        backup = Backup(node.database, folder)
        backup.start()
        beside = drive(node.port, options.clients, _stores(texts, 2 * 10**7, lambda: not backup.ended.is_set()))
        backup.join()
        size = sum(path.stat().st_size for path in folder.glob("aimem-*.db"))
    print(
        f"backup of {options.rows:,} rows and what was written: {size / _MB:,.0f} MB in {backup.seconds:.2f} s, "
        f"{size / _MB / backup.seconds:,.0f} MB/s, memory at most {backup.memory_mb:.0f} MB, {backup.cpu:.2f} s of CPU"
    )
    _tell("without it", without)
    _tell("beside it", beside)
    return 1 if backup.code or not size or without.errors() or beside.errors() else 0
