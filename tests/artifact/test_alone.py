"""The file needs no environment, network, home, privilege or package of its surroundings, and recalls by meaning.

The place is a real one: a network without a way out, a home mounted read-only, the user `nobody`, a name with spaces.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .artifact import Command, copied, done, remember_and_recall, run, serving

NOBODY = 65534
_ISOLATED = ("unshare", "--net", "--mount")
_AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")
_PREPARED = 'ip link set lo up && mount -t tmpfs -o ro none "$1" && mount -t tmpfs none /var/tmp && chmod 1777 /var/tmp'


@dataclass
class Place:
    """A file that nobody owns the folder of, and a home that can't be written."""

    folder: Path
    file: Path
    home: Path
    python: str


@pytest.fixture
def place() -> Iterator[Place]:
    python = shutil.which("python3.11", path="/usr/bin:/bin") or shutil.which("python3", path="/usr/bin:/bin")
    if python is None or run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode:
        pytest.skip("the system has no Python 3.11 or newer that every user may run")
    try:
        subprocess.run([*_ISOLATED, "true"], check=True, capture_output=True)
        subprocess.run([*_AS_NOBODY, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no right to make namespaces or to become another user: {error}")
    folder = Path(tempfile.mkdtemp(prefix="aimem test "))  # not in tmp_path: that is closed to other users
    folder.chmod(0o755)
    (folder / "a home").mkdir()
    (folder / "state").mkdir()
    shutil.chown(folder / "state", NOBODY, NOBODY)
    yield Place(folder, copied(folder / "bin with spaces"), folder / "a home", python)
    shutil.rmtree(folder)


def test_it_runs_alone(place: Place) -> None:
    serve: Command = [
        *(*_ISOLATED, "sh", "-c", f'{_PREPARED} && shift && exec "$@"', "sh", place.home),
        *(*_AS_NOBODY, "env", "-i", f"HOME={place.home}", place.python, "-I", place.file),
        *("serve", "--db", place.folder / "state" / "a b.db"),
    ]
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # for the tools around it; `env -i` takes it from the file
    with serving(serve, path) as (node, url):
        inside: Command = ["nsenter", f"--target={node.pid}", "--net", "--mount", *_AS_NOBODY, "env", "-i"]
        reply = remember_and_recall([*inside, place.python, "-I", place.file], url, path)
        assert reply["mode"] == "hybrid"
        assert done([*inside, place.file, "get", "--to", url, reply["memories"][0]["id"]], path)  # by its first line
        unpacked = done(
            [*inside[:-2], "find", f"/var/tmp/aimem-{NOBODY}", "-maxdepth", "1", "-printf", "%m %f\n"], path
        )
        routes = done([*inside, "ip", "route"], path)
    assert f"700 aimem-{NOBODY}\n" in unpacked
    assert len(unpacked.splitlines()) == 3
    assert not routes.strip()
    assert not list(place.home.iterdir())
