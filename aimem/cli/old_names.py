"""Commands of the existing system whose name differs here: the line that does the same.

Not an alias: the old commands worked on a file, ours ask a node, so the person should see the new line once.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from aimem.store.postgres.url import is_postgres, redacted


@dataclass(frozen=True, slots=True)
class _Rename:
    """`now` replaces the name; `flags` maps old flags that differ: to the new one, or to None to leave it out."""

    now: tuple[str, ...]
    flags: dict[str, str | None] = field(default_factory=dict)


_RENAMES: Final[dict[str, _Rename]] = {
    "store": _Rename(("push",)),
    "recall": _Rename(("query",), {"-T": None, "--tier": None, "--context-tokens": None}),
    "search": _Rename(("query", "--words"), {"--agent-id": "--agent"}),
    "list": _Rename(("query", "--list"), {"--agent-id": "--agent"}),
    "completions": _Rename(("completion",)),
}


def line_to_use(args: Sequence[str]) -> str | None:
    """The line for `args` (old name first), or None when that name is not of the old program or is still in use."""
    rename = _RENAMES.get(args[0]) if args else None
    if rename is None:
        return None
    line, rest = ["aimem", *rename.now], list(args[1:])
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if flag not in rename.flags:
            line.append(word)
            continue
        if not equals and rest:
            value, equals = rest.pop(0), " "
        if new := rename.flags[flag]:
            line += [f"{new}={value}"] if equals == "=" else [new, value]
    return shlex.join(map(_shown, line))


def _shown(word: str) -> str:
    """A word of the line, without the password of a shared store."""
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{flag}{equals}{redacted(value)}" if is_postgres(value) else word
