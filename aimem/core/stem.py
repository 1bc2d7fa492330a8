"""Stems of English words by Porter's algorithm (1980, with his later `bli` and `logi`), as FTS5's `porter` cuts them.

For matching outside SQLite, where the same question must find the same memories. A word comes in folded (lower case,
no accents); what is shorter than three letters or longer than 64 bytes is its own stem.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

_VOWELS = frozenset("aeiou")
_BYTES_MAX = 64

# (suffix, what takes its place), longest first: the first that fits decides, whether its condition holds or not.
_STEP_2 = (
    *(("ational", "ate"), ("ization", "ize"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous")),
    *(("tional", "tion"), ("biliti", "ble")),
    *(("entli", "ent"), ("ousli", "ous"), ("ation", "ate"), ("alism", "al"), ("aliti", "al"), ("iviti", "ive")),
    *(("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("alli", "al"), ("ator", "ate"), ("logi", "log")),
    *(("bli", "ble"), ("eli", "e")),
)
_STEP_3 = (
    *(("icate", "ic"), ("iciti", "ic"), ("ative", ""), ("alize", "al")),
    *(("ical", "ic"), ("ness", "")),
    ("ful", ""),
)
_STEP_4 = (
    "ement",
    *("ance", "ence", "able", "ible", "ment"),
    *("ant", "ent", "ion", "ism", "ate", "iti", "ous", "ive", "ize"),
    *("al", "er", "ic", "ou"),
)
# Most words end with none of them, which one call tells.
_ENDS_2, _ENDS_3 = (tuple(suffix for suffix, _ in step) for step in (_STEP_2, _STEP_3))


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The stem of a folded word."""
    if len(word) < 3 or word.isdigit() or len(word.encode()) > _BYTES_MAX:
        return word
    word = _past_and_gerund(_plural(word))
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    if word.endswith(_ENDS_2):
        word = _replaced(word, _STEP_2)
    if word.endswith(_ENDS_3):
        word = _replaced(word, _STEP_3)
    if word.endswith(_STEP_4):
        word = _residue(word)
    if word.endswith("e"):
        rest = word[:-1]
        if (measure := _measure(rest)) > 1 or (measure == 1 and not _ends_short(rest)):
            word = rest
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word


def _consonants(word: str) -> list[bool]:
    """Which letters are consonants: `y` is one at the start and after a vowel."""
    marks: list[bool] = []
    for letter in word:
        vowel = letter in _VOWELS or (letter == "y" and bool(marks) and marks[-1])
        marks.append(not vowel)
    return marks


def _measure(word: str) -> int:
    """How often a consonant follows a vowel: Porter's m."""
    marks = _consonants(word)
    return sum(after and not before for before, after in pairwise(marks))


def _has_vowel(word: str) -> bool:
    return not all(_consonants(word))


def _ends_short(word: str) -> bool:
    """Ends consonant, vowel, consonant, and the last is not w, x or y: a short syllable."""
    return _consonants(word)[-3:] == [True, False, True] and word[-1] not in "wxy"


def _plural(word: str) -> str:
    if not word.endswith("s"):
        return word
    if (word.endswith("sses") and len(word) > 4) or (word.endswith("ies") and len(word) > 3):
        return word[:-2]
    return word if word.endswith("ss") else word[:-1]


def _past_and_gerund(word: str) -> str:
    if word.endswith("eed") and len(word) > 3:
        return word[:-1] if _measure(word[:-3]) else word
    for suffix in ("ed", "ing"):
        if word.endswith(suffix) and _has_vowel(word[: -len(suffix)]):
            return _repaired(word[: -len(suffix)])
    return word


def _repaired(word: str) -> str:
    """After `ed` or `ing` went: hop(p), fil(e), conflat(e)."""
    if len(word) > 2 and word.endswith(("at", "bl", "iz")):
        return word + "e"
    last = word[-1]
    if len(word) > 1 and last == word[-2] and last not in "aeioulsz":
        return word[:-1]
    return word + "e" if _measure(word) == 1 and _ends_short(word) else word


def _replaced(word: str, table: tuple[tuple[str, str], ...]) -> str:
    for suffix, instead in table:
        if word.endswith(suffix) and len(word) > len(suffix):
            rest = word[: -len(suffix)]
            return rest + instead if _measure(rest) else word
    return word


def _residue(word: str) -> str:
    for suffix in _STEP_4:
        if word.endswith(suffix) and len(word) > len(suffix):
            rest = word[: -len(suffix)]
            fits = _measure(rest) > 1 and (suffix != "ion" or rest[-1] in "st")
            return rest if fits else word
    return word
