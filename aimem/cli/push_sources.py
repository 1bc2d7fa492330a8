"""What `push` reads: JSON lines, documents, and folders of documents, as rows with the place each came from.

What always holds: a row that can't be read is a row with a `problem`, never the end of the run; order is fixed, so
that a second run cuts the same batches.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from aimem.cli.document import parts_of
from aimem.errors import Usage
from aimem.limits import BODY_BYTES_MAX, PUSH_TEXT_FILE_BYTES_MAX

MARKDOWN: Final = (".md", ".markdown")
TEXT: Final = (".txt", ".text", ".rst")
JSON_LINES: Final = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Row:
    """One memory to be stored, or why it can't be; `where` names file and line, `size` are the bytes it took."""

    where: str
    size: int
    fields: Mapping[str, Any] | None = None
    problem: str = ""


def files_of(paths: Sequence[str]) -> list[str]:
    """The files that `paths` stand for: a folder for the documents in it, in order, hidden ones left out; `-` is stdin.

    Raises `Usage` for a path that is not there.
    """
    found: list[str] = []
    for path in paths:
        if path == "-" or os.path.isfile(path):
            found.append(path)
        elif os.path.isdir(path):
            found += _documents(path)
        else:
            raise Usage(f"there is no file or folder {path}")
    return found


def _documents(folder: str) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(MARKDOWN + TEXT) and not name.startswith("."):
                yield os.path.join(here, name)


def bytes_of(files: Sequence[str]) -> int | None:
    """Bytes to be read, for the progress bar; None when stdin is among them."""
    return None if "-" in files else sum(os.path.getsize(path) for path in files)


def rows_of(files: Sequence[str], defaults: Mapping[str, Any], *, json_lines: bool) -> Iterator[Row]:
    """The rows of all files. A field of `defaults` stands where the row has none.

    JSON lines are expected of stdin, of files named so, and everywhere with `json_lines`.
    """
    for path in files:
        if path == "-":
            yield from _lines("stdin", sys.stdin.buffer, defaults)
        elif json_lines or path.lower().endswith(JSON_LINES):
            with open(path, "rb") as file:
                yield from _lines(path, file, defaults)
        else:
            yield from _document(path, defaults)


def _lines(name: str, file: BinaryIO, defaults: Mapping[str, Any]) -> Iterator[Row]:
    number = 0
    while line := file.readline(BODY_BYTES_MAX + 1):
        number += 1
        size, where = len(line), f"{name}:{number}"
        if size > BODY_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = file.readline(BODY_BYTES_MAX)
                size += len(line)
            yield Row(where, size, problem=f"the line is longer than {BODY_BYTES_MAX} bytes")
        elif line.strip():
            yield _line(where, line, defaults)


def _line(where: str, line: bytes, defaults: Mapping[str, Any]) -> Row:
    try:
        fields = json.loads(line)
    except ValueError as err:  # bad JSON or bad UTF-8
        return Row(where, len(line), problem=f"not JSON: {err}")
    except RecursionError:
        return Row(where, len(line), problem="not JSON that can be read: nested too deep")
    if not isinstance(fields, dict):
        return Row(where, len(line), problem="not a JSON object")
    return Row(where, len(line), {**defaults, **fields})


def _document(path: str, defaults: Mapping[str, Any]) -> Iterator[Row]:
    try:
        size = os.path.getsize(path)
        if size > PUSH_TEXT_FILE_BYTES_MAX:
            yield Row(path, size, problem=f"a document of more than {PUSH_TEXT_FILE_BYTES_MAX} bytes")
            return
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError:
        yield Row(path, size, problem="not UTF-8 text")
        return
    except OSError as err:
        yield Row(path, 0, problem=str(err.strerror))
        return
    # The path as it was given is the head of the title: the same files give the same titles from the same place.
    name = os.path.normpath(path).lstrip("./")
    parts = list(parts_of(name, text, markdown=path.lower().endswith(MARKDOWN)))
    for part in parts:
        yield Row(f"{path}:{part.line}", size // len(parts), {**defaults, "title": part.title, "content": part.content})
