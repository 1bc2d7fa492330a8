"""Two builds of one commit are the same bytes, whoever makes them, wherever and whenever; and a build says its size.

Downloads and the environment are shared with this checkout; model, bytecode, compression and zip are made anew.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .artifact import ROOT

Builds = list[tuple[Path, str]]

# Folder, umask, file times, and what is special in the environment.
SURROUNDINGS: list[tuple[str, int, float, dict[str, str]]] = [
    ("one", 0o077, 1e9, {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8"}),
    ("another place", 0o022, 2e9, {"TZ": "America/New_York", "PYTHONHASHSEED": "2", "LC_ALL": "C", "PYTHONUTF8": "0"}),
]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    """The files built from two clones at once, and what the builds said."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    running = [
        _start(tmp_path_factory.mktemp("clones") / where, umask, touched, env)
        for where, umask, touched, env in SURROUNDINGS
    ]
    said = [process.communicate()[0] for _, process in running]
    for (_, process), output in zip(running, said, strict=True):
        assert process.returncode == 0, output
    return [(clone / "dist" / "aimem", output) for (clone, _), output in zip(running, said, strict=True)]


def _start(clone: Path, umask: int, touched: float, env: dict[str, str]) -> tuple[Path, subprocess.Popen[str]]:
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True, umask=umask)
    (clone / "build").mkdir()
    for shared in ("venv", "wheels"):
        (clone / "build" / shared).symlink_to(ROOT / "build" / shared)
    for path in clone.rglob("*"):
        os.utime(path, (touched, touched), follow_symlinks=False)
    process = subprocess.Popen(
        [clone / "scripts" / "build"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=umask,
        env={**os.environ, **env},
    )
    return clone, process


def test_two_builds_of_one_commit_are_the_same_bytes(builds: Builds) -> None:
    (one, _), (other, _) = builds
    assert one.read_bytes() == other.read_bytes()
    assert os.access(one, os.X_OK)
    assert os.access(other, os.X_OK)


def test_a_build_says_how_large_the_file_is_and_what_takes_the_room(builds: Builds) -> None:
    file, said = builds[0]
    lines = [line.strip() for line in said.splitlines()]
    assert f"dist/aimem: {file.stat().st_size / 2**20:.1f} MiB" in lines
    sizes = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines}
    natives = {f"native-cpython-{version}-x86_64" for version in ("3.11", "3.12", "3.13")}
    assert {*natives, "model"} < set(sizes)
    for part in (*natives, "model"):
        packed, whole = (float(words.split()[0]) for words in sizes[part].split(", "))
        assert 0 < packed < whole
