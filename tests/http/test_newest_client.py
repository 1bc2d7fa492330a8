"""The newest release of the old program's Python client: what `test_python_client` does, with that one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NEWEST = Path(sys.prefix) / "newest-client"
HERE = Path(__file__).parent


def test_the_newest_client_is_served_as_well() -> None:
    if not NEWEST.is_dir():
        pytest.skip("scripts/test puts the newest client beside the environment; this one has none")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "test_python_client.py")],
        env={**os.environ, "PYTHONPATH": str(NEWEST)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout
