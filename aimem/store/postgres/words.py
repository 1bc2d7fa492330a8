"""What the word index holds of a memory: the stems that SQLite's index has, at the places where they stand.

Made here and not by the server's `english`, so that the same question finds the same memories in every store: that
configuration stems by other rules, drops words, and cuts host names and numbers in its own way.
"""

from __future__ import annotations

from typing import NamedTuple

from aimem.core.record import Record
from aimem.core.text import indexed_text, stems

LEXEME_BYTES_MAX = 2_046  # the server's bound; a longer word is known by its beginning
_SHORT = LEXEME_BYTES_MAX // 4  # characters that fit, whichever they are
_BETWEEN = 32  # places between two columns, so that no phrase spans them: more than a term has words
_WEIGHTS = "ABCD"


class Lexemes(NamedTuple):
    """A `tsvector` in the server's spelling, and how many words the text has. Stems are letters and digits: nothing in
    them needs an escape. The server keeps 256 places of a stem, and takes all beyond 16,383 for that one: such words
    are found, but not as phrases."""

    found: str
    size: int


def lexeme(stem: str) -> str:
    """A stem as the index has it."""
    return stem if len(stem) <= _SHORT else _cut(stem)


def _cut(stem: str) -> str:
    return stem.encode()[:LEXEME_BYTES_MAX].decode(errors="ignore")


def lexemes(record: Record) -> Lexemes:
    """The words of a memory."""
    found: dict[str, str] = {}
    place = size = 0
    for weight, column in zip(_WEIGHTS, indexed_text(record), strict=True):
        parts = stems(column)
        size += len(parts)
        for at, stem in enumerate(parts, place + 1):
            if stem in found:
                found[stem] += f",{at}{weight}"
            else:
                found[stem] = f"'{lexeme(stem) if len(stem) > _SHORT else stem}':{at}{weight}"
        place += len(parts) + _BETWEEN
    return Lexemes(" ".join(found.values()), size)
