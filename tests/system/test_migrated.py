"""A node on what was migrated answers reads as the old program would: each is held against the rows of its database.

122 of the 197 memories there expire within days of its making, so what must be seen is computed from the source for
the moment of the question. Nothing is collected meanwhile: the grace is longer than the test.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aimem.core.timestamp import format_timestamp, parse_timestamp
from tests.http.processes import ROOT, call, serving

SOURCE = ROOT / "tests" / "data" / "v063.db"
HOUR = 3600 * 10**9

Row = dict[str, Any]


class Old:
    """The source's rows, in the shapes in which the old program showed them."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(f"{SOURCE.as_uri()}?mode=ro&immutable=1", uri=True)
        self._database.row_factory = sqlite3.Row
        self.memories = [_shown(row) for row in self.rows("SELECT * FROM memories")]
        self.archive = [_shown(row) for row in self.rows("SELECT * FROM archived_memories")]

    def rows(self, query: str, *values: object) -> list[Row]:
        """The rows of a query, without its NULLs."""
        found = self._database.execute(query, values)
        return [{name: row[name] for name in row.keys() if row[name] is not None} for row in found]  # noqa: SIM118

    def live(self, now: int) -> list[Row]:
        """What a caller sees at `now` (ns)."""
        return [row for row in self.memories if _end(row) is None or _end(row) > now]

    def matching(self, words: str, tokenizer: str) -> set[str]:
        """Ids of the memories, expired ones too, that hold all words, in an FTS5 index with that tokenizer."""
        index = sqlite3.connect(":memory:")
        index.execute(
            f"CREATE VIRTUAL TABLE words USING fts5(id UNINDEXED, title, content, tags, tokenize='{tokenizer}')"
        )
        rows = self.rows("SELECT id, title, content, tags FROM memories")
        index.executemany("INSERT INTO words VALUES (:id, :title, :content, :tags)", rows)
        query = " ".join(f'"{word}"' for word in words.split())
        found = {memory_id for (memory_id,) in index.execute("SELECT id FROM words WHERE words MATCH ?", (query,))}
        index.close()
        return found


def _end(row: Row) -> Any:
    return parse_timestamp(row["expires_at"]) if "expires_at" in row else None


def _shown(row: Row) -> Row:
    for name in ("embedding", "scope_idx", "agent_id_idx"):
        row.pop(name, None)
    if "expires_at" in row:  # kept as its caller wrote it there, shown as UTC here
        row["expires_at"] = format_timestamp(parse_timestamp(row["expires_at"]))
    return {**row, "tags": json.loads(row["tags"]), "metadata": json.loads(row["metadata"])}


@pytest.fixture(scope="module")
def old() -> Old:
    return Old()


@pytest.fixture(scope="module")
def get(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """A reader of the node that serves the migrated database."""
    target = tmp_path_factory.mktemp("migrated") / "aimem.db"
    line = [sys.executable, "-m", "aimem", "migrate", "--from", str(SOURCE), "--to", str(target)]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)
    with serving("--db", str(target), "--collect-grace-secs", "1000000000") as (_, port):

        def read(path: str, status: int = 200, **query: object) -> Any:
            reply = call(port, "GET", f"{path}?{urllib.parse.urlencode(query)}" if query else path)
            assert reply.status == status, reply.body
            return json.loads(reply.body)

        yield read


def settled(old: Old, ask: Callable[[], Any]) -> tuple[Any, list[Row], list[Row]]:
    """An answer, what was live when it was given, and an hour on: nothing ended while it was asked."""

    def seen() -> tuple[list[Row], list[Row]]:
        now = time.time_ns()
        return old.live(now), old.live(now + HOUR)

    before = seen()
    while True:
        answer = ask()
        if before == (before := seen()):
            return answer, *before


def by_id(rows: list[Row]) -> dict[str, Row]:
    """Rows without what only this store knows, and without nulls."""
    return {
        row["id"]: {name: value for name, value in row.items() if name != "version" and value is not None}
        for row in rows
    }


FILTERS: dict[str, tuple[dict[str, object], Callable[[Row], bool]]] = {
    "all": ({}, lambda row: True),
    "namespace": ({"namespace": "team_x/unit%1"}, lambda row: bool(row["namespace"] == "team_x/unit%1")),
    "tier": ({"tier": "long"}, lambda row: bool(row["tier"] == "long")),
    "priority": ({"min_priority": 7}, lambda row: bool(row["priority"] >= 7)),
    "author": ({"agent_id": "ai:mara"}, lambda row: row["metadata"].get("agent_id") == "ai:mara"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_list_has_the_live_rows_as_they_were_in_their_order(get: Callable[..., Any], old: Old, name: str) -> None:
    query, fits = FILTERS[name]
    answer, live, _ = settled(old, lambda: get("/memories", limit=1000, **query))
    expected = [row for row in live if fits(row)]
    assert expected
    assert by_id(answer["memories"]) == by_id(expected)
    order = [(-row["priority"], -parse_timestamp(row["updated_at"])) for row in answer["memories"]]
    assert order == sorted(order)


def test_every_live_memory_is_got_with_its_links(get: Callable[..., Any], old: Old) -> None:
    for row in old.live(time.time_ns() + HOUR):
        answer = get(f"/memories/{urllib.parse.quote(row['id'], safe='')}")
        assert by_id([answer["memory"]]) == by_id([row])
        assert _links(answer["links"]) == _links_of(old, row["id"])


def test_links_are_those_of_the_source(get: Callable[..., Any], old: Old) -> None:
    linked = [row["id"] for row in old.live(time.time_ns() + HOUR) if _links_of(old, row["id"])]
    assert linked
    for memory_id in linked:
        links = get(f"/links/{urllib.parse.quote(memory_id, safe='')}")["links"]
        assert _links(links) == _links_of(old, memory_id)


def _links(rows: list[Row]) -> Counter[tuple[str, ...]]:
    return Counter((row["source_id"], row["target_id"], row["relation"], row["created_at"]) for row in rows)


def _links_of(old: Old, memory_id: str) -> Counter[tuple[str, ...]]:
    query = "SELECT source_id, target_id, relation, created_at FROM memory_links WHERE ? IN (source_id, target_id)"
    return _links(old.rows(query, memory_id))


@pytest.mark.parametrize("words", ["harbour", "rack", "harbour pump", "nowhere-to-be-found"])
def test_a_search_finds_what_the_old_one_found_and_other_forms_of_the_words(
    get: Callable[..., Any], old: Old, words: str
) -> None:
    answer, live, _ = settled(old, lambda: get("/search", q=words, limit=1000))
    as_before, by_stem = old.matching(words, "unicode61"), old.matching(words, "porter unicode61")
    assert as_before <= by_stem
    assert by_id(answer["results"]) == by_id([row for row in live if row["id"] in by_stem])


def test_the_archive_is_that_of_the_source(get: Callable[..., Any], old: Old) -> None:
    assert old.archive
    assert by_id(get("/archive", limit=1000)["archived"]) == by_id(old.archive)
    figures = get("/archive/stats")
    assert figures["archived_total"] == len(old.archive)
    assert _counts(figures["by_namespace"], "namespace") == Counter(row["namespace"] for row in old.archive)


def test_figures_are_those_of_the_live_rows(get: Callable[..., Any], old: Old) -> None:
    figures, live, in_an_hour = settled(old, lambda: get("/stats"))
    assert figures["total"] == len(live)
    for field in ("tier", "namespace"):
        assert _counts(figures[f"by_{field}"], field) == Counter(row[field] for row in live)
    assert _counts(get("/namespaces")["namespaces"], "namespace") == Counter(row["namespace"] for row in live)
    assert figures["expiring_soon"] == len(live) - len(in_an_hour)
    assert figures["links_count"] == len(old.rows("SELECT * FROM memory_links"))


def _counts(rows: list[Row], name: str) -> Counter[str]:
    return Counter({row[name]: row["count"] for row in rows})
