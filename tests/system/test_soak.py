"""`scripts/soak` in small: a sound node passes, and one that loses what it acknowledged, or grows, does not."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "dist" / "aimem"
_FORGETFUL = """\
# Starts the node without what was not yet moved from the log to the database: the last that it acknowledged.
import os, sys
from pathlib import Path
if "serve" in sys.argv:
    database = sys.argv[sys.argv.index("--db") + 1]
    Path(database + "-wal").unlink(missing_ok=True)
    Path(database + "-shm").unlink(missing_ok=True)
os.execv(sys.executable, [sys.executable, {file!r}, *sys.argv[1:]])
"""


def soak(place: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "soak"), "--rows", "2000", *flags]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(place)})


def test_a_sound_node_outlives_kills_and_a_day(tmp_path: Path) -> None:
    done = soak(
        tmp_path, "--kills", "2", "--hours", "6", "--speed", "7200", "--aimem", str(FILE), "--json", str(tmp_path / "j")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills: kills 2, met a request 2" in done.stdout
    assert "days: hours 6" in done.stdout
    assert done.stdout.count("nothing lost, nothing came back") == 2
    assert (tmp_path / "j").stat().st_size > 0


def test_a_node_that_forgets_what_it_acknowledged_is_found_out(tmp_path: Path) -> None:
    forgetful = tmp_path / "forgetful.py"
    forgetful.write_text(_FORGETFUL.format(file=str(FILE)))
    done = soak(tmp_path, "--kills", "1", "--hours", "0", "--aimem", str(forgetful))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is LOST: it was acknowledged" in done.stdout


def test_growth_is_told_from_a_swing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    watching = importlib.import_module("soaklib.watching")
    steady = [watching.Sample(at, 100 + at % 3, 500, 60 * (at % 2), 30, 5, 1, 2, 1, 2) for at in range(40)]
    leaking = [watching.Sample(at, 100 + at, 500, 0, 30, 5, 1, 2, 1, 2) for at in range(40)]
    assert all(growth.flat for growth in watching.growths(steady))
    assert [growth.figure for growth in watching.growths(leaking) if not growth.flat] == ["memory_mb"]
    assert watching.growths(steady[:10]) == []
