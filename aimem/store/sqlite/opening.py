"""May this file be used, and is it still the file it was? Everything that is decided before the first statement runs.

A file that is refused is left as it was. The lock is held on `<db>.lock` until the process ends or lets go.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sqlite3
import struct
from pathlib import Path

from aimem.errors import Damaged, Locked, Misconfigured
from aimem.store.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION

_MAGIC = b"SQLite format 3\0"
_HEADER = 100
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "ceph", "glusterfs", "fuse.glusterfs"}
)
_AT_FDCWD = -100
_STATX_BTIME = 0x800


def lock(path: Path) -> int:
    """Take the lock of a database: an open file descriptor that holds it.

    Raises:
        Locked: another process holds it.
        Damaged: the folder can't be written.
        Misconfigured: the folder is not there.
    """
    name = f"{path}.lock"
    try:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError as error:
        raise Misconfigured(f"{path.parent} does not exist", hint=f"mkdir -p {path.parent}") from error
    except OSError as error:
        raise Damaged(
            f"{name} can't be written: {error.strerror}", hint="the database needs a folder that this user may write"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Locked(
            f"{path} is in use by another aimem process", hint=f"stop it first, or talk to it; `fuser {name}` names it"
        ) from error
    return handle


def inspect(path: Path, *, allow_network_fs: bool = False) -> int | None:
    """The schema version of a database file, or None where a new one may be made.

    Raises:
        Misconfigured: it is not ours, is newer than this program, or lies on a network file system.
        Damaged: it can't be read or written.
    """
    if not allow_network_fs and (kind := _file_system(path.parent)) in _NETWORK:
        raise Misconfigured(
            f"{path} is on a network file system ({kind}), where SQLite can't keep its promises",
            hint="use a local disk, or --allow-network-fs at your own risk",
        )
    try:
        with open(path, "r+b") as file:
            header = file.read(_HEADER)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{path} can't be read and written: {error.strerror}") from error
    if not header:
        return None
    if not header.startswith(_MAGIC) or len(header) < _HEADER:
        raise Misconfigured(
            f"{path} is not a database (or its first page is damaged)",
            hint="name another file with --db, or restore this one from a backup",
        )
    (version,) = struct.unpack_from(">I", header, 60)
    (application,) = struct.unpack_from(">I", header, 68)
    if application != APPLICATION_ID:
        raise _foreign(path)
    if version > SCHEMA_VERSION:
        raise newer(path, version)
    return int(version)


def newer(path: Path, version: int) -> Misconfigured:
    """The refusal of a file that a newer program wrote."""
    return Misconfigured(
        f"{path} has schema {version}, newer than this program's {SCHEMA_VERSION}",
        hint="run the newer aimem that wrote it, or restore a backup from before the upgrade",
    )


def _foreign(path: Path) -> Misconfigured:
    """Which other program's database this is; read without leaving anything beside it."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        finally:
            connection.close()
    except sqlite3.Error:
        tables = set()
    if {"memories", "memory_links", "schema_version"} <= tables:
        target = path.with_name("aimem.db" if path.name != "aimem.db" else "aimem-new.db")
        return Misconfigured(
            f"{path} is a database of ai-memory, which aimem does not open in place",
            hint=f"aimem migrate --from {path} --to {target}",
        )
    return Misconfigured(f"{path} is another program's database", hint="name another file with --db")


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on, as the kernel names it."""
    target, best, kind = os.path.realpath(folder), "", "unknown"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                point = left.split()[4].replace("\\040", " ")
                inside = target == point or target.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, right.split()[0]
    except OSError:
        pass
    return kind


def identity(path: Path) -> str:
    """What makes this file this file: the machine, its inode and its birth time. A copy or a restore differs."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    return json.dumps([machine, os.stat(path).st_ino, _birth_time(path)])


def _birth_time(path: Path) -> int:
    """Birth time of a file in ns, 0 where the kernel or libc does not tell (statx(2))."""
    buffer = ctypes.create_string_buffer(256)
    try:
        statx = ctypes.CDLL(None).statx
    except (OSError, AttributeError):
        return 0
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return 0
    (mask,) = struct.unpack_from("=I", buffer.raw, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer.raw, 80)
    return int(seconds * 10**9 + nanoseconds) if mask & _STATX_BTIME else 0
