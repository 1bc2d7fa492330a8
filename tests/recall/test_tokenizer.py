"""The tokenizer against what the reference made of 400 texts: `[text, numbers]`, in many scripts and with odd signs.

The random texts keep to characters whose category has not changed since Unicode 3.2: the reference's tables are older
than Python's.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aimem.limits import TOKENIZER_WORDS_MAX
from aimem.recall.tokenizer import Tokenizer

CASES = json.loads((Path(__file__).parents[1] / "data" / "wordpiece.json").read_text())
SMALL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "a", "##b", "[", "]", "sep", "\u4e2d", "\u56fd"]


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer((model_folder / "vocab.txt").read_text(encoding="utf-8").splitlines())


def test_reference_texts(tokenizer: Tokenizer) -> None:
    assert len(CASES) == 400
    differing = [text for text, numbers in CASES if tokenizer.encode(text) != numbers]
    assert differing == []


def test_repeated_texts_give_the_same(tokenizer: Tokenizer) -> None:
    for text, numbers in CASES[:80]:
        assert tokenizer.encode(text) == tokenizer.encode(text) == numbers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, WORLD", ["hello", ",", "world"]),
        ("cafe\u0301 caf\u00e9", ["cafe", "cafe"]),
        ("a\u0000b \u200bc", ["ab", "c"]),
        ("\u4e2d\u56fd", ["\u4e2d", "\u56fd"]),
        ("1+1=2", ["1", "+", "1", "=", "2"]),
        ("a\u00a0b\u3000c\nd", ["a", "b", "c", "d"]),
        ("\u226e", ["<"]),
        ("\u03a3\u0391\u03a3", ["\u03c3\u03b1\u03c3"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert Tokenizer(SMALL).words(text) == words


def test_longest_piece_first_and_unknown_as_a_whole() -> None:
    tokenizer = Tokenizer(SMALL)
    assert tokenizer.encode("unaffable ab") == [4, 5, 6, 7, 8]
    assert tokenizer.encode("unaffx") == [1]
    assert tokenizer.encode("a" + 99 * "b") == [7] + 99 * [8]
    assert tokenizer.encode("a" + 100 * "b") == [1]


def test_marks_in_a_text_are_text() -> None:
    assert Tokenizer(SMALL).encode("[SEP]") == [9, 11, 10]


def test_the_memory_of_words_is_bounded() -> None:
    tokenizer = Tokenizer(SMALL)
    for number in range(TOKENIZER_WORDS_MAX + 10):
        tokenizer.encode(f"w{number}")
    assert len(tokenizer._known) <= TOKENIZER_WORDS_MAX
    assert tokenizer.encode("unaffable") == [4, 5, 6]
