"""The README shows what its commands really print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(1800)  # it does all that the README shows: minutes on a machine that has time for it
def test_the_output_blocks_are_what_the_commands_print() -> None:
    shown = re.search(r"1\. (\d+) documentation strings", (ROOT / "README.md").read_text())
    assert shown is not None
    texts = subprocess.run([sys.executable, ROOT / "scripts" / "stdlib-texts"], capture_output=True, check=True).stdout
    if texts.count(b"\n") != int(shown[1]):
        pytest.skip("the README was made under a Python with another standard library")
    done = subprocess.run([sys.executable, ROOT / "scripts" / "readme", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
