"""The check of a whole file, in a thread beside its reading: SQLite lets others run while it goes through the pages."""

from __future__ import annotations

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor

_TOLD_MAX = 5


class Check:
    """Of what a connection of its own, usable in any thread, has open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, "check")
        self._found = self._thread.submit(self._faults)

    def faults(self) -> list[str]:
        """What is damaged, the first few of it. Waits for the end of the check."""
        return self._found.result()

    def close(self) -> None:
        """Break it off, where it goes on."""
        self._connection.interrupt()
        self._thread.shutdown()
        self._connection.close()

    def _faults(self) -> list[str]:
        with contextlib.suppress(sqlite3.DatabaseError):
            found = self._connection.execute(f"PRAGMA quick_check({_TOLD_MAX})").fetchall()
            return [text for (text,) in found if text != "ok"]
        return []
