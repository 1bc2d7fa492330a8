"""How SQLite goes about the reads that are made all the time: by which index, and without sorting."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from aimem.store.sqlite import feed, reading, schema, table


class Spy:
    """A connection that notes how each statement would be carried out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.plans: list[str] = []

    def execute(self, statement: str, values: object = ()) -> sqlite3.Cursor:
        steps = self._connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
        self.plans += [step[3] for step in steps]
        return self._connection.execute(statement, values)  # type: ignore[arg-type]


@pytest.fixture
def spy(tmp_path: Path) -> Spy:
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    schema.create(connection)
    connection.execute("INSERT INTO state VALUES (1, 'i', 'x', 0, 0, 0, x'')")
    return Spy(connection)


@pytest.mark.parametrize("kinds", [None, ("memory",), ("memory", "link")])
def test_a_page_of_the_feed_is_read_by_its_place_whatever_the_kinds(spy: Spy, kinds: tuple[str, ...] | None) -> None:
    """By kind it would read and sort all of them for every page: a quarter of a second at 100,000."""
    feed.changes(spy, 0, 10, 1_000, kinds)  # type: ignore[arg-type]
    assert any("record_seq" in plan for plan in spy.plans)
    assert not [plan for plan in spy.plans if "TEMP B-TREE" in plan or "record_key" in plan]


def test_what_few_rows_are_of_is_not_looked_for_in_all_others(spy: Spy) -> None:
    """Every start asks for votes and events: by their place it read a million rows, 5 s before the first recall."""
    spy.execute("UPDATE state SET head = 1000000")
    feed.changes(spy, 0, 10, 1_000, ("decision", "vote"))  # type: ignore[arg-type]
    assert [plan for plan in spy.plans if "record_key" in plan]
    assert not [plan for plan in spy.plans if "record_seq" in plan or plan == "SCAN record"]


def test_the_last_tombstone_is_looked_for_among_tombstones(spy: Spy) -> None:
    """Not among all rows, the latest first: where there is no tombstone that is every row of the store."""
    reading.last_tombstone(spy, 1)  # type: ignore[arg-type]
    assert any("record_stored" in plan for plan in spy.plans)
    assert not [plan for plan in spy.plans if "record_seq" in plan]


def test_touches_of_many_memories_are_found_by_key(spy: Spy) -> None:
    table.touches_of_all(spy, ["a", "b"])  # type: ignore[arg-type]
    assert any("record_key" in plan and "key>" in plan for plan in spy.plans)
