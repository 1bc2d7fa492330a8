"""Making a backup beside a node that goes on writing.

The copy is made in one step of SQLite's online backup, which is one read transaction: it shows one moment, never has to
begin anew because somebody wrote, and no writer waits for it (the log can't be cut meanwhile, so it grows). The new
snapshot is checked and on disk before an old one goes.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from aimem import __version__
from aimem.errors import Drift, Misconfigured
from aimem.store.sqlite import opening, snapshots
from aimem.store.sqlite.snapshots import PREFIX, WORKING, Manifest
from aimem.store.state import unpack


def back_up(database: Path, folder: Path, keep: int) -> Path:
    """Make a snapshot of `database` in `folder`, and keep the newest `keep` that came from this database.

    Raises:
        Locked: another backup of this database, or into this folder, is running.
        Misconfigured: there is no database of ours. Damaged, Drift: it can't be read, or its copy is not sound.
        DiskFull: there is no room. Then, as after any error, the folder holds what it held.
    """
    if opening.inspect(database, allow_network_fs=True) is None:
        raise Misconfigured(f"there is no database {database}", hint="name it with --db")
    source = database.resolve()
    with contextlib.ExitStack() as held:
        beside = Path(f"{database}.backup.lock")
        held.enter_context(snapshots.locked(beside, f"another backup of {database} is running"))
        held.enter_context(snapshots.faults_told(database, folder))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        inside = folder / ".aimem-backup.lock"
        held.enter_context(snapshots.locked(inside, f"another backup into {folder} is running"))
        snapshots.clean(folder)
        held.callback(snapshots.clean, folder)
        made = _make(source, folder)
        _remove_old(made, str(source), folder, keep)
    return made


def _make(source: Path, folder: Path) -> Path:
    """A whole snapshot. The rename of the database is the last step: with it the snapshot is there."""
    moment = datetime.now(UTC)
    name = f"{PREFIX}{moment:%Y-%m-%dT%H%M%S.%fZ}"
    copy, text = folder / f"{WORKING}{name}.db", folder / f"{WORKING}{name}.json"
    target = folder / f"{name}.db"
    _copy(source, copy)
    snapshots.sync(copy)
    snapshots.check_integrity(copy, source)
    text.write_text(_describe(copy, target.name, source, moment).text())
    snapshots.sync(text)
    os.rename(text, snapshots.manifest_path(target))
    os.rename(copy, target)
    snapshots.sync(folder)
    return target


def _copy(source: Path, target: Path) -> None:
    """Copy a database. The target is private and starts anew after a failure: it needs neither journal nor locks."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    live = sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True)  # the last one to close must be able to clean up
    with contextlib.closing(live):
        live.execute("PRAGMA query_only = 1")
        new = sqlite3.connect(f"{target.absolute().as_uri()}?mode=rw&nolock=1", uri=True)
        with contextlib.closing(new):
            new.execute("PRAGMA journal_mode = OFF")
            new.execute("PRAGMA synchronous = OFF")
            live.backup(new, pages=-1)


def _describe(copy: Path, name: str, source: Path, moment: datetime) -> Manifest:
    """The manifest, out of the copy itself: the source is further on by now."""
    with contextlib.closing(snapshots.opened(copy)) as connection:
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        incarnation, head, clock, digest = connection.execute(
            "SELECT incarnation, head, clock, digest FROM state"
        ).fetchone()
        (start,) = connection.execute("SELECT id FROM start ORDER BY rowid DESC LIMIT 1").fetchone()
        last = connection.execute("SELECT version FROM record ORDER BY seq DESC LIMIT 1").fetchone()
    return Manifest(
        snapshot=name,
        sha256=snapshots.sha256_of(copy),
        bytes=copy.stat().st_size,
        source_db=str(source),
        version=__version__,
        schema=schema,
        incarnation=incarnation,
        start=start,
        head=head,
        clock=clock,
        last_version=last[0] if last else None,
        digest=unpack(digest).root(),
        created_at=moment.isoformat(),
    )


def _remove_old(made: Path, source: str, folder: Path, keep: int) -> None:
    """Keep `made` and the newest others of the same database. What has an unreadable manifest is nobody's: it stays."""
    others = [path for path in snapshots.snapshots(folder) if path != made and _source_of(path) == source]
    for path in others[: max(0, len(others) - (keep - 1))]:
        snapshots.remove(path)


def _source_of(snapshot: Path) -> str | None:
    try:
        return snapshots.read_manifest(snapshot).source_db
    except Drift:
        return None
