"""A private folder beside the target for the copies of sources: there is room where the target finds room.

It is named after the target and locked, so what a killed migration left is found and cleared by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from aimem.errors import Damaged, DiskFull, Locked, Misconfigured

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextlib.contextmanager
def workspace(target: Path, named: str | None = None) -> Iterator[Path]:
    """An empty folder for one migration into `target`, which people know as `named`; removed at the end.

    Raises:
        Misconfigured: the target's folder is not there. Damaged: it can't be written.
        Locked: another migration into this target is running. DiskFull: there is no room for the copies.
    """
    folder = Path(f"{target}.migrating")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise Misconfigured(f"{target.parent} does not exist", hint=f"mkdir -p {target.parent}") from error
    except OSError as error:
        raise Damaged(
            f"{folder} can't be made: {error.strerror}", hint="the target needs a folder that this user may write"
        ) from error
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise Damaged(f"{folder} belongs to another user", hint="remove it, or run this as that user")
        _lock(handle, folder, named or str(target))
        try:
            _clear(folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFull(f"no room for a copy of the source beside {target}", hint="free some space") from error
        raise
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path, target: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = folder.stat().st_ino == os.fstat(handle).st_ino  # else another has just ended, and removed it
    except OSError:
        ours = False
    if not ours:
        raise Locked(f"another migration into {target} is running", hint="run this again when it has ended")


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
