"""A day in the life of a fleet, as the README shows it: the script that tells it runs, and every part comes true."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from tests.waiting import PATIENCE_SECS

ROOT = Path(__file__).parent.parent.parent


def test_a_day_in_the_life() -> None:
    program = shlex.join([sys.executable, "-m", "aimem"])
    command = [sys.executable, str(ROOT / "scripts" / "day.py"), "--program", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=4 * PATIENCE_SECS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("one row everywhere.")
    assert (ROOT / "README.md").read_text().count("scripts/day") >= 1
