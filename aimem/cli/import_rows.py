"""What `import` reads: JSON lines, or the JSON object of an export, as lines for the node.

What always holds: nothing is held whole, and the number of a line that is sent leads back to the row it came from; a
row that can't be sent is an empty line, which the node counts and passes over.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final

from aimem.cli.json_elements import elements_of
from aimem.errors import Malformed
from aimem.limits import BODY_BYTES_MAX

PIECE_BYTES: Final = 65_536
_LINKS_IN_MEMORY_BYTES: Final = 1024 * 1024  # more of them wait in a temporary file
# The first field of an export. No row begins with one of these.
_EXPORT: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"(?:memories|links|count|exported_at|schema)"\s*:')


class Rows(ABC):
    """The rows of one source, called `name` in messages."""

    def __init__(self, name: str, pieces: Iterator[bytes]) -> None:
        self.name, self._pieces = name, pieces
        self.problems: dict[int, str] = {}  # number of a line -> why it was not sent
        self.left_out: dict[str, int] = {}  # what is no row of ours -> how many there were
        self.fault: Malformed | None = None  # what ended the reading early
        self.bytes_read = 0

    @abstractmethod
    def lines(self) -> Iterator[bytes]:
        """A line for each row, with its end; once."""

    @abstractmethod
    def where(self, number: int) -> str:
        """The place in the source of the line with that number, from 1."""

    def _counted(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.bytes_read += len(piece)
            yield piece

    def _fitting(self, number: int, line: bytes) -> bytes:
        if len(line) <= BODY_BYTES_MAX:
            return line + b"\n"
        self.problems[number] = f"longer than {BODY_BYTES_MAX} bytes"
        return b"\n"


class LineRows(Rows):
    """JSON lines: each is sent as it is."""

    def lines(self) -> Iterator[bytes]:
        number, rest = 0, b""
        for piece in self._counted():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                number += 1
                yield self._fitting(number, line)
            rest = rest[: BODY_BYTES_MAX + 1]  # of a line that is too long no more is kept than shows it
        if rest:
            yield self._fitting(number + 1, rest)

    def where(self, number: int) -> str:
        return f"{self.name}:{number}"


class ObjectRows(Rows):
    """`{"memories": [...], "links": [...]}` in any order: its memories, then its links."""

    _memories = 0

    def lines(self) -> Iterator[bytes]:
        with SpooledTemporaryFile(_LINKS_IN_MEMORY_BYTES) as later:
            try:
                for name, text in elements_of(self._counted()):
                    row = re.sub(r"[\r\n]", " ", text)  # line ends stand between tokens only
                    if name == "memories":
                        self._memories += 1
                        yield self._fitting(self._memories, b'{"memory":%b}' % row.encode())
                    elif name == "links":
                        later.write(b'{"link":%b}\n' % row.encode())
                    else:
                        self.left_out[name] = self.left_out.get(name, 0) + 1
            except Malformed as err:
                self.fault = err
            later.seek(0)
            for number, line in enumerate(later, self._memories + 1):
                yield self._fitting(number, line.rstrip(b"\n"))

    def where(self, number: int) -> str:
        name, index = ("memories", number) if number <= self._memories else ("links", number - self._memories)
        return f"{self.name}: {name}[{index - 1}]"


def rows_of(name: str, file: BinaryIO) -> Rows:
    """The rows of a file, in either form."""
    head = file.read(PIECE_BYTES)
    form = ObjectRows if _EXPORT.match(head) else LineRows
    return form(name, chain([head], iter(partial(file.read, PIECE_BYTES), b"")))
