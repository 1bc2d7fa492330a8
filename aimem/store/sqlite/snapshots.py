"""A folder of backups: how they are named, what the manifest beside each says, and whether a file is what it says.

A snapshot is whole when its `.db` has its final name: its manifest was there before it. So a manifest alone, or a file
that still has a working name, is what a killed process left. Making one is `backup`, putting one back is `restore`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from aimem.errors import DiskFull, Drift, Locked
from aimem.limits import COPY_CHUNK_BYTES
from aimem.store.sqlite.faults import meaning

PREFIX, WORKING = "aimem-", ".aimem-working-"
_ENDING = ".manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is and where it comes from. Fields are only ever added."""

    snapshot: str  # file name
    sha256: str
    bytes: int
    source_db: str
    version: str  # of the program
    schema: int
    incarnation: str
    start: str  # of the last process that wrote
    head: int  # last seq of the feed
    clock: int  # ns since the epoch
    last_version: str | None  # of the newest change
    digest: str
    created_at: str

    def text(self) -> str:
        """As it stands in its file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def manifest_path(snapshot: Path) -> Path:
    """Where the manifest of a snapshot stands."""
    return snapshot.with_suffix(_ENDING)


def read_manifest(snapshot: Path) -> Manifest:
    """The manifest of a snapshot. Raises `Drift`: there is none, or it can't be read."""
    path = manifest_path(snapshot)
    try:
        found = json.loads(path.read_bytes())
        return Manifest(**{field.name: found[field.name] for field in fields(Manifest)})
    except FileNotFoundError as error:
        raise Drift(
            f"{snapshot} has no manifest {path.name} beside it, so it can't be verified",
            hint="restore a file that `aimem backup` made, with its manifest in the same folder",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Drift(f"{path} can't be read: {error!r}", hint="restore another backup") from error


def snapshots(folder: Path) -> list[Path]:
    """The whole snapshots of a folder, oldest first."""
    return sorted(path for path in folder.glob(f"{PREFIX}*.db") if manifest_path(path).exists())


def remove(snapshot: Path) -> None:
    """Take a snapshot away; the manifest goes last, so that a file never stands without it."""
    snapshot.unlink(missing_ok=True)
    manifest_path(snapshot).unlink(missing_ok=True)


def clean(folder: Path) -> None:
    """Remove what killed processes left. The caller holds the folder's lock."""
    for path in folder.glob(f"{WORKING}*"):
        path.unlink(missing_ok=True)
    for path in folder.glob(f"{PREFIX}*{_ENDING}"):
        if not path.with_name(path.name.removesuffix(_ENDING) + ".db").exists():
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy a file into a new private one that is synced at the end. Its SHA-256, in hex."""
    hashed = hashlib.sha256()
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(source, "rb") as reading, open(handle, "wb") as writing:
        while chunk := reading.read(COPY_CHUNK_BYTES):
            hashed.update(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return hashed.hexdigest()


def opened(path: Path) -> sqlite3.Connection:
    """A connection to a database that nobody writes; it leaves nothing beside it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def check_integrity(path: Path, named: Path) -> None:
    """Raises `Drift` when SQLite finds anything wrong in the database at `path`; the message calls it `named`."""
    with contextlib.closing(opened(path)) as connection:
        try:
            found = [text for (text,) in connection.execute("PRAGMA integrity_check(3)")]
        except sqlite3.DatabaseError as error:
            found = [str(error)]
    if found != ["ok"]:
        raise Drift(f"{named} is damaged: {'; '.join(found)}", hint="use another backup, and look at the disk")


@contextlib.contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Hold the lock file `path`. Raises `Locked` with `message` while another process does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(message, hint="wait until it has ended") from error
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def faults_told(source: Path, folder: Path) -> Iterator[None]:
    """Errors of copying from `source` into `folder` as ours."""
    no_room = f"no room in {folder}: nothing was left there"
    hint = "free some space, then run it again"
    try:
        yield
    except sqlite3.Error as error:
        found = meaning(error, source)
        raise (DiskFull(no_room, hint=hint) if isinstance(found, DiskFull) else found) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(no_room, hint=hint) from error
        raise


def sync(path: Path) -> None:
    """Put a file, or the names in a folder, on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
