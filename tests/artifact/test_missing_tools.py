"""On a fresh machine the scripts name what is missing, with the line that installs it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from .artifact import CONFIGURATION, ROOT, pythons, run, version

SCRIPTS = ("build", "check", "test", "up")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with all that the scripts call."""
    for name in ("bash", "dirname", "mkdir", "cat", "git"):
        found = shutil.which(name)
        assert found is not None, name
        (tmp_path / name).symlink_to(found)
    (tmp_path / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    return tmp_path


def refused(script: str, tools: Path, **env: str) -> str:
    ended = run([ROOT / "scripts" / script], {"PATH": str(tools), **env})
    assert ended.returncode == CONFIGURATION, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(str(ROOT / "scripts" / script))
    return line.partition(": ")[2]


@pytest.mark.parametrize("script", SCRIPTS)
def test_git(script: str, tools: Path) -> None:
    (tools / "git").unlink()
    assert refused(script, tools) == "git is missing; on Debian: apt-get install git ca-certificates"


@pytest.mark.parametrize("script", SCRIPTS)
def test_python(script: str, tools: Path) -> None:
    (tools / "python3").unlink()
    assert refused(script, tools) == "python3 is missing; on Debian: apt-get install python3 python3-venv"


def test_an_old_python(tools: Path) -> None:
    old = [python for python in pythons() if (3, 0) < version(python) < (3, 11)]
    if not old:
        pytest.skip("no Python older than 3.11 here")
    (tools / "python3").unlink()
    (tools / "python3").symlink_to(old[0])
    assert refused("build", tools) == (
        "Python 3.11 or newer is missing; on Debian: apt-get install python3 python3-venv"
    )


def test_virtual_environments(tools: Path, tmp_path: Path) -> None:
    """Debian's python3 comes without ensurepip: that is in python3-venv."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "ensurepip.py").write_text("raise ModuleNotFoundError('ensurepip')")
    line = refused("build", tools, PYTHONPATH=str(tmp_path / "lib"))
    assert line == "python3-venv is missing; on Debian: apt-get install python3-venv"
