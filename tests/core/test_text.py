"""Words: questions to terms, terms to FTS5, stems; judged by a real FTS5 table."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.kinds import MEMORY
from aimem.core.record import Record
from aimem.core.stem import stem
from aimem.core.text import (
    embedded_text,
    holds,
    indexed_text,
    match_all,
    match_any,
    names_author,
    recall_terms,
    search_terms,
    stems,
)
from aimem.core.version import Version
from aimem.limits import QUERY_TERMS_MAX, TERM_WORDS_MAX

NOW = 1_790_000_000 * 10**9  # 2026-09-21
ANYTHING = st.text(st.characters()) | st.text(
    st.sampled_from(list("ab \t\0\"'*^{}():|+-ANDORTNE\ud800é\u0301日\ue000\u200b"))
)
PLAIN = st.text(st.sampled_from(list("abcdeéÉüßñ ,.-_'123\n")), max_size=40)

SAMPLES = ("caresses", "ponies", "relational", "hopping", "filing", "sky", "happy", "generalizations", "feed", "agreed")
_ENDINGS = """
ational tional enci izer bli alli entli eli ousli ization ation ator alism iveness fulness ousness aliti iviti biliti
logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent ion sion ou ism ate iti ous
ive ize eed ed ing s sses ies ss y ll e ying yed ated bling
"""
ENDINGS = tuple(_ENDINGS.split())


def table() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5 (content, tokenize='porter unicode61')")
    return connection


@pytest.fixture(scope="module")
def words() -> Iterator[sqlite3.Connection]:
    connection = table()
    connection.execute("INSERT INTO words VALUES ('any text at all')")
    yield connection
    connection.close()


def memory(*, author: Any = "ai:mara", created_at: int | None = None, **fields: Any) -> Record:
    body: dict[str, Any] = {
        "title": "Pump",
        "content": "reads 41.2 bar",
        "tags": ["a", "b c"],
        "metadata": {"agent_id": author},
    }
    if created_at is not None:
        body["created_at"] = created_at
    born = Version(NOW, "0" * 16)
    return Record.make(MEMORY, "id", born, born, {**body, **fields})


@pytest.mark.parametrize(
    ("question", "terms"),
    [
        ("stuck gate", [("stuck",), ("gate",)]),
        ("What is the state of Gate 3?", [("state",), ("Gate",), ("3",)]),
        ("gate GATE Gate", [("gate",)]),
        ("who are you", [("who",), ("are",), ("you",)]),
        ("to be or NOT to be", [("to",), ("be",), ("or",), ("NOT",)]),
        ("follow-up on foo-bar-baz", [("follow", "up"), ("foo", "bar", "baz")]),
        ("don't what's o'clock", [("o", "clock")]),
        ("pump AND (gate OR NEAR(x y)) NOT z*", [("pump",), ("gate",), ("NEAR", "x"), ("y",), ("z",)]),
        ('"quoted" title:x ^y {a b}', [("quoted",), ("title", "x"), ("y",), ("b",)]),
        ("zero\u200bwidth soft\u00adhyphen", [("zerowidth",), ("softhyphen",)]),
        ("naïve 東京 Ünï", [("naïve",), ("東京",), ("Ünï",)]),
        ("e\u0301te", [("e\u0301te",)]),
        ("snake_case a@b.org", [("snake", "case"), ("a", "b", "org")]),
        ("", []),
        ("  ?! -- * ", []),
        ("\ud800 \0", []),
    ],
)
def test_recall_terms(question: str, terms: list[tuple[str, ...]]) -> None:
    assert list(recall_terms(question)) == terms


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("the gate", [("the",), ("gate",)]),
        ("foo AND bar", [("foo",), ("bar",)]),
        ("foo and bar", [("foo",), ("and",), ("bar",)]),
        ("NOT", [("NOT",)]),
    ],
)
def test_search_terms(query: str, terms: list[tuple[str, ...]]) -> None:
    assert list(search_terms(query)) == terms


def test_terms_are_bounded() -> None:
    many = " ".join(f"w{number}" for number in range(QUERY_TERMS_MAX + 1))
    assert len(recall_terms(many)) == len(search_terms(many)) == QUERY_TERMS_MAX
    assert len(recall_terms(many.replace(" ", "/"))[0]) == TERM_WORDS_MAX
    assert len(recall_terms("the " * 1_000 + many)) == QUERY_TERMS_MAX


@given(ANYTHING)
def test_no_text_is_query_syntax(words: sqlite3.Connection, text: str) -> None:
    for query in (match_any(recall_terms(text)), match_all(search_terms(text))):
        words.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()
        words.execute("SELECT rowid FROM words WHERE words MATCH ?", (f"{{content}} : ({query})",)).fetchall()


@given(PLAIN, PLAIN)
def test_oracle_matches_as_fts5_does(text: str, question: str) -> None:
    connection = table()
    connection.execute("INSERT INTO words VALUES (?)", (text,))
    terms, held = search_terms(question), stems(text)
    found = [holds(held, [word for part in term for word in stems(part)]) for term in terms]
    for query, expected in ((match_any(terms), any(found)), (match_all(terms), all(found))):
        rows = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)).fetchall()
        assert bool(rows) == (expected and bool(terms)), (query, held)
    connection.close()


def test_stems_are_those_of_fts5() -> None:
    dice = random.Random(7)
    made = {
        "".join(dice.choices("abeioutsylzx", k=dice.randrange(6))) + dice.choice(ENDINGS) + dice.choice(["", "s", "ed"])
        for _ in range(8_000)
    }
    made |= {
        "a" * 64 + "s",
        "a" * 62 + "s",
        *ENDINGS,
        *SAMPLES,
    }
    listed = sorted(made)
    connection = table()
    connection.executemany("INSERT INTO words (rowid, content) VALUES (?, ?)", enumerate(listed))
    connection.execute("CREATE VIRTUAL TABLE kept USING fts5vocab(words, instance)")
    expected = dict(connection.execute("SELECT doc, term FROM kept"))
    connection.close()
    assert {word: stem(word) for word in listed} == {word: expected[at] for at, word in enumerate(listed)}


def test_holds() -> None:
    text = stems("The pumps were running, pump-runner")
    assert holds(text, stems("running"))
    assert holds(text, stems("pump runner"))
    assert not holds(text, stems("runner pump"))
    assert not holds(text, [])


def test_indexed_text() -> None:
    found = indexed_text(memory(title="zero\u200bwidth"))
    assert found == ("zerowidth", "reads 41.2 bar", "a\nb c", "ai:mara 21 September 2026 2026-09-21")
    assert indexed_text(memory(created_at=0)).context == "ai:mara 1 January 1970 1970-01-01"


@pytest.mark.parametrize("author", ["anonymous:req-0123abcd", "host:box:pid-7-0123abcd", None, 5])
def test_made_up_authors_are_left_out(author: Any) -> None:
    assert indexed_text(memory(author=author)).context == "21 September 2026 2026-09-21"
    assert embedded_text(memory(author=author)) == "Pump\n21 September 2026\nreads 41.2 bar"


@pytest.mark.parametrize(
    ("author", "said"), [("ai:mara", "mara"), ("ai:claude@box:pid-7", "claude"), ("tom", "tom"), ("a/b", "a/b")]
)
def test_embedded_text_says_the_author(author: str, said: str) -> None:
    assert embedded_text(memory(author=author)) == f"Pump\n{said}, 21 September 2026\nreads 41.2 bar"


@pytest.mark.parametrize(
    ("author", "question", "named"),
    [
        ("mara", "Where did Mara's cat sleep?", True),
        ("ai:mara-lind@host:pid-7", "what says Lind of it", True),
        ("ai:mara@host", "which host is down", False),
        ("ai:mara@host", "which ai is it", False),
        ("anonymous:mara", "Where is Mara?", False),
        ("mara", "Where is Tamara?", False),
    ],
)
def test_whether_a_question_names_the_author(author: str, question: str, named: bool) -> None:
    assert names_author(set(stems(question)), memory(author=author)) is named
