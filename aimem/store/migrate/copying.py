"""A consistent copy of an SQLite database that others may be writing, without a trace beside it.

Opening the file itself is no way: `mode=ro` leaves a -shm behind, `immutable=1` misses what is still in the -wal. So
file, log and journal are copied aside under the locks of SQLite's own protocol that keep the file as it is: SHARED on
the database, and in WAL mode the checkpointer's lock, both taken as readers, which needs no right to write. A log
that starts anew meanwhile shows in its header, and the copy is made again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from aimem.errors import Busy, Damaged, Misconfigured, NotFound
from aimem.limits import COPY_ATTEMPTS_MAX, COPY_LOCK_SECS

_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510  # sqlite3: os.h
_CHECKPOINT_LOCK = 121  # in the -shm: wal.c, WAL_CKPT_LOCK
_LOG_HEADER = 32  # holds the salts, which are new whenever the log starts anew
_UNSUPPORTED = (errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_POLL_SECS = 0.02


def copy_aside(path: Path, folder: Path) -> Path:
    """Copy the database at `path` into `folder`, which must be private. The path of the copy.

    Raises:
        NotFound: there is no such file. Damaged: it can't be read.
        Busy: its writers never let go of it, or it kept changing.
    """
    target = folder / path.name
    try:
        for _ in range(COPY_ATTEMPTS_MAX):
            with _held(path):
                before = _state(path)
                for ending in ("", "-wal", "-journal"):
                    _copy(path, target, ending)
                if _state(path) == before:
                    return target
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", hint="give the old program's database with --from") from error
    except IsADirectoryError as error:
        raise Misconfigured(f"{path} is a folder, not a database") from error
    except PermissionError as error:
        raise Damaged(f"{path} can't be read: {error.strerror}", hint="run this as a user who may read it") from error
    raise Busy(f"{path} changed again and again while it was copied", hint="stop its program, then run this again")


def _copy(path: Path, target: Path, ending: str) -> None:
    into = f"{target}{ending}"
    try:
        shutil.copyfile(f"{path}{ending}", into)
    except FileNotFoundError:
        if not ending:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(into)  # of an earlier attempt


def _state(path: Path) -> tuple[object, ...]:
    """What differs when the file was written, or its log started anew."""
    stat = path.stat()
    header = b""
    with contextlib.suppress(FileNotFoundError), open(f"{path}-wal", "rb") as log:
        header = log.read(_LOG_HEADER)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, header


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep writers from changing the file itself; they may go on adding to its log."""
    with contextlib.ExitStack() as opened:
        _lock(opened.enter_context(open(path, "rb")).fileno(), _SHARED_FIRST, _SHARED_SIZE, path)
        with contextlib.suppress(FileNotFoundError):
            _lock(opened.enter_context(open(f"{path}-shm", "rb")).fileno(), _CHECKPOINT_LOCK, 1, path)
        yield


def _lock(handle: int, first: int, size: int, path: Path) -> None:
    """Take a reader's lock, let go when `handle` closes. A file system without locks has no writers that lock."""
    wanted = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, first, size, 0)
    until = time.monotonic() + COPY_LOCK_SECS
    while True:
        try:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
            return
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if time.monotonic() > until:
            raise Busy(f"{path} is locked by its program", hint="stop it, then run this again")
        time.sleep(_POLL_SECS)
