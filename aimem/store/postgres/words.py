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
_PLACE_MAX = 16_383  # the server's
_LONG = 1 << 19
_ENDS: dict[str, list[str]] = {weight: [] for weight in _WEIGHTS}


class Lexemes(NamedTuple):
    """A `tsvector` in the server's spelling, and how many words the text has. Stems are letters and digits: nothing in
    them needs an escape. The server brings equal ones together, keeps 256 places of a stem, and takes all beyond 16,383
    for that one: such words are found, but not as phrases."""

    found: str
    size: int


def lexeme(stem: str) -> str:
    """A stem as the index has it."""
    return stem if len(stem) <= _SHORT else _cut(stem)


def _cut(stem: str) -> str:
    return stem.encode()[:LEXEME_BYTES_MAX].decode(errors="ignore")


def lexemes(record: Record) -> Lexemes:
    """The words of a memory."""
    found: list[str] = []  # each stem, and what follows it
    place = 1
    for weight, column in zip(_WEIGHTS, indexed_text(record), strict=True):
        parts = stems(column)
        if len(column) > _SHORT and max(map(len, parts), default=0) > _SHORT:
            parts = list(map(lexeme, parts))
        found += [""] * (2 * len(parts))
        found[len(found) - 2 * len(parts) :: 2] = parts
        found[len(found) - 2 * len(parts) + 1 :: 2] = _ends(weight, place, len(parts))
        place += len(parts) + _BETWEEN
    return Lexemes(_joined(found), len(found) // 2)


def _ends(weight: str, first: int, count: int) -> list[str]:
    """What follows the stems of so many words that stand at `first` and behind it, up to the next one's quotation mark.
    They are kept: to spell them for each text would be half of the work."""
    kept = _ENDS[weight]
    kept += [f"':{min(at, _PLACE_MAX)}{weight} '" for at in range(len(kept), first + count)]
    return kept[first : first + count]


def _joined(found: list[str]) -> str:
    """Stems, each with what follows it, as one text. The server reads one of a MiB, equal stems counted each time."""
    text = "".join(("'", *found))
    if len(text) <= _LONG:
        return text[:-2]
    places: dict[str, list[str]] = {}
    for stem, end in zip(found[::2], found[1::2], strict=True):
        places.setdefault(stem, []).append(end[2:-2])
    return " ".join(f"'{stem}':{','.join(at)}" for stem, at in places.items())
