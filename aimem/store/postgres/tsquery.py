"""Terms as the server's `tsquery`: of the stems that `words` puts into the index, so that both have the same."""

from __future__ import annotations

from collections.abc import Sequence

from aimem.core.text import Term, stems
from aimem.store.base import Words
from aimem.store.postgres.words import lexeme


def term_lexemes(term: Term) -> list[str]:
    """The words of a term as the index has them, in their order."""
    return [lexeme(stem) for stem in stems(" ".join(term))]


def term_query(term: Term, *, everywhere: bool) -> str:
    """A `tsquery` of the words of a term, which must follow each other. Stems are letters and digits."""
    weights = "" if everywhere else ":ABC"
    return " <-> ".join(f"'{each}'{weights}" for each in term_lexemes(term))


def query(words: Words, terms: Sequence[Term]) -> str:
    """A `tsquery` for some of the terms of `words`: any of them, or all, as these want it."""
    parts = [part for term in terms if (part := term_query(term, everywhere=words.everywhere))]
    return (" & " if words.all_of else " | ").join(f"({part})" for part in parts)
