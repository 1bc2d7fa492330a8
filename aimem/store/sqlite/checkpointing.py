"""Checkpoints beside the writer: the log is moved into the file on a thread and a connection of their own.

On the writer's own thread every write that came meanwhile would wait for as long as some thousand pages take. A
passive checkpoint waits for nobody and nobody waits for it. What is written while it runs stays in the log: when it
has ended, the writer moves that rest, which is short, and only then can the log start anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path


class Checkpointer:
    """Runs one checkpoint at a time. `failed` hears, on the thread of the checkpoint, of one that went wrong."""

    def __init__(self, path: Path, failed: Callable[[sqlite3.Error], None]) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("synchronous = FULL", "wal_autocheckpoint = 0", "busy_timeout = 100"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, "aimem-checkpoint")
        self._at_work: Future[None] | None = None

    @property
    def at_work(self) -> bool:
        """Whether a checkpoint was begun whose end `ended` has not told yet."""
        return self._at_work is not None

    def begin(self) -> None:
        """Begin one; the last one has ended."""
        self._at_work = self._thread.submit(self._run)

    def ended(self) -> bool:
        """Whether the one that was begun has come to its end. Says so once."""
        if self._at_work is None or not self._at_work.done():
            return False
        self._at_work = None
        return True

    def close(self) -> None:
        """Wait for the one that runs, then let go of the file."""
        self._thread.shutdown()
        self._connection.close()

    def _run(self) -> None:
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            self._failed(error)
