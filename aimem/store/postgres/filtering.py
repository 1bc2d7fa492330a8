"""Filters as PostgreSQL says them: scope, author and tags are columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aimem.store import filtering
from aimem.store.base import Filter
from aimem.store.postgres.text import stored


def where(which: Filter) -> tuple[str, dict[str, Any]]:
    """A filter as a condition on the record `r`, and its parameters."""
    condition = Condition(which)
    return str(condition), condition.values


class Condition(filtering.Condition):
    """Texts are as columns hold them."""

    visible = "r.visible"
    scope = "r.scope"
    author = "r.agent"

    def _parameter(self, name: str) -> str:
        return f"%({name})s"

    def _text(self, name: str, value: str) -> str:
        return f"{self._given(name, stored(value))}::text"

    def _among(self, column: str, name: str, texts: Sequence[str]) -> str:
        return f"{column} = ANY({self._given(name, list(map(stored, texts)))}::text[])"

    def _tagged(self, name: str, tag: str) -> str:
        return f"{self._text(name, tag)} = ANY(r.tags)"

    def _begins(self, column: str, text: str) -> str:
        return f"starts_with({column}, {text})"

    def _matches(self, name: str, pattern: str) -> str:
        path = pattern.removesuffix("/**")
        segments = (
            "[^/]*" if segment == "*" else re.sub(r"(\W)", r"\\\1", stored(segment)) for segment in path.split("/")
        )
        expression = f"^(?:{'/'.join(segments)}){'' if path == pattern else '(?:/.*)?'}$"
        return f"r.namespace ~ {self._given(name, expression)}"
