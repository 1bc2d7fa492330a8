"""The elements of the arrays in a JSON object of any size, one at a time.

Pure. What always holds: no more is in memory than one value and the piece that ends it, so a file of any size can be
read through; what was given before a fault was whole.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from aimem.errors import Malformed
from aimem.limits import BODY_BYTES_MAX

_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_UNDECIDED: Final = len("e+")  # what may stand behind a number, and be its end or not, as more comes
_decode: Final = json.JSONDecoder().raw_decode


def elements_of(pieces: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """(name of the array, JSON text of the element), for each array that is a field of the object, in order.

    Other fields are read over. Raises `Malformed` with the place, in characters, where it is no JSON object.
    """
    text = _Scanner(pieces)
    text.take("{")
    if text.next() == "}":
        text.take("}")
    else:
        while True:
            yield from _field(text)
            if text.take(",}") == "}":
                break
    if text.next():
        raise text.malformed("something follows the object")


def _field(text: _Scanner) -> Iterator[tuple[str, str]]:
    if text.next() != '"':
        raise text.malformed("the name of a field is missing")
    name = json.loads(text.value())
    text.take(":")
    if text.next() != "[":
        text.value()
        return
    text.take("[")
    if text.next() == "]":
        text.take("]")
        return
    while True:
        found, follows = text.value(), text.take(",]")
        yield name, found
        if follows == "]":
            return


class _Scanner:
    """A text that comes in pieces, and a place in it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._before = 0  # characters that were dropped: they stand before `_text`
        self._ended = False

    def next(self) -> str:
        """The next character that is no blank, which is not taken; "" at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            assert blanks is not None
            self._at = blanks.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """Take the next character that is no blank, which must be one of these."""
        found = self.next()
        if not found or found not in expected:
            raise self.malformed(f"{' or '.join(expected)} is expected")
        self._at += 1
        return found

    def value(self) -> str:
        """Take the next value: its text."""
        self.next()
        while True:
            problem = ""
            try:
                _, end = _decode(self._text, self._at)
            except (ValueError, RecursionError) as err:
                problem = err.msg if isinstance(err, json.JSONDecodeError) else str(err)
            else:
                if end + _UNDECIDED < len(self._text) or self._ended:
                    found, self._at = self._text[self._at : end], end
                    return found
            if len(self._text) - self._at > BODY_BYTES_MAX:
                raise self.malformed(problem or f"a value is longer than {BODY_BYTES_MAX} characters")
            if not self._more():
                raise self.malformed(problem)

    def malformed(self, problem: str) -> Malformed:
        """The error for what stands here."""
        ended = " and ends" if self._ended and self._at >= len(self._text) else ""
        return Malformed(f"not JSON at character {self._before + self._at + 1}{ended}: {problem}")

    def _more(self) -> bool:
        """Take in the next piece; False when there is none."""
        if self._ended:
            return False
        piece = next(self._pieces, None)
        self._ended = piece is None
        try:
            decoded = self._decoder.decode(piece or b"", final=self._ended)
        except UnicodeDecodeError as err:
            raise self.malformed("not UTF-8") from err
        self._before += self._at
        self._text, self._at = self._text[self._at :] + decoded, 0
        return True
