"""A text or Markdown document cut into memories: at its headings, and where a part is too long, between paragraphs.

Pure. What always holds: no two parts of one document have the same title, every part fits a memory, and the same text
gives the same parts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aimem.limits import CONTENT_BYTES_MAX, TITLE_CHARS_MAX

_HEADING: Final = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE: Final = re.compile(r"[ ]{0,3}(`{3,}|~{3,})")
_LINE_ENDS: Final = re.compile(r"\r\n?|[\f\v]")
_CUTS: Final = ("\n\n", "\n", " ")  # where a part that is too long is cut: the first of these that helps


@dataclass(frozen=True, slots=True)
class Part:
    """One memory to be: `line` is where it begins, from 1."""

    title: str
    content: str
    line: int


def parts_of(name: str, text: str, *, markdown: bool) -> Iterator[Part]:
    """The parts of a document called `name`, in order; titles are the name, then the headings above the part."""
    seen: Counter[str] = Counter()
    text = _LINE_ENDS.sub("\n", text)
    sections = _sections(text) if markdown else iter([((), text, 1)])
    for headings, content, line in sections:
        pieces = list(fitting(content.strip("\n"), CONTENT_BYTES_MAX))
        title = f"{name}: {' > '.join(headings)}" if headings else name
        for number, piece in enumerate(pieces, 1):
            numbered = f"{title} ({number}/{len(pieces)})" if len(pieces) > 1 else title
            yield Part(_unique(numbered, seen), piece, line)
            line += piece.count("\n")


def _sections(text: str) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """(headings, text below them, line) for each heading of a Markdown text; code between fences has none."""
    headings: list[tuple[int, str]] = []
    begun, fence, lines = 1, "", text.split("\n")
    for number, line in enumerate(lines, 1):
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
        found = None if fence else _HEADING.match(line)
        if found:
            yield tuple(text for _, text in headings), "\n".join(lines[begun - 1 : number - 1]), begun
            headings = [(level, text) for level, text in headings if level < len(found[1])]
            headings.append((len(found[1]), found[2]))
            begun = number + 1
    yield tuple(text for _, text in headings), "\n".join(lines[begun - 1 :]), begun


def fitting(text: str, bytes_max: int) -> Iterator[str]:
    """`text` in pieces of at most `bytes_max` bytes of UTF-8, cut where it hurts least; blank pieces are left out."""
    while len(text.encode()) > bytes_max:
        head = text.encode()[:bytes_max].decode(errors="ignore")
        at = next((end for cut in _CUTS if (end := head.rfind(cut)) > len(head) // 2), len(head))
        if text[:at].strip():
            yield text[:at]
        text = text[at:].lstrip("\n")
    if text.strip():
        yield text


def _unique(title: str, seen: Counter[str]) -> str:
    """The title within its limit; one that came before in this document gets a number."""
    short = title if len(title) <= TITLE_CHARS_MAX - 8 else title[: TITLE_CHARS_MAX - 9] + "…"
    seen[short] += 1
    return short if seen[short] == 1 else f"{short} #{seen[short]}"
