"""A memory as text: one whole, or many as a table for a terminal and as plain lines for a pipe.

A plain line is `ID  SCORE  TIER  NAMESPACE  TITLE  PREVIEW` with tabs between; the score is empty where there is none,
the preview is the beginning of the content.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aimem.cli import output

Memory = Mapping[str, Any]
_SHOWN_FIRST: Final = ("title", "id", "namespace", "tier", "tags", "priority", "confidence", "source")
_PREVIEW_CHARS: Final = 200  # as much as the old program showed


def print_memories(memories: Sequence[Memory], *, json_lines: bool) -> None:
    """Print what was found, in the form that suits stdout. Says on stderr when there is nothing."""
    if json_lines:
        output.print_json_lines(memories)
    elif output.is_tty(sys.stdout):
        _print_table(memories)
    else:
        for memory in memories:
            score = f"{memory['score']:.3f}" if "score" in memory else ""
            fields = (memory.get(name, "") for name in ("tier", "namespace", "title"))
            output.print_line(memory.get("id", ""), score, *fields, _preview(memory))


def _print_table(memories: Sequence[Memory]) -> None:
    scored = any("score" in memory for memory in memories)
    header = ["ID", "TIER", "NAMESPACE", "TITLE", "AGE"]
    rows: list[list[object]] = [
        [str(m.get("id", ""))[:8], m.get("tier", ""), m.get("namespace", ""), m.get("title", ""), _age(m)]
        for m in memories
    ]
    if scored:
        header.insert(0, "SCORE")
        rows = [[f"{m.get('score', 0):.2f}", *row] for m, row in zip(memories, rows, strict=True)]
    head, *lines = output.table(header, rows, stretch=header.index("TITLE"))
    print(head)
    for memory, line in zip(memories, lines, strict=True):
        print(line)
        print(output.colour("    " + output.cut(_preview(memory), output.terminal_columns() - 4), "dim"))


def _preview(memory: Memory) -> str:
    """The beginning of the content, on one line."""
    content = str(memory.get("content", ""))
    return output.one_line(content[:_PREVIEW_CHARS]) + ("…" if len(content) > _PREVIEW_CHARS else "")


def _age(memory: Memory) -> str:
    return output.age(memory.get("updated_at") or memory.get("created_at"))


def print_memory(memory: Memory, links: Sequence[Mapping[str, Any]]) -> None:
    """Print one memory whole: its fields, an empty line, its content, then its links."""
    rest = [name for name in memory if name not in (*_SHOWN_FIRST, "content", "memory", "links")]
    for name in (*_SHOWN_FIRST, *rest):
        if memory.get(name) in (None, [], {}, ""):
            continue
        print(output.colour(f"{name}:", "bold"), output.value_text(memory[name]))
    print()
    print(output.many_lines(str(memory.get("content", ""))))
    if links:
        print("\nlinks:")
    for link in links:
        print(f"  {output.one_line(link['source_id'])} --[{link['relation']}]--> {output.one_line(link['target_id'])}")
