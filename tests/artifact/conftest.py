"""The one file must be there, and one cache of what it unpacks serves all tests that do not test unpacking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from .artifact import FILE


@pytest.fixture(autouse=True, scope="session")
def built() -> None:
    """`scripts/test` builds the file before it starts the tests; a bare pytest does not."""
    if not FILE.exists():
        pytest.fail(f"{FILE} is missing: run scripts/build, or scripts/test instead of pytest", pytrace=False)


@contextmanager
def _folder_in_memory() -> Iterator[Path]:
    """A folder that is quick to flush, in memory if it may hold what is executed: every file unpacked is flushed."""
    memory = Path("/dev/shm")
    fits = memory.is_dir() and os.access(memory, os.W_OK) and not os.statvfs(memory).f_flag & os.ST_NOEXEC
    with TemporaryDirectory(prefix="aimem-", dir=memory if fits else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def cache() -> Iterator[Path]:
    """A folder for what the file unpacks, shared by all tests that do not ask for an empty one."""
    with _folder_in_memory() as folder:
        yield folder / "cache"


@pytest.fixture
def empty_cache() -> Iterator[Path]:
    """A folder that is not there yet."""
    with _folder_in_memory() as folder:
        yield folder / "cache"
