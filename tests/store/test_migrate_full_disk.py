"""A migration whose target's disk runs full: said clearly, nothing half taken, and finished when there is room."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.http.processes import ROOT
from tests.store.conftest import Disk
from tests.store.old_database import REAL, digest_of


@pytest.mark.parametrize("room", ["256k", "1600k"])
def test_a_full_target_disk_is_said_and_room_heals(tmp_path: Path, small_disk: Disk, room: str) -> None:
    undisturbed = digest_of(tmp_path / "whole.db", REAL)
    source = tmp_path / "old.db"
    shutil.copy(REAL, source)
    before = hashlib.sha256(source.read_bytes()).digest(), source.stat().st_mtime_ns
    target = small_disk.path / "x.db"
    command = [sys.executable, "-m", "aimem", "migrate", "--from", str(source), "--to", str(target), "--json"]
    small_disk.resize(room)
    full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (full.returncode, "no room" in full.stderr, "Traceback" in full.stderr) == (75, True, False), full.stderr
    assert (hashlib.sha256(source.read_bytes()).digest(), source.stat().st_mtime_ns) == before
    assert not Path(f"{target}.migrating").exists()
    small_disk.resize("40m")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["digest"] == undisturbed
