"""Actions that wait for a decision of stores that are moved away from: finished where it was on its way, else parked
anew, and left alone where too few of their electors are there to say so."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aimem.core.consensus import ACCEPT, PROMISE, Ballot, elect
from aimem.core.kinds import DECISION, MEMORY, PENDING
from aimem.core.record import Record, Ref, to_wire
from aimem.core.upkeep import receive
from aimem.core.version import Version
from aimem.store.base import Store
from aimem.store.moving.opening import opened_store
from aimem.store.sqlite.store import open_sqlite
from tests.store.conftest import NOW, elsewhere, written
from tests.store.test_migrate_ours import run

NAMES = ("a", "b", "c")
VALUE = {"decided_by": "human:b", "decided_at": NOW, "version": str(Version(NOW, "d" * 16))}


def waiting(key: str, electors: list[str]) -> Record:
    version = Version(NOW, "e" * 16)
    body = {"action": "store", "namespace": "notes", "payload": {}, "requested_by": "ai:a", "requested_at": NOW}
    body |= {"approver": "human", "electors": electors, "records": []}
    return Record.make(PENDING, key, version, version, body)


def approved(title: str) -> dict[str, Any]:
    return {**VALUE, "outcome": "approved", "records": [to_wire(elsewhere(title, title, NOW))]}


@contextlib.asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[list[Store]]:
    """Three stores that know of three actions: one that two have accepted a value for, one that one has accepted after
    a second had promised, and one that nobody was asked about."""
    async with contextlib.AsyncExitStack() as stack:
        stores: list[Store] = []
        for name in NAMES:
            stores.append(await open_sqlite(folder / f"{name}.db"))
            stack.push_async_callback(stores[-1].close)
        electors = [store.incarnation for store in stores]
        actions = [waiting(key, electors) for key in ("agreed", "begun", "untouched")]
        for store in stores:
            await written(store, *(receive(each) for each in actions))
        first, second = Ballot(1, "b" * 16), Ballot(2, "c" * 16)
        for store in stores[:2]:
            await written(store, elect("agreed", ACCEPT, first, approved("agreed")))
        await written(stores[0], elect("begun", ACCEPT, first, approved("of the first")))
        await written(stores[1], elect("begun", ACCEPT, second, approved("of the second")))
        await written(stores[2], elect("begun", PROMISE, second))
        yield stores


@pytest.fixture(params=["file", "shared store"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "shared store":
        url: str = request.getfixturevalue("database")()
        return url
    return str(tmp_path / "new.db")


def made(folder: Path) -> list[str]:
    async def go() -> None:
        async with fleet(folder):
            pass

    asyncio.run(go())
    return [word for name in NAMES for word in ("--from", str(folder / f"{name}.db"))]


def ends(target: str) -> dict[str, Record | None]:
    """The decision of each action, and the actions that were parked anew under the key of the first."""

    async def go() -> dict[str, Record | None]:
        async with opened_store(target) as store:
            keys = ("agreed", "begun", "untouched")
            found = dict(zip(keys, await store.get([Ref(DECISION, key) for key in keys]), strict=True))
            async for batch in store.scan(PENDING):
                for _, record in batch:
                    if first := record.body.get("reopened_from"):
                        assert record.body["electors"] == [store.incarnation]
                        found[f"again {first}"] = record
            async for batch in store.scan(MEMORY):
                found |= {f"memory {record.key}": record for _, record in batch}
            return found

    return asyncio.run(go())


def test_what_was_on_its_way_is_finished_and_the_rest_parked_anew(
    tmp_path: Path, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    sources = made(tmp_path)
    assert run(*sources, "--to", target) == 0
    assert not any(ends(target).values()), "its nodes may run on: nothing is decided for them"
    assert run(*sources, "--to", target, "--retired", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert len(told["repaired"]) == 3
    found = ends(target)
    assert {key: each.body["outcome"] for key, each in found.items() if each and each.kind == DECISION} == {
        "agreed": "approved",
        "begun": "approved",
        "untouched": "reopened",
    }
    assert {key for key in found if " " in key} == {"memory agreed", "memory of the second", "again untouched"}
    assert run(*sources, "--to", target, "--retired") == 0  # again it changes nothing
    assert ends(target) == found


def test_without_most_of_the_electors_an_action_is_left_as_it_is(
    tmp_path: Path, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    sources = made(tmp_path)
    assert run(*sources[:2], "--to", target, "--retired", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert len(told["not_taken"]) == 3
    assert all("name their stores too" in note["what"] for note in told["not_taken"])
    assert not any(ends(target).values())
    assert run(*sources[:4], "--to", target, "--retired") == 0  # two of three
    assert len([each for each in ends(target).values() if each and each.kind == DECISION]) == 3
