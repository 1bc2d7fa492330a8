"""Words find the same in PostgreSQL as in SQLite, with the same scores: on the project's own set of questions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aimem.core.text import recall_terms, search_terms
from aimem.store import terms
from aimem.store.base import Filter, Hit, Store, Words
from aimem.store.postgres import lexical, nearest, term_statistics
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.session import Connection, Values, rows
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.url import read_target
from aimem.store.sqlite import lexical as sqlite_lexical
from aimem.store.sqlite.store import open_sqlite
from tests.store.conftest import NOW, Clock, Ids, creating, stored, written

SET = Path(__file__).parent.parent / "data" / "recall"
ODD = (
    *(
        "the of and",
        "don't",
        "follow-up",
        "crème brûlée",
        "Weaver Street",
        "turn",
        "bowl bowl BOWLS",
        "ai:mara",
        "2023",
    ),
    *("a_b", "x" * 3_000, "'; DROP TABLE words; --", "NUL\0byte", "łódź ñandú", "日本語", "\U0001f600"),
)


class Both(NamedTuple):
    """One content in two stores."""

    sqlite: Store
    postgres: PostgresStore

    async def match(self, words: Words, limit: int = 30, **which: object) -> tuple[list[Hit], list[Hit]]:
        found = [await store.match(words, Filter(NOW, **which), limit) for store in self]  # type: ignore[arg-type]
        return found[0], found[1]


def questions() -> list[str]:
    return [json.loads(line)["question"] for line in (SET / "questions.jsonl").read_text().splitlines()]


@pytest.fixture
async def both(tmp_path: Path, database: Callable[[], str]) -> AsyncIterator[Both]:
    sqlite = await open_sqlite(tmp_path / "a.db", now=Clock(), rand=Ids())
    postgres = await open_store(read_target(database()), now=Clock(), rand=Ids())
    yield Both(sqlite, postgres)
    await sqlite.close()
    await postgres.close()


async def fill(both: Both) -> None:
    memories = [json.loads(line) for line in (SET / "memories.jsonl").read_text().splitlines()]
    intents = [
        creating(
            f"{each['id']} {each['title']}",
            content=each["content"],
            namespace=each["namespace"],
            tags=["turn"] if each["style"] == "turn" else ["note", "bowl of crème"],
            metadata={"agent_id": f"ai:{each.get('author', 'nobody')}"},
        )
        for each in memories
    ]
    odd = [creating(f"odd {number}", content=f"{text} and {text}") for number, text in enumerate(ODD)]
    for store in both:
        await written(store, *intents, *odd)


def alike(expected: list[Hit], found: list[Hit]) -> bool:
    """The same memories with the same scores; of equal ones at the cut, any."""
    scores = [[round(hit.score, 6) for hit in hits] for hits in (expected, found)]
    last = scores[0][-1] if scores[0] else 0.0
    sure = [{hit.id for hit in hits if round(hit.score, 6) > last} for hits in (expected, found)]
    return scores[0] == pytest.approx(scores[1], rel=1e-4, abs=1e-5) and sure[0] == sure[1]


async def test_every_question_finds_the_same_with_the_same_scores(both: Both) -> None:
    await fill(both)
    for text in (*questions(), *ODD):
        for words in (
            Words(recall_terms(text)),
            Words(search_terms(text), all_of=True, everywhere=False),
            Words(search_terms(text), everywhere=False),
        ):
            expected, found = await both.match(words)
            assert alike(expected, found), (text, words, expected[:5], found[:5])
    for which in ({"namespaces": ("chat/mara-theo",)}, {"tag": "turn"}, {"agent_id": "ai:theo"}):
        for text in questions()[:40]:
            expected, found = await both.match(Words(recall_terms(text)), 5, **which)
            assert alike(expected, found), (text, which, expected, found)


async def test_matching_leaves_nothing_out(both: Both) -> None:
    await fill(both)
    for words in (None, Words((("bowl",), ("turn",))), Words((("mara",), ("turn",)), all_of=True)):
        expected, found = [await store.matching(words, Filter(NOW, tag="turn"), 5, 100) for store in both]
        assert [key for _, key in found] == [key for _, key in expected]
        assert found


@pytest.mark.parametrize("more", [0.1, 1.3, 100])
async def test_in_a_large_store_the_same_rows_are_ranked(
    both: Both, monkeypatch: pytest.MonkeyPatch, more: float
) -> None:
    """At the size of a test: the bounds are lowered, so that for most questions some rows are not ranked. Wherever the
    newest are looked for first."""
    await fill(both)
    monkeypatch.setattr(lexical, "_MORE", more)
    for module in (sqlite_lexical, terms):
        monkeypatch.setattr(module, "MATCH_ROWS_BUDGET", 100)
    monkeypatch.setattr(terms, "MATCH_ALL_ROWS", 100)
    monkeypatch.setattr(lexical, "RANKED_OF_ONE_WORD", 100)
    everything = [await both.match(Words(recall_terms(text)), 1_000) for text in questions()]
    monkeypatch.setattr(terms, "RANKED_ROWS_BUDGET", 10)
    fewer = 0
    for text, (whole, _) in zip(questions(), everything, strict=True):
        expected, found = await both.match(Words(recall_terms(text)), 10)
        assert alike(expected, found), (text, expected, found)
        fewer += not alike(whole[:10], found)
    assert fewer, "no bound was reached"
    monkeypatch.setattr(lexical, "RANKED_UNDER_FILTER", 0)
    for text in questions()[:40]:
        expected, found = await both.match(Words(recall_terms(text)), 1_000, tag="turn")
        scores = {hit.id: round(hit.score, 4) for hit in expected}
        best = await both.postgres.match(Words(recall_terms(text)), Filter(NOW, tag="turn"), 5)
        assert len(best) == min(5, len(expected)) == min(5, len(found))
        assert all(round(hit.score, 4) == pytest.approx(scores[hit.id], abs=2e-4) for hit in best), text


@pytest.mark.parametrize("most", [0, 1_000])
async def test_in_namespaces_of_few_the_same_is_found(both: Both, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """At the size of a test: the bounds are lowered. Words are read of all rows in the namespaces, or of those that the
    word index names too."""
    await fill(both)
    for store in both:
        expired = creating("a balcony", namespace="chat/mara-theo", tier="short", expires_at=NOW)
        await written(store, expired, creating("a balcony elsewhere", namespace="chat"))
    for module in (lexical, nearest):
        monkeypatch.setattr(module, "EXACT_SEARCH_ROWS_MAX", 200)
    monkeypatch.setattr(terms, "RANKED_ROWS_BUDGET", 0)
    monkeypatch.setattr(lexical, "_HOLD_MOST", most)
    asked: list[str] = []

    async def noted(connection: Connection, statement: str, values: Values = None) -> list[tuple[Any, ...]]:
        asked.append(statement)
        return await rows(connection, statement, values)

    monkeypatch.setattr(lexical, "rows", noted)
    filters: tuple[dict[str, object], ...] = (
        {"namespaces": ("chat/mara-theo",)},
        {"namespaces": ("chat/mara-theo", "notes/garden"), "tag": "turn"},
        {"namespaces": ("chat/mara-theo", "code/billing"), "visible_from": "notes/garden"},
        {"namespaces": ("nowhere",)},
    )
    for mine in filters:
        for text in (*questions()[:60], "balcony turn"):
            expected, found = await both.match(Words(recall_terms(text)), 1_000, **mine)
            assert alike(expected, found), (text, mine, expected, found)
    assert any("INTERSECT" in statement for statement in asked) is (most > 0)
    assert any("ARRAY" in statement for statement in asked)


async def test_in_a_large_store_common_words_do_not_count_and_the_server_tells_how_common(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the size of a test: the bounds are lowered."""
    await fill(both)
    postgres = both.postgres
    asked = Words((("turn",), ("balcony",)))
    before = await postgres.match(asked, Filter(NOW), 1_000)
    monkeypatch.setattr(lexical, "RANKED_OF_ONE_WORD", 20)
    monkeypatch.setattr(terms, "RANKED_ROWS_BUDGET", 10)
    monkeypatch.setattr(terms, "MATCH_ALL_ROWS", 20)
    monkeypatch.setattr(terms, "MATCH_ROWS_BUDGET", 20)
    monkeypatch.setattr(term_statistics, "COUNTED_EXACTLY_ROWS", 10)
    async with postgres.connections.use() as connection:
        await connection.execute("ANALYZE words")
        common = await term_statistics._common(connection)
    assert common["turn"] > 0.3
    postgres._statistics = term_statistics.Statistics()
    after = await postgres.match(asked, Filter(NOW), 1_000)
    assert 0 < len(after) < 20 < len(before)
    assert [hit.id for hit in after] == [hit.id for hit in before[: len(after)]]
    alone = await postgres.match(Words((("turn",),)), Filter(NOW), 1_000)
    assert len(alone) == 20  # the newest
    newest = await stored(postgres, creating("another turn"))
    assert newest.key in [hit.id for hit in await postgres.match(Words((("turn",),)), Filter(NOW), 1_000)]
