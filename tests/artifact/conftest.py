"""The one file must be there, and one cache of what it unpacks serves all tests that do not test unpacking."""

from __future__ import annotations

from pathlib import Path

import pytest

from .artifact import FILE


@pytest.fixture(autouse=True, scope="session")
def built() -> None:
    """`scripts/test` builds the file before it starts the tests; a bare pytest does not."""
    if not FILE.exists():
        pytest.fail(f"{FILE} is missing: run scripts/build, or scripts/test instead of pytest", pytrace=False)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the file unpacks."""
    return tmp_path_factory.mktemp("cache")
