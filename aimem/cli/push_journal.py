"""How far a push has come: a small file that lets the next run of the same command leave out what was acknowledged.

One line for the run, then one for each batch that was stored whole: the hash of its bytes. It is a hint only, for
sending twice is safe: it is not synced, and where no file can be made the push goes on without. It is gone after a
push that ended, and counts for nothing after a day or for another store.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from aimem.limits import PUSH_RESUME_SECS


class Journal:
    """`run` names the push, the same after a break; a batch is known by the hash of its bytes."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._file = path, _opened(path)
        lines = self._file.read().split("\n") if self._file else []
        self._done = set(lines[1:])
        self.run = lines[0] or os.urandom(16).hex() if lines else os.urandom(16).hex()
        self.resumable = self._file is not None
        if not any(lines):
            self._write(self.run)

    @classmethod
    def of(cls, parts: Sequence[str], env: Mapping[str, str]) -> Journal:
        """The journal of the push that `parts` describe: target, store, sources, fields."""
        state = env.get("XDG_STATE_HOME") or os.path.join(env.get("HOME") or "/nonexistent", ".local/state")
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        return cls(Path(state, "aimem", "push", name))

    def has(self, digest: str) -> bool:
        """Whether this batch was stored by an earlier, broken run."""
        return digest in self._done

    def add(self, digest: str) -> None:
        """This batch is stored."""
        self._write(digest)

    def close(self, *, ended: bool) -> None:
        """Close the file; remove it when the push `ended`, whatever rows were refused."""
        if self._file:
            self._file.close()
            if ended and self._path:
                self._path.unlink(missing_ok=True)

    def _write(self, line: str) -> None:
        if self._file:
            self._file.write(line + "\n")
            self._file.flush()


def _opened(path: Path | None) -> TextIO | None:
    """The journal's file, at its start; an old one is begun anew. None where none can be made."""
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and time.time() - path.stat().st_mtime > PUSH_RESUME_SECS:
            path.unlink()
        file = path.open("a+", encoding="ascii")
    except OSError:
        return None
    file.seek(0)
    return file
