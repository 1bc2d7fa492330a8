"""Token budgets: how much of a model's context a memory takes, and which memories fit.

An estimate, not a tokenizer: the node does not know which model reads its answer. It errs on one side for prose of
every script: rather too many tokens than too few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from aimem.errors import Invalid, WrongShape


def estimate_tokens(title: str, content: str) -> int:
    """Tokens that a memory takes, about.

    Byte-pair vocabularies spend about one token on four characters of English, so ASCII counts a quarter each, like
    the existing system. A quarter of the bytes is far too little elsewhere: a Han, kana or Hangul character (three
    bytes) is usually a token of its own, often more, and an emoji (four bytes) two or three, while Greek, Cyrillic,
    Arabic and Hebrew letters (two bytes) come in twos. So by length in UTF-8: 1/4, 1/2, 1 and 2 tokens.
    """
    return (_quarters(title) + _quarters(content)) // 4


def _quarters(text: str) -> int:
    """Quarter tokens, from four lengths that C code measures instead of a loop over characters."""
    chars = len(text)
    if text.isascii():
        return chars
    one = len(text.encode("ascii", "ignore"))
    four = len(text.encode("utf-16-le", "surrogatepass")) // 2 - chars
    three = len(text.encode("utf-8", "surrogatepass")) - one - 4 * four - 2 * (chars - one - four)
    two = chars - one - three - four
    return one + 2 * two + 4 * three + 8 * four


def check_budget(value: Any) -> int | None:
    """`budget_tokens` of a request: None when it is absent.

    Raises:
        WrongShape: not an integer.
        Invalid: less than 1.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongShape("budget_tokens must be an integer")
    if value < 1:
        raise Invalid(f"budget_tokens is {value}; at least 1", hint="leave it out for no budget")
    return value


class Packed(NamedTuple):
    """What fits: positions `kept` in rank order, tokens `used`, how many were `dropped`, and whether the one memory
    that is always given `overflows` the budget."""

    kept: list[int]
    used: int
    dropped: int
    overflows: bool


def pack(costs: Sequence[int], budget: int | None) -> Packed:
    """Take memories in rank order as long as each fits in what is left, passing over those that don't.

    When none fits, the best one is given all the same: an empty answer would say that nothing was found.
    """
    if budget is None:
        return Packed(list(range(len(costs))), sum(costs), 0, False)
    kept: list[int] = []
    used = 0
    for position, cost in enumerate(costs):
        if used + cost <= budget:
            kept.append(position)
            used += cost
    if not kept and costs:
        return Packed([0], costs[0], len(costs) - 1, True)
    return Packed(kept, used, len(costs) - len(kept), False)
