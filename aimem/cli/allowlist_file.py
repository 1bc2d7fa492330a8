"""The allowlist as a file: read, and edited by one at a time. What its lines mean is `core.allowlist`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aimem.cli.whole_file import whole_file
from aimem.core.allowlist import Allowlist, parse_allowlist
from aimem.errors import AimemError, Misconfigured


def read_list(path: Path) -> Allowlist:
    """The list in a file, which may be empty. Raises `Misconfigured`, with the line that is wrong."""
    try:
        text = path.read_text()
    except OSError as error:
        raise Misconfigured(f"can't read the allowlist {path}: {error.strerror}") from error
    except ValueError as error:
        raise Misconfigured(f"{path} is not UTF-8") from error
    try:
        return parse_allowlist(text, empty=True)
    except AimemError as error:
        error.message = f"{path}: {error.message}"
        raise


@contextmanager
def edited(path: Path) -> Iterator[Callable[[Callable[[str], str]], None]]:
    """Edit the file alone: it is replaced whole, with the mode that it had. Raises `Misconfigured`."""
    real = Path(os.path.realpath(path))
    try:
        lock = os.open(real.with_name(f".{real.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Misconfigured(f"can't write {path}: {error.strerror or error}") from error

    def edit(change: Callable[[str], str]) -> None:
        text = real.read_text() if real.exists() else ""
        mode = real.stat().st_mode & 0o777 if real.exists() else 0o644
        changed = change(text)
        with whole_file(str(real)) as file:
            os.fchmod(file.fileno(), mode)
            file.write(changed.encode())

    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield edit
    except OSError as error:
        raise Misconfigured(f"can't write {path}: {error.strerror or error}") from error
    finally:
        os.close(lock)
