"""Backups that are killed at any instant, and two at once: what is visible as a backup is whole, and the last stays."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aimem.store.sqlite import snapshots
from aimem.store.sqlite.store import open_sqlite
from tests.http.processes import ROOT
from tests.store.conftest import storing

KILLS = 8


def command(database: Path, folder: Path) -> list[str]:
    return [sys.executable, "-m", "aimem", "backup", "--db", str(database), "--to", str(folder), "--keep", "1"]


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """A database of some ten MiB: copying and checking it takes a while."""
    path = tmp_path / "a.db"
    store = await open_sqlite(path)
    await store.write([storing(f"note {number}", content=f"{number} " * 1_500) for number in range(1_500)])
    await store.close()
    return path


def sound(folder: Path) -> list[Path]:
    """The visible backups, each of them what its manifest says."""
    found = snapshots.snapshots(folder)
    for each in found:
        assert snapshots.sha256_of(each) == snapshots.read_manifest(each).sha256
    assert set(folder.glob(f"{snapshots.PREFIX}*.db")) == set(found)
    return found


def test_a_backup_killed_at_any_instant_costs_no_good_one(database: Path, tmp_path: Path) -> None:
    folder, dice, kills, begun = tmp_path / "to", random.Random(11), 0, 0
    began = time.monotonic()
    subprocess.run(command(database, folder), cwd=ROOT, check=True)
    whole = time.monotonic() - began
    while kills < KILLS:
        process = subprocess.Popen(command(database, folder), cwd=ROOT)
        try:
            process.wait(timeout=dice.uniform(0.2, 1.0) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        begun += bool(list(folder.glob(f"{snapshots.WORKING}*")))
        assert sound(folder)
    assert begun  # else no kill met a backup at work
    subprocess.run(command(database, folder), cwd=ROOT, check=True)
    (last,) = sound(folder)
    assert sorted(each.name for each in folder.iterdir()) == sorted(
        [".aimem-backup.lock", last.name, snapshots.manifest_path(last).name]
    )


def stopped_at_work(database: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A backup that stands still in the middle. One that was done before it was stopped is made anew."""
    while True:
        process = subprocess.Popen(command(database, folder), cwd=ROOT)
        while process.poll() is None and not list(folder.glob(f"{snapshots.WORKING}*")):
            pass
        process.send_signal(signal.SIGSTOP)
        if list(folder.glob(f"{snapshots.WORKING}*")):
            return process
        process.send_signal(signal.SIGCONT)
        process.wait()


def test_of_two_at_once_the_second_is_refused(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "to"
    first = stopped_at_work(database, folder)
    try:
        second = subprocess.run(command(database, folder), cwd=ROOT, capture_output=True, text=True)
    finally:
        first.send_signal(signal.SIGCONT)
    assert (second.returncode, "another backup" in second.stderr) == (75, True)
    assert first.wait() == 0
    assert len(sound(folder)) == 1
