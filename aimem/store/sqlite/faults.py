"""What a failure of SQLite means: the one place where its error codes are turned into ours."""

from __future__ import annotations

import sqlite3

from aimem.errors import AimemError, Busy, Damaged, DiskFull, StorageFailed

_FULL = sqlite3.SQLITE_FULL
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def meaning(error: sqlite3.Error, path: object) -> AimemError:
    """Our error for one of SQLite's.

    No room is worth trying again when there is some; damage and any other I/O error are not: what the disk holds is
    unknown from then on.
    """
    code = getattr(error, "sqlite_errorcode", 0) or 0
    primary = code & 0xFF
    if code in _NO_ROOM or primary == _FULL:
        return DiskFull(
            f"no room on the disk of {path}: nothing was written", hint="free some space; the node goes on by itself"
        )
    if primary in _DAMAGED:
        return Damaged(f"{path} is damaged: {error}", hint="stop the node and restore the last backup")
    if primary in _BUSY:
        return Busy(f"{path} is busy: {error}")
    if primary == sqlite3.SQLITE_READONLY:
        return Damaged(f"{path} can't be written: {error}")
    return StorageFailed(
        f"writing {path} failed: {error}",
        hint="no write is acknowledged until the node is restarted; look at the disk and the kernel log first",
    )
