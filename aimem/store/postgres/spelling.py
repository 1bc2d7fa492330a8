"""The process that spells the words of what is loaded (see `speller`): texts in, the lines that COPY takes out.

It imports no more than that takes, so it is soon there.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import sys
from collections.abc import Iterable

from aimem.core.kinds import MEMORY
from aimem.core.record import Record
from aimem.core.version import ZERO
from aimem.store.postgres.words import lexemes

SIZE_BYTES = 8
"""How long the lines are stands before them."""

Text = tuple[int, int, bytes]
"""What the words of a memory are made of, as little as tells them: its row, the time of its birth, its body."""


def lines(texts: Iterable[Text]) -> bytes:
    """The lines of `words` for memories."""
    spelled = []
    for row, born, raw in texts:
        found, size = lexemes(Record(MEMORY, "", ZERO, ZERO._replace(time=born), raw))
        spelled.append(f"{row}\t{size}\t{found}\n")
    return "".join(spelled).encode()


def serve() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that is for who started it
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            spelled = lines(pickle.load(sys.stdin.buffer))  # noqa: S301 - from who started it
            sys.stdout.buffer.write(len(spelled).to_bytes(SIZE_BYTES, "big") + spelled)
            sys.stdout.buffer.flush()
