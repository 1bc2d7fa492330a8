"""Which rows SQLite ranks for a question when more hold its words than may be ranked."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aimem.core.text import match_any
from aimem.store import terms
from aimem.store.base import Filter, Words
from aimem.store.sqlite import lexical, schema
from aimem.store.sqlite.store import SqliteStore, open_sqlite
from tests.store.conftest import HOUR, NOW, Clock, Ids, creating, written

TERMS = (("red",), ("boat",), ("harbour",), ("rope",), ("sail",))


@pytest.fixture(autouse=True)
def small_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "MATCH_ROWS_BUDGET", 60)
    monkeypatch.setattr(terms, "RANKED_ROWS_BUDGET", 5)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Forty memories about red things, each longer than the one before."""
    opened = await open_sqlite(tmp_path / "a.db", now=Clock(), rand=Ids())
    words = ("x " * number for number in range(1, 41))
    await written(opened, *(creating(f"red {number}", content=text) for number, text in enumerate(words)))
    yield opened
    await opened.close()


async def titles(store: SqliteStore, *words: str, limit: int = 3, now: int = NOW) -> list[str]:
    hits = await store.match(Words(tuple((word,) for word in words)), Filter(now), limit)
    found = await store.by_rows([hit.row for hit in hits])
    return [memory.record.body["title"] for memory in found if memory]


@pytest.mark.parametrize("count", range(1, len(TERMS) + 1))
def test_two_of_the_terms_are_asked_for_whichever_they_are(count: int) -> None:
    connection = sqlite3.connect(":memory:")
    schema.create(connection)
    held = [some for size in range(count + 1) for some in itertools.combinations(TERMS[:count], size)]
    for row, some in enumerate(held):
        connection.execute(
            "INSERT INTO words (rowid, content) VALUES (?, ?)", (row, " ".join(word for (word,) in some))
        )
    pairs = terms.halves(TERMS[:count])
    asked = " OR ".join(f"(({match_any(left)}) AND ({match_any(right)}))" for left, right in pairs) or match_any([])
    found = {row for (row,) in connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (asked,))}
    assert found == {row for row, some in enumerate(held) if len(some) >= 2}


async def test_of_a_common_word_the_newest_are_ranked_beside_all_that_hold_more(store: SqliteStore) -> None:
    await written(store, creating("boat", content="red boat"), creating("harbour", content="harbour"))
    await written(store, *(creating(f"blue {number}", content="x") for number in range(12)))
    assert await titles(store, "red", "boat", "harbour", limit=4) == ["harbour", "boat", "red 38", "red 39"]


async def test_few_rows_are_all_ranked(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "RANKED_ROWS_BUDGET", 50)
    await written(store, creating("boat", content="x"))
    assert await titles(store, "red", "boat") == ["boat", "red 0", "red 1"]


async def test_but_in_a_tiny_store_what_more_than_half_of_the_rows_hold_is_left_out(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(store, creating("boat", content="x"))
    assert len(await titles(store, "red", "boat")) == 3
    monkeypatch.setattr(terms, "MATCH_ALL_ROWS", 41)
    assert await titles(store, "red", "boat") == ["boat"]
    assert len(await titles(store, "red")) == 3  # of nothing else
    assert len(await titles(store, "red", "unheard")) == 3  # of nothing else that is there
    await written(store, *(creating(f"blue {number}", content="x") for number in range(39)))
    assert len(await titles(store, "red", "boat")) == 3  # half of the rows do not


async def test_of_a_single_word_the_newest_of_the_budget_are_ranked(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await titles(store, "red") == ["red 0", "red 1", "red 2"]
    monkeypatch.setattr(lexical, "MATCH_ROWS_BUDGET", 10)
    assert await titles(store, "red") == ["red 30", "red 31", "red 32"]


async def test_where_those_ranked_first_have_expired_the_others_are_found(store: SqliteStore) -> None:
    short = (creating(f"soon gone {number}", content="red", tier="short", expires_at=NOW + 1) for number in range(8))
    await written(store, creating("boat", content="x"), *short)
    assert await titles(store, "red", "boat", now=NOW + HOUR) == ["boat", "red 0", "red 1"]


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("b", "none"), ("none",)])
async def test_of_a_namespace_the_same_is_found_whether_its_rows_or_those_of_the_words_are_looked_up_first(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    for number in range(24):
        kept: dict[str, Any] = {"tier": "short", "expires_at": NOW + HOUR} if number % 5 else {}
        named = creating(f"{number}", content="red " + "boat " * (number % 4), namespace="ab"[number % 2], **kept)
        await written(store, named)
    for now in (NOW, NOW + 2 * HOUR):
        which, found = Filter(now, namespaces=names), []
        for bound in (0, 1_000):
            monkeypatch.setattr(lexical, "MATCH_FILTERED_ROWS", bound)
            found.append(await store.match(Words((("red",), ("boat",))), which, 10))
        assert found[0] == found[1]
        held = [memory for memory in await store.by_rows([hit.row for hit in found[0]]) if memory]
        assert {memory.record.body["namespace"] for memory in held} <= set(names)
        assert len(held) == min(10, len(await store.rows(which)))
