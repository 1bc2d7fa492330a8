"""An upgrade puts a new file in the place of the old one while a node runs: it goes on, all its modules being loaded.

A zip is read by offsets that were noted at the start, so a module imported later would be read from the wrong place.
"""

from __future__ import annotations

import os
import signal
import sys
import zipfile
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECS

from .artifact import FILE, Command, copied, done, remember_and_recall, run, serving

CLIENT: Command = [sys.executable, "-I", FILE]
CARRIED = "carried.zip"


def shifted(place: Path) -> Path:
    """A file of the same modules, each in another place in it."""
    with zipfile.ZipFile(FILE) as old, zipfile.ZipFile(place, "w") as new:
        new.writestr("padding", os.urandom(5003))
        for entry in old.infolist():
            if entry.filename != CARRIED:
                new.writestr(entry, old.read(entry))
    return place


@pytest.mark.parametrize("tier", ["keyword", "semantic"])
def test_a_node_goes_on_when_its_file_is_replaced(tier: str, cache: Path, tmp_path: Path) -> None:
    file = copied(tmp_path)
    serve: Command = [sys.executable, "-I", file, "serve", "--tier", tier, "--cache-dir", cache]
    with serving([*serve, "--db", tmp_path / "a.db"]) as (node, url):
        os.replace(shifted(tmp_path / "new"), file)
        if tier == "semantic":
            assert remember_and_recall(CLIENT, url)["mode"] == "hybrid"
        done([*CLIENT, "push", "--to", url, "--title", "Rack", "--content", "seven lost power"])
        assert "Rack" in done([*CLIENT, "query", "--to", url, "--words", "power"])
        for command in ("stats", "namespaces", "status", "export"):
            assert done([*CLIENT, command, "--to", url])
        assert run([*CLIENT, "get", "--to", url, "nonesuch"]).returncode == 3
        node.send_signal(signal.SIGHUP)
        assert done([*CLIENT, "stats", "--to", url])
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_SECS) == 0
        assert node.stderr is not None
        assert "Traceback" not in node.stderr.read()
