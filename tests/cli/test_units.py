"""The systemd units: written once, never over other files, and good for systemd itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Run


def test_they_are_printed_and_written_alike(run: Run, tmp_path: Path) -> None:
    assert run("units", "--out", tmp_path / "to").code == 0
    printed = run("units").out
    written = sorted((tmp_path / "to").iterdir())
    assert [path.name for path in written] == [
        "aimem-backup.service",
        "aimem-backup.timer",
        "aimem-migrate.service",
        "aimem.service",
    ]
    assert all(f"# {path.name}\n{path.read_text()}" in printed for path in written)
    assert run("units", "--out", tmp_path / "to").code == 0


def test_a_file_that_differs_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "aimem.service").write_text("mine")
    result = run("units", "--out", tmp_path)
    assert (result.code, (tmp_path / "aimem.service").read_text()) == (4, "mine")
    assert "drop-in" in result.err
    assert not (tmp_path / "aimem-backup.timer").exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong(run: Run, tmp_path: Path) -> None:
    assert run("units", "--out", tmp_path / "to").code == 0
    files = sorted((tmp_path / "to").iterdir())
    for path in files:  # the executable must exist
        path.write_text(path.read_text().replace("/usr/bin/aimem", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
