"""Rows of `record` as the lines that COPY takes: each is made in one go, for half of what it costs value by value."""

from __future__ import annotations

import re
from typing import Any

NOTHING = (None,) * 12
"""The values by which reads search, of a row that none finds by them."""
_FIRST = 13  # values stand before them
_NULL, _TAB = r"\N", "\t"
_NONE = _TAB.join([_NULL] * len(NOTHING))
_SPECIAL = re.compile(r"[\\\t\n\r]").search
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def line(values: tuple[Any, ...]) -> str:
    """One row, its values in the order of `statements.TYPES`."""
    row, kind, key, seq, since, version, born, deleted, body, digest, extra, stored, visible = values[:_FIRST]
    shown = values[_FIRST:]
    return (
        f"{row}\t{kind}\t{_text(key)}\t{seq}\t{since}\t{version}\t{born}\t{deleted}\t{_json(body)}\t"
        f"{_bytes(digest)}\t{_json(extra)}\t{_NULL if stored is None else stored}\t{visible}\t"
        f"{_NONE if shown == NOTHING else _shown(*shown)}\n"
    )


def _shown(
    target: str | None,
    archived: int | None,
    namespace: str | None,
    pair: bytes | None,
    tier: int | None,
    priority: int | None,
    created: int | None,
    updated: int | None,
    expires: int | None,
    scope: str | None,
    agent: str | None,
    tags: str | None,
) -> str:
    numbers = (tier, priority, created, updated, expires)
    told = _TAB.join([_NULL if number is None else str(number) for number in numbers])
    return (
        f"{_text(target)}\t{_NULL if archived is None else archived}\t{_text(namespace)}\t"
        f"{_NULL if pair is None else _bytes(pair)}\t{told}\t{_text(scope)}\t{_text(agent)}\t{_text(tags)}"
    )


def _text(value: str | None) -> str:
    if value is None:
        return _NULL
    return value.translate(_ESCAPED) if _SPECIAL(value) else value


def _bytes(value: bytes) -> str:
    return rf"\\x{value.hex()}"


def _json(text: str) -> str:
    """JSON has no control characters."""
    return text.replace("\\", r"\\")
