"""Text to the numbers that the embedding model reads: WordPiece with the rules of uncased BERT.

Two steps. `words` cleans the text and cuts it into words: control characters go, accents go, everything is lower case,
each punctuation mark and each Chinese character is a word of its own. `encode` cuts each word greedily into the
longest pieces that the vocabulary knows. What lives elsewhere: cutting long texts (`pieces`) and running the model.

Both steps are functions of the text and the vocabulary alone. Text is data: `[SEP]` in a memory is three words, not a
control token.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from aimem.limits import TOKENIZER_CHARACTERS_MAX, TOKENIZER_WORDS_MAX

_WORD_CHARS_MAX = 100  # a longer word is unknown as a whole: the reference's rule

# The blocks that the reference treats as Chinese, each character a word. Hangul and kana are not among them.
_CHINESE = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)

# Controls, format marks, surrogates, private use. Unassigned code points stay, as in the reference: they will mean
# something one day. (Its Unicode is older than ours: the two differ in marks and punctuation that came after 8.0.)
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})


class _Characters(dict[int, str]):
    """What each character becomes, worked out when it is first met: a table for `str.translate`.

    Spaces in a replacement separate words. Decomposing character by character equals decomposing the text, because the
    combining marks that could change places are dropped.
    """

    def __missing__(self, code: int) -> str:
        replacement = _replacement(chr(code))
        if len(self) < TOKENIZER_CHARACTERS_MAX:
            self[code] = replacement
        return replacement


def _replacement(character: str) -> str:
    if character in "\t\n\r" or unicodedata.category(character) in _SPACES:
        return " "
    if character == "\ufffd" or unicodedata.category(character) in _DROPPED:
        return ""
    bare = (part for part in unicodedata.normalize("NFD", character) if unicodedata.category(part) != "Mn")
    text = "".join(f" {part} " if _is_punctuation(part) else part.lower() for part in bare)
    return f" {text} " if any(first <= ord(character) <= last for first, last in _CHINESE) else text


def _is_punctuation(character: str) -> bool:
    """Every ASCII sign counts, also those that Unicode calls symbols: `$ + < = > ^ ` | ~`."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character)[0] == "P"


class Tokenizer:
    """Made from the lines of a vocabulary file. Safe to use from several threads."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self._unknown = self._numbers["[UNK]"]
        self._characters = _Characters()
        self._known: dict[str, tuple[int, ...]] = {}
        self.start = self._numbers["[CLS]"]
        self.end = self._numbers["[SEP]"]

    def words(self, text: str) -> list[str]:
        """The cleaned words of a text, punctuation marks among them."""
        return text.translate(self._characters).split()

    def encode(self, text: str) -> list[int]:
        """The numbers of the text's pieces, without the model's start and end marks."""
        known = self._known
        numbers: list[int] = []
        for word in self.words(text):
            numbers += known.get(word) or self._learn(word)
        return numbers

    def _learn(self, word: str) -> tuple[int, ...]:
        """Cuts a word that was not met lately, and keeps the result: most words come again."""
        if len(self._known) >= TOKENIZER_WORDS_MAX:
            self._known = {}
        cut = self._known[word] = self._cut(word)
        return cut

    def _cut(self, word: str) -> tuple[int, ...]:
        """The longest known piece, then the longest continuations (`##...`); unknown as a whole if one is missing."""
        if len(word) > _WORD_CHARS_MAX:
            return (self._unknown,)
        numbers: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                number = self._numbers.get(prefix + word[start:end])
                if number is not None:
                    break
            else:
                return (self._unknown,)
            numbers.append(number)
            start = end
        return tuple(numbers)
