"""`aimem migrate --verify` of the existing system's databases: all is looked for, and what is missing is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from aimem.core import writes
from aimem.core.intent import Intent
from aimem.core.kinds import LINK
from aimem.core.legacy.taking import take_new
from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp
from aimem.store.base import Store
from aimem.store.migrate import running
from aimem.store.moving.opening import opened_files
from aimem.store.moving.verifying import verify_old
from tests.store.old_database import NOW, REAL, SECOND, OldDatabase, into, migrated
from tests.store.test_migrate_ours import run

EARLY, LATE = NOW - 900 * SECOND, NOW - 800 * SECOND


def rows_of(report: dict[str, object], count: str) -> dict[str, int]:
    """What was found of each kind."""
    assert isinstance(report["verified"], list)
    return {each["kind"]: each[count] for each in report["verified"]}


@pytest.mark.parametrize("shared", [False, True])
def test_all_that_was_taken_is_found(
    tmp_path: Path, database: Callable[[], str], capfd: pytest.CaptureFixture[str], shared: bool
) -> None:
    target = database() if shared else tmp_path / "x.db"
    for _ in range(2):
        assert run("--from", REAL, "--to", target, "--verify", "--json") == 0
        report = json.loads(capfd.readouterr().out)
        taken = {kind: count["read"] for kind, count in report["kinds"].items() if count["read"]}
        for part in ("entities", "messages"):  # counted as memories too
            del taken[part]
        assert rows_of(report, "equal") == taken
        assert {each["source"] for each in report["verified"]} == {str(REAL)}


def test_what_was_lost_on_the_way_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def losing(records: Sequence[Record]) -> Intent:
        return take_new([each for each in records if each.kind != LINK])

    monkeypatch.setattr(running, "take_new", losing)
    assert run("--from", REAL, "--to", tmp_path / "x.db", "--verify", "--json") == 8
    report = json.loads(capfd.readouterr().out)
    missing = {kind: count for kind, count in rows_of(report, "missing").items() if count}
    assert missing == {"links": report["kinds"]["links"]["read"]}
    (links,) = (each for each in report["verified"] if each["kind"] == "links")
    assert len(links["keys"]) == missing["links"]


async def found_in(store: Store, beside: Path, *paths: Path, now: int) -> tuple[list[str], int]:
    """Of which kinds records are newer here, and how many are missing."""
    with opened_files(paths, beside) as sources:
        found = await verify_old(sources.old, store, now)
    return sorted(each.kind for each in found if each.newer), sum(each.missing for each in found)


async def test_files_that_diverged_and_rows_of_the_future(tmp_path: Path) -> None:
    one, other, stamp = tmp_path / "one.db", tmp_path / "other.db", NOW + 3_600 * SECOND
    with OldDatabase(one) as a, OldDatabase(other) as b:
        a.memory("edited", EARLY, author="ai:x", content="early", access_count=9, tier="mid")
        b.memory("edited", LATE, author="ai:y", content="late", tier="short")
        a.memory("ahead", stamp, created_at=format_timestamp(stamp))
        b.archived("edited too", LATE, archive_reason="archive")
        a.memory("edited too", EARLY)
    async with migrated(tmp_path / "x.db", one, other) as (store, _):
        assert await found_in(store, tmp_path / "x.db", one, other, now=NOW) == ([], 0)
        assert await found_in(store, tmp_path / "x.db", one, now=NOW) == (
            ["accesses", "memories"],
            0,
        )  # as the other file has them
        assert await found_in(store, tmp_path / "x.db", one, other, now=stamp + SECOND) == ([], 0)
        await store.write([writes.update("edited", {"content": "later"})])
        assert await found_in(store, tmp_path / "x.db", one, other, now=NOW) == (["memories"], 0)
        assert (await into(store, [one, other])).kinds["memories"].written == 0
