"""How results look: JSON, lines for pipes, tables and colours for people. Data goes to stdout, messages to stderr.

What always holds: text from a memory can't move a terminal's cursor, and a plain line is one line with tabs between
its fields.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

SCHEMA: Final = 1  # of --json and --jsonl: fields are only ever added to it
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_COLOURS: Final = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "red": "31"}


def is_tty(stream: TextIO) -> bool:
    """Whether a person looks at `stream`."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def say(message: str) -> None:
    """A message for the person: stderr."""
    print(message, file=sys.stderr, flush=True)


def print_json(value: Mapping[str, Any]) -> None:
    """A reply with `schema` added: indented on a terminal, one line in a pipe."""
    indent = 2 if is_tty(sys.stdout) else None
    print(json.dumps({**value, "schema": SCHEMA}, ensure_ascii=False, indent=indent))


def print_json_lines(values: Iterable[Mapping[str, Any]]) -> None:
    """One value a line, each with `schema`."""
    for value in values:
        print(json.dumps({**value, "schema": SCHEMA}, ensure_ascii=False))


def one_line(text: object) -> str:
    """Text with every run of line ends, tabs and other control characters as one space."""
    return _CONTROL.sub(" ", str(text)).strip()


def many_lines(text: str) -> str:
    """Text whose line ends and tabs stay, without other control characters."""
    return "\n".join("\t".join(one_line(part) if part else "" for part in ln.split("\t")) for ln in text.split("\n"))


def print_line(*fields: object) -> None:
    """One plain line: the fields, with tabs between them."""
    print("\t".join(one_line(field) for field in fields))


def colour(text: str, name: str) -> str:
    """`text` in a colour, where stdout is a terminal that has them and `NO_COLOR` is not set."""
    if not is_tty(sys.stdout) or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS[name]}m{text}\x1b[0m"


def age(stamp: str | None) -> str:
    """How long ago an RFC 3339 time was: `just now`, `5m ago`, `3h ago`, `2d ago`, `4mo ago`."""
    from datetime import UTC, datetime

    try:
        # Python 3.11 reads no more than six digits of a fraction.
        then = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp or ""))
    except ValueError:
        return "-"
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for unit, size in (("mo", 2_592_000), ("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit} ago"
    return "just now"


def width_of(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def cut(text: str, columns: int) -> str:
    """`text` in at most `columns` columns; what is cut is marked by an ellipsis."""
    if width_of(text) <= columns:
        return text
    while text and width_of(text) > columns - 1:
        text = text[: max(columns - 1, 0)] if len(text) > columns else text[:-1]
    return text.rstrip() + "…"


def terminal_columns() -> int:
    """Columns of the terminal, 80 when it does not say."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, stretch: int) -> list[str]:
    """Lines of a table as wide as the terminal at most: the column `stretch` gives way, the others keep their width."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(width_of(row[at]) for row in [list(header), *cells]) for at in range(len(header))]
    others = sum(width + 2 for at, width in enumerate(widths) if at != stretch)
    widths[stretch] = min(widths[stretch], max(terminal_columns() - others, 12))
    lines = [colour(_padded(header, widths), "bold")]
    return lines + [_padded(row, widths) for row in cells]


def print_rows(header: Sequence[str], rows: Sequence[Sequence[object]], *, stretch: int) -> None:
    """Rows as a table on a terminal, the column `stretch` taking what is left; in a pipe a line each, with tabs."""
    if is_tty(sys.stdout):
        if rows:
            print("\n".join(table(header, rows, stretch=stretch)))
        return
    for row in rows:
        print_line(*row)


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    fitted = [cut(cell, width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join(cell + " " * (width - width_of(cell)) for cell, width in zip(fitted, widths, strict=True)).rstrip()


def print_fields(value: Mapping[str, Any], prefix: str = "") -> None:
    """A JSON object as `name: value` lines, the names of nested objects joined by dots."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            print_fields(inner, f"{prefix}{name}.")
        else:
            print(f"{prefix}{name}: {value_text(inner)}")


def value_text(value: object) -> str:
    """A JSON value on one line: plain words where it is plain, else JSON."""
    if value in ("", None, [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        return one_line(", ".join(value))
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
