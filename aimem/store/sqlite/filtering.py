"""Filters as SQLite says them: scope, author and tags are read from the body."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aimem.store import filtering
from aimem.store.base import Filter


def where(which: Filter) -> tuple[str, dict[str, Any]]:
    """A filter as a condition on the record `r`, and its parameters."""
    condition = Condition(which)
    return str(condition), condition.values


class Condition(filtering.Condition):
    """Connections have a function `covers`, which judges patterns of allowlists."""

    visible = "r.visible = 1"
    scope = "coalesce(json_extract(r.body, '$.metadata.scope'), 'private')"
    author = "json_extract(r.body, '$.metadata.agent_id')"

    def _parameter(self, name: str) -> str:
        return f":{name}"

    def _text(self, name: str, value: str) -> str:
        return self._given(name, value)

    def _among(self, column: str, name: str, texts: Sequence[str]) -> str:
        return f"{column} IN (SELECT value FROM json_each({self._given(name, json.dumps(texts))}))"

    def _tagged(self, name: str, tag: str) -> str:
        return f"EXISTS (SELECT 1 FROM json_each(r.body, '$.tags') WHERE value = {self._given(name, tag)})"

    def _begins(self, column: str, text: str) -> str:
        return f"substr({column}, 1, length({text})) = {text}"

    def _matches(self, name: str, pattern: str) -> str:
        return f"covers({self._given(name, pattern)}, r.namespace)"
