"""Putting a backup back as a database of its own: a new incarnation, which continues nobody's promises.

Nothing stands at the target before the copy is verified and on disk; a database that stands there is never touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path

from aimem.core.version import ORIGIN_HEX
from aimem.errors import Drift, Misconfigured, Usage
from aimem.store.sqlite import opening, snapshots
from aimem.store.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION

_SIDE_FILES = ("-wal", "-shm", "-journal")


def restore(backup: Path, database: Path) -> None:
    """Make `database` out of a snapshot, or out of the newest one of a folder.

    Raises:
        Locked: a process holds `database`. DiskFull: there is no room; nothing was left.
        Misconfigured: there is a database already, or the snapshot is newer than this program.
        Drift: the snapshot is not what its manifest says, or is damaged.
    """
    snapshot = _chosen(backup)
    lock = opening.lock(database.absolute())
    try:
        if os.path.lexists(database):
            raise Misconfigured(
                f"{database} exists, and a restore overwrites nothing",
                hint=f"move it away first: mv {database} {database}.before-restore",
            )
        _restore(snapshot, database)
    finally:
        os.close(lock)


def _chosen(backup: Path) -> Path:
    """The snapshot that is meant. A folder must hold those of one database only: another's would be a wrong guess."""
    if not backup.is_dir():
        if not backup.exists():
            raise Usage(f"there is no backup {backup}", hint="name a file that `aimem backup` made, or its folder")
        return backup
    found = snapshots.snapshots(backup)
    if not found:
        raise Usage(f"there is no backup in {backup}", hint="name a file that `aimem backup` made, or its folder")
    sources = {snapshots.read_manifest(path).source_db for path in found}
    if len(sources) > 1:
        raise Usage(f"{backup} has backups of {', '.join(sorted(sources))}", hint="name the file to restore")
    return found[-1]


def _restore(snapshot: Path, database: Path) -> None:
    working = database.with_name(f".{database.name}.restoring")
    _remove(working)  # of a restore that was killed: we hold the lock
    try:
        with snapshots.faults_told(snapshot, database.parent):
            _verified_copy(snapshot, working)
            _renew_incarnation(working)
            snapshots.sync(working)
            _remove_side_files(database)
            snapshots.sync(database.parent)  # a log of another database must be gone before this one has the name
            os.rename(working, database)
            snapshots.sync(database.parent)
    finally:
        _remove(working)


def _verified_copy(snapshot: Path, working: Path) -> None:
    """Copy, then verify the copy: what is verified is what will be used."""
    manifest = snapshots.read_manifest(snapshot)
    size = snapshot.stat().st_size
    if size != manifest.bytes:
        raise Drift(
            f"{snapshot} has {size} bytes, and its manifest says {manifest.bytes}: it is truncated or was changed",
            hint="restore another backup",
        )
    if manifest.schema > SCHEMA_VERSION:
        raise Misconfigured(
            f"{snapshot} has schema {manifest.schema}, newer than this program's {SCHEMA_VERSION}",
            hint=f"restore it with aimem {manifest.version} or newer",
        )
    if snapshots.copy(snapshot, working) != manifest.sha256:
        raise Drift(f"the SHA-256 of {snapshot} is not that of its manifest", hint="restore another backup")
    snapshots.check_integrity(working, snapshot)
    with contextlib.closing(snapshots.opened(working)) as connection:
        shape = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if shape != [APPLICATION_ID, manifest.schema]:
        raise Drift(f"{snapshot} is not the database that its manifest describes", hint="restore another backup")


def _renew_incarnation(working: Path) -> None:
    """A new incarnation at home in this file; without it the first start would see another file and make one."""
    connection = sqlite3.connect(working, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "UPDATE state SET incarnation = ?, identity = ?",
            (secrets.token_hex(ORIGIN_HEX // 2), opening.identity(working)),
        )


def _remove(working: Path) -> None:
    working.unlink(missing_ok=True)
    _remove_side_files(working)


def _remove_side_files(database: Path) -> None:
    """Take away what another database of that name left beside it."""
    for ending in _SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{database}{ending}")
