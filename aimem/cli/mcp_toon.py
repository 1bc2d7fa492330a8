"""TOON: lists of memories as text that costs a language model few tokens. One head line, then a row for each memory.

The columns are those of the existing system, and the content behind them: without it an agent would have titles only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

COMPACT: Final = ("id", "title", "tier", "namespace", "priority", "score", "tags", "agent_id", "content")
FULL: Final = (
    *("id", "title", "tier", "namespace", "priority", "confidence", "score", "access_count", "tags", "source"),
    *("created_at", "updated_at", "metadata", "content"),
)
_STANDARD = ("id", "title", "content")
_HEAD = ("count", "mode", "tokens_used", "budget_tokens", "truncated")
_SPECIAL = re.compile(r"[\\|:\n\r]")


def toon(reply: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    """A node's list of memories, in these columns; the standards that hold for them before it."""
    head = "|".join(f"{name}:{_cell(reply[name])}" for name in _HEAD if reply.get(name) is not None)
    standards = reply.get("standards") or ([reply["standard"]] if reply.get("standard") else [])
    rules = _section("standards", _STANDARD, standards) if standards else []
    return "\n".join([head, *rules, *_section("memories", columns, reply["memories"])])


def _section(name: str, columns: tuple[str, ...], memories: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = ["|".join(_cell(_value(memory, column)) for column in columns) for memory in memories]
    return [f"{name}[{'|'.join(columns)}]:", *rows]


def _value(memory: Mapping[str, Any], name: str) -> Any:
    return memory.get("metadata", {}).get(name) if name == "agent_id" else memory.get(name)


def _cell(value: Any) -> str:
    """Nothing for null and an empty object; 1 and 0 for truth; lists with commas; objects as JSON."""
    if value is None or value == {}:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(map(_cell, value))
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict) else str(value)
    return _SPECIAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return {"\n": "\\n", "\r": "\\r"}.get(found[0], f"\\{found[0]}")
