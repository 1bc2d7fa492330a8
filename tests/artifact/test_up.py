"""`scripts/up` tells its whole story, on files and on a PostgreSQL that it starts itself, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.postgres_fixtures import skip_without_binaries
from tests.waiting import PATIENCE_SECS

from .artifact import ROOT

_TEXTS = 40  # too few for its questions: what is tested is the way there


@pytest.mark.parametrize("store", ["files", "postgres"])
def test_the_story_comes_true(store: str, cache: Path) -> None:
    if store == "postgres":
        skip_without_binaries()
    with TemporaryDirectory(prefix="up-") as folder:
        os.chmod(folder, 0o755)  # the server runs as another user
        done = subprocess.run(
            [ROOT / "scripts" / "up", "--store", store, "--limit", str(_TEXTS)],
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": folder, "AIMEM_CACHE_DIR": str(cache)},
            timeout=4 * PATIENCE_SECS,
        )
        assert os.listdir(folder) == []
    shared = store == "postgres"
    held = "read by two nodes in the one store" if shared else "on two disks"
    story = [
        *(["Starting a PostgreSQL with pgvector."] if shared else []),
        f"1. {_TEXTS} documentation strings",
        f"{_TEXTS * 9 // 10} stored through one, each {held} when it was acknowledged",
        "2. Node three is killed",
        f"{_TEXTS - _TEXTS * 9 // 10} stored through one, each {held} when it was acknowledged",
        "Node two has them all",
        "4. 10 questions",
        "[hybrid,",
        f"5. Node three comes back, and {'finds' if shared else 'fetches'} what it missed.",
        "aimem fleet: 3 nodes hold the same",
        "refused the certificate in",
        "The nodes were ended.",
    ]
    assert re.search(".*".join(map(re.escape, story)), done.stdout, re.DOTALL), done.stdout + done.stderr
    (found,) = re.findall(r"(\d+) of 10 found among the first 5 \(7 are needed\)", done.stdout)
    assert done.returncode == (0 if int(found) >= 7 else 1), done.stderr
