"""Words: what a memory is found by, and what a question asks for, the same in every store.

A question becomes terms: each one word, or several that must follow each other (`follow-up`, `don't`). Words are runs
of letters and digits, as the FTS5 tokenizer `unicode61` cuts them, so nothing that a user types is query syntax.
A store that does not stem by itself uses `stems` and `holds`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from aimem.core.memory import created_ns
from aimem.core.record import Record
from aimem.core.stem import stem
from aimem.core.timestamp import DAY_SECS, SECOND_NS, iso_date
from aimem.limits import QUERY_TERMS_MAX, TERM_WORDS_MAX

Term = tuple[str, ...]

OPERATORS = frozenset({"AND", "OR", "NOT", "NEAR"})
_STOP_WORDS = """
a about after again all also am an and any are as at be because been before being between both but by can could
did do does doing done during each else ever every for from further get gets getting got had has have having he
her here hers herself him himself his how i if in into is it its itself just let like me more most much must my
myself near no nor not of off on once only or other our ours out over own same shall she should so some such than
that the their theirs them themselves then there these they this those through to too under until up upon us very
was we were what when where whether which while who whom whose why will with would you your yours yourself
ain aren couldn d didn doesn don hadn hasn haven isn ll m re s shouldn t ve wasn weren won wouldn
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_NOTHING = '""'  # to FTS5 the empty query is an error; the empty phrase matches nothing

_STEMS_KEPT = 65_536
_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_PRIVATE_USE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
_WORD = re.compile(f"(?:[^\\W_]|[{_PRIVATE_USE}])(?:[^\\W_]|[\u0300-\u0331{_PRIVATE_USE}])*")
_ASCII_WORDS = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
"""By which a text becomes the same words with spaces between, in lower case, at a quarter of the price."""
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def recall_terms(question: str) -> tuple[Term, ...]:
    """The terms of a question where any may match: without stop words, unless it has nothing else.

    Different terms only, the first `QUERY_TERMS_MAX`.
    """
    return _terms(question, _is_stop)


def search_terms(query: str) -> tuple[Term, ...]:
    """The terms of a search where all must match: every word counts, but for operators between others (wire)."""
    return _terms(query, lambda chunk, _: chunk in OPERATORS)


def match_any(terms: Iterable[Term]) -> str:
    """The FTS5 query that matches any term, and nothing when there is none."""
    return " OR ".join(_quoted(term) for term in terms) or _NOTHING


def match_all(terms: Iterable[Term]) -> str:
    """The FTS5 query that matches all terms, and nothing when there is none."""
    return " ".join(_quoted(term) for term in terms) or _NOTHING


def _quoted(term: Term) -> str:
    return '"' + " ".join(term) + '"'  # words hold no quotation mark


def _is_stop(chunk: str, words: Sequence[str]) -> bool:
    return all(word.lower() in STOP_WORDS for word in words)


def _terms(text: str, dropped: Callable[[str, Sequence[str]], bool]) -> tuple[Term, ...]:
    kept: dict[Term, Term] = {}
    spare: dict[Term, Term] = {}
    for match in re.finditer(r"\S+", without_invisible(text)):
        words = _WORD.findall(match.group())[:TERM_WORDS_MAX]
        if words:
            into = spare if dropped(match.group(), words) else kept
            into.setdefault(tuple(word.lower() for word in words), tuple(words))
            if len(kept) == QUERY_TERMS_MAX:
                break
    return tuple((kept or spare).values())[:QUERY_TERMS_MAX]


def without_invisible(text: str) -> str:
    """The text without zero-width and direction marks: nobody can see them, so nobody can search with them."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


class Indexed(NamedTuple):
    """What the word index holds of a memory. `context` is author and date, which a search does not look in."""

    title: str
    content: str
    tags: str
    context: str


def indexed_text(record: Record) -> Indexed:
    """The text of a memory as words find it."""
    body, created = record.body, created_ns(record)
    context = " ".join(part for part in (known_author(record), _date_words(created), _iso(created)) if part)
    return Indexed(
        without_invisible(body["title"]),
        without_invisible(body["content"]),
        without_invisible("\n".join(body["tags"])),
        context,
    )


def embedded_text(record: Record) -> str:
    """The text of a memory that a vector is computed from: the title, author and date as one would say them, the
    content. A function of the record alone, so that every node computes the same."""
    said = ", ".join(part for part in (_spoken(known_author(record)), _date_words(created_ns(record))) if part)
    return f"{record.body['title']}\n{said}\n{record.body['content']}"


def known_author(record: Record) -> str:
    """The author's id, or the empty text for none and for one that was made up for a request or a machine."""
    author = record.body["metadata"].get("agent_id")
    if not isinstance(author, str) or author.startswith(("anonymous:", "host:")):
        return ""
    return author


def names_author(asked: Collection[str], record: Record) -> bool:
    """Whether the author of a memory is among these stems, as people would call them."""
    author = known_author(record)
    return bool(author) and any(part in asked for part in stems(_spoken(author)))


def _spoken(author: str) -> str:
    """`claude` of `ai:claude@host:pid-7`: the part of an id that people would say."""
    return author.partition("@")[0].rpartition(":")[2]


def _iso(ns: int) -> str:
    return iso_date(ns // (DAY_SECS * SECOND_NS))


def _date_words(ns: int) -> str:
    year, month, day = _iso(ns).split("-")
    return f"{int(day)} {_MONTHS[int(month) - 1]} {year}"


def stems(text: str) -> list[str]:
    """The words of a text in order, as a stemming word index keeps them: lower case, without accents, their stems."""
    return list(map(_stem_of, text.translate(_ASCII_WORDS).split() if text.isascii() else _WORD.findall(text)))


class _Stems(dict[str, str]):
    """The stems of words as they stand in texts, kept: `lru_cache` takes four times as long to find one."""

    def __missing__(self, word: str) -> str:
        if len(self) >= _STEMS_KEPT:
            self.clear()
        found = self[word] = stem(_folded(word))
        return found


_stem_of = _Stems().__getitem__


def holds(text: Sequence[str], term: Sequence[str]) -> bool:
    """True when the words of `term` follow each other in `text`; both are stems."""
    size = len(term)
    return size > 0 and any(list(text[at : at + size]) == list(term) for at in range(len(text) - size + 1))


def _folded(word: str) -> str:
    if word.isascii():
        return word.lower()
    return "".join(mark for mark in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(mark))
