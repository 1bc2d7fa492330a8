"""The clock of a serving node is set a day ahead and back again, as its clients see it.

What must become of memories whose life ended by the wrong clock: from reads they are gone at once, and they are there
again when the clock is right, as long as nothing ended them meanwhile. What was collected meanwhile is in the archive
and stays there: one node can't know that its clock was wrong, and the others may have heard of it. It is lost to
nobody, for it can be restored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.processes import call, serving

DAY = 86_400 * 10**9
LONG = ("one", "two", "three")


class Misled:
    """A node whose clock can be set."""

    def __init__(self, port: int, wrong_by: Path) -> None:
        self._port = port
        self._wrong_by = wrong_by

    def set_clock(self, ahead: int) -> None:
        """From now on the node's clock is `ahead` ns ahead."""
        fresh = self._wrong_by.with_suffix(".new")
        fresh.write_text(str(ahead))
        os.replace(fresh, self._wrong_by)  # the node finds the old number or the new one, never half of one

    def ask(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        reply = call(self._port, method, path, body)
        assert reply.status == status, reply.body
        return reply.json()

    def store(self, title: str, content: str, **more: object) -> Any:
        return self.ask("POST", "/memories", {"title": title, "content": content, **more}, status=201)

    def titles(self) -> set[str]:
        return {memory["title"] for memory in self.ask("GET", "/memories?limit=100")["memories"]}

    def content(self, memory_id: str) -> str:
        text: str = self.ask("GET", f"/memories/{memory_id}")["memory"]["content"]
        return text


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Misled]:
    wrong_by = tmp_path / "wrong_by"
    wrong_by.write_text("0")
    program = ("tests.system.misled", str(wrong_by))
    flags = (
        "--db",
        str(tmp_path / "a.db"),
        "--collect-grace-secs",
        str(10**9),
    )  # nothing is ended behind a test's back
    with serving(*flags, program=program) as (_, port):
        yield Misled(port, wrong_by)


def test_writes_win_and_nothing_is_lost_whichever_way_the_clock_is_set(node: Misled) -> None:
    ids = {title: node.store(title, "before", tier="long")["id"] for title in LONG}
    versions = [node.store("clock", "before", tier="long")["version"]]
    for ahead in (DAY, 0):
        node.set_clock(ahead)
        stored = node.store("clock", f"stored {ahead}", tier="long")
        versions.append(stored["version"])
        assert node.content(stored["id"]) == f"stored {ahead}"
        changed = node.ask("PUT", f"/memories/{ids['one']}", {"content": f"updated {ahead}"})
        versions.append(changed["version"])
        assert node.content(ids["one"]) == f"updated {ahead}"
        assert node.titles() == {*LONG, "clock"}
        assert node.ask("GET", "/health")["status"] == "ok"
    assert versions == sorted(set(versions))
    gone = node.ask("DELETE", f"/memories/{ids['two']}")
    assert gone["deleted"] is True
    assert node.titles() == {"one", "three", "clock"}
    assert node.store("two", "anew", tier="long")["id"] == ids["two"]
    assert node.content(ids["two"]) == "anew"


def test_what_expired_by_the_wrong_clock_is_there_again_when_nothing_ended_it(node: Misled) -> None:
    node.store("short", "x", tier="short")
    node.store("long", "x", tier="long")
    node.set_clock(DAY)
    assert node.titles() == {"long"}
    node.set_clock(0)
    assert node.titles() == {"long", "short"}


def test_what_was_collected_by_the_wrong_clock_can_be_restored(node: Misled) -> None:
    short = node.store("short", "x", tier="short")["id"]
    node.store("long", "x", tier="long")
    node.set_clock(DAY)
    assert node.ask("POST", "/gc")["expired_deleted"] == 1
    node.set_clock(0)
    assert node.titles() == {"long"}
    assert [row["id"] for row in node.ask("GET", "/archive")["archived"]] == [short]
    node.ask("POST", f"/archive/{short}/restore")
    assert node.titles() == {"long", "short"}
    assert node.content(short) == "x"
