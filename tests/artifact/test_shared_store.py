"""The file as a node on a shared store, under every Python that it carries native parts for: with its own libpq, and
writing to its cache directory alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECS

from .artifact import ANSWER, FILE, MEMORIES, QUESTION, Command, done, pythons, serving, version


def open_for_writing(process: int) -> set[str]:
    """The files of a file system that a process can write to at this moment."""
    found = set()
    for place in Path(f"/proc/{process}/fd").iterdir():
        name = os.readlink(place)
        flags = int(Path(f"/proc/{process}/fdinfo/{place.name}").read_text().split("flags:")[1].split()[0], 8)
        if name.endswith(" (deleted)") or not name.startswith("/") or name.startswith("/dev/"):
            continue  # libffi maps a file without a name for its trampolines
        if flags & (os.O_WRONLY | os.O_RDWR):
            found.add(name)
    return found


@pytest.mark.parametrize("python", [each for each in pythons() if (3, 11) <= version(each) <= (3, 13)], ids=str)
def test_memories_are_kept_in_postgres_and_found_by_meaning(
    python: Path, cache: Path, tmp_path: Path, database: Callable[[], str]
) -> None:
    program: Command = [python, "-I", FILE]
    node: Command = [*program, "serve", "--config", "", "--store-url", database(), "--cache-dir", cache]
    with serving(node, {"HOME": str(tmp_path)}, cwd=tmp_path) as (process, url):
        client = {"AIMEM_CACHE_DIR": str(cache)}
        rows = "".join(f"{json.dumps(memory)}\n" for memory in MEMORIES)
        done([*program, "push", "--to", url, "--jsonl", "-"], client, input=rows)
        done([*program, "status", "--to", url, "--wait-embedded", f"{PATIENCE_SECS:.0f}"], client)
        reply = json.loads(done([*program, "query", "--to", url, "--json", QUESTION], client))
        assert reply["memories"][0]["title"] == ANSWER
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        used = {line.split()[-1] for line in maps.splitlines() if "libpq" in line}
        assert used
        assert all(place.startswith(f"{cache}/") for place in used)
        assert {name for name in open_for_writing(process.pid) if not name.startswith(f"{cache}/")} == set()
    assert list(tmp_path.iterdir()) == []
