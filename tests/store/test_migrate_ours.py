"""`aimem migrate` from our own files: killed, beside a writer, twice, into what is used already."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from aimem.cli.main import main
from aimem.store.sqlite import opening
from aimem.store.sqlite.store import open_sqlite
from tests.store.conftest import storing
from tests.store.old_database import REAL
from tests.waiting import PATIENCE_SECS, eventually

ROWS = 16_001  # five pages of a feed
_WRITER = """
import asyncio, sys
from aimem.store.sqlite.store import open_sqlite
from tests.store.conftest import storing
async def run():
    store = await open_sqlite(sys.argv[1])
    number = 0
    print("ready", flush=True)
    while True:
        await store.write([storing(f"{number} {each}") for each in range(10)])
        number += 1
asyncio.run(run())
"""


def run(*args: object) -> int:
    return main(["migrate", *map(str, args)])


def fill(path: Path, *titles: str) -> str:
    """A file with memories of these titles; its digest."""

    async def go() -> str:
        store = await open_sqlite(path)
        try:
            for at in range(0, len(titles), 1_000):
                await store.write([storing(title) for title in titles[at : at + 1_000]])
            return store.digest.root()
        finally:
            await store.close()

    return asyncio.run(go())


def digest_of(path: Path) -> str:
    """The digest of a file that is whole in itself."""

    async def go() -> str:
        store = await open_sqlite(path)
        try:
            assert await store.check() == []
            return store.digest.root()
        finally:
            await store.close()

    return asyncio.run(go())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of ours with many memories, and its digest."""
    path = tmp_path_factory.mktemp("large") / "large.db"
    return path, fill(path, *(f"memory {number}" for number in range(ROWS)))


def test_there_and_back_it_is_the_same_and_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, two, three = (tmp_path / f"{name}.db" for name in ("one", "two", "three"))
    assert run("--from", REAL, "--to", one) == 0
    source = one.read_bytes(), one.stat().st_mtime_ns
    assert run("--from", one, "--to", f"sqlite:{two}") == 0
    assert run("--from", f"sqlite://{two}", "--to", three) == 0
    assert capfd.readouterr() == ("", "")
    assert (one.read_bytes(), one.stat().st_mtime_ns) == source
    assert digest_of(one) == digest_of(two) == digest_of(three)


def has_rows(path: Path, table: str) -> bool:
    """Whether a table of a file that somebody writes has rows; not while there is no such file, or table."""
    found = None
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
    ):
        found = connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
    return found is not None


def test_one_that_is_killed_goes_on(tmp_path: Path, large: tuple[Path, str]) -> None:
    source, digest = large
    target = tmp_path / "x.db"
    command = [sys.executable, "-m", "aimem", "migrate", "--from", str(source), "--to", str(target), "--json"]
    for begun in ("record", "progress WHERE name LIKE 'moved/%'"):  # a page is taken in; it is noted how far that went
        process = subprocess.Popen([*command, "--verify"], stdout=subprocess.PIPE, start_new_session=True)
        eventually(partial(has_rows, target, begun))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = subprocess.run([*command, "--verify"], stdout=subprocess.PIPE, check=True, timeout=PATIENCE_SECS)
    report = json.loads(done.stdout)
    assert report["digest"] == digest == digest_of(target)
    assert all(each["missing"] == 0 for each in report["verified"])
    assert 0 < report["kinds"]["memories"]["read"] < ROWS  # it went on, and did not begin anew
    assert sorted(each.name for each in tmp_path.glob("x.db*")) == ["x.db", "x.db.lock"]


def test_beside_a_node_that_writes(tmp_path: Path) -> None:
    """Each copy is a committed state of the source: whole groups of ten, in the order in which they were written."""
    source, target = tmp_path / "live" / "aimem.db", tmp_path / "x.db"
    source.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", _WRITER, source], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            names = {each.name for each in source.parent.iterdir()}
            seen = []
            for _ in range(3):
                assert run("--from", source, "--to", target) == 0
                seen.append(asyncio.run(titles_of(target)))
            assert writer.poll() is None
            assert {each.name for each in source.parent.iterdir()} == names
        finally:
            writer.kill()
            writer.wait()
    for titles in seen:
        groups = {title.split()[0] for title in titles}
        assert len(titles) == 10 * len(groups)
        assert groups == {str(number) for number in range(len(groups))}
    assert run("--from", source, "--to", target, "--verify") == 0
    assert digest_of(source) == digest_of(target)


async def titles_of(path: Path) -> list[str]:
    store = await open_sqlite(path)
    try:
        return [record.body["title"] async for batch in store.scan("memory") for _, record in batch]
    finally:
        await store.close()


def test_ours_and_the_old_programs_become_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "ours.db", "mine")
    assert run("--from", REAL, "--from", tmp_path / "ours.db", "--to", tmp_path / "x.db", "--json", "--verify") == 0
    report = json.loads(capfd.readouterr().out)
    assert report["kinds"]["memories"]["written"] == 198
    assert [source["path"] for source in report["sources"]] == [str(REAL), str(tmp_path / "ours.db")]
    assert run("--from", tmp_path / "ours.db", "--from", REAL, "--to", tmp_path / "y.db") == 0
    assert digest_of(tmp_path / "x.db") == digest_of(tmp_path / "y.db") == report["digest"]


def test_a_used_target_is_refused_unless_merged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a.db", "a")
    digest = fill(tmp_path / "b.db", "b")
    assert run("--from", tmp_path / "a.db", "--to", tmp_path / "b.db") == 4
    assert "--merge" in capfd.readouterr().err
    assert digest_of(tmp_path / "b.db") == digest
    assert run("--from", tmp_path / "a.db", "--to", tmp_path / "b.db", "--merge") == 0
    assert sorted(asyncio.run(titles_of(tmp_path / "b.db"))) == ["a", "b"]


def test_a_held_target_is_for_later(tmp_path: Path) -> None:
    fill(tmp_path / "a.db", "a")
    with contextlib.closing(_Lock(tmp_path / "b.db")):
        assert run("--from", tmp_path / "a.db", "--to", tmp_path / "b.db") == 75
    assert run("--from", tmp_path / "a.db", "--to", tmp_path / "b.db") == 0


class _Lock:
    def __init__(self, path: Path) -> None:
        import os

        self._handle, self._close = opening.lock(path), os.close

    def close(self) -> None:
        self._close(self._handle)


def test_a_dry_run_counts_and_makes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a.db", "a", "b")
    assert run("--from", tmp_path / "a.db", "--to", tmp_path / "b.db", "--dry-run") == 0
    assert "memories\t2\t2\t0\t0" in capfd.readouterr().out.replace("written", "")
    assert not (tmp_path / "b.db").exists()


@pytest.mark.parametrize("name", ["mysql", "ftp"])
def test_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    assert run("--from", tmp_path / "a.db", "--to", f"{name}://somewhere/x") == 2


@pytest.fixture(autouse=True)
def _garbage() -> Iterator[None]:
    """The command changes how often garbage is collected."""
    import gc

    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
