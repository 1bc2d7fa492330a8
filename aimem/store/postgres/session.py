"""What the store needs of a connection: psycopg's `AsyncConnection`, with statements as the text that they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final, Protocol

import psycopg

Values = Sequence[Any] | Mapping[str, Any] | None


class Connection(Protocol):
    """One session of the server."""

    async def execute(self, query: Any, params: Values = None, *, binary: bool = False) -> Any:
        """Run one statement (several, without values, but not in pipeline mode). A cursor. `binary`: so come the values
        of the rows."""

    def pipeline(self) -> AbstractAsyncContextManager[Any]:
        """Inside, statements go out without waiting for the answer to the one before; its error comes with its rows."""

    def cursor(self) -> Any:
        """A cursor, for COPY."""


async def rows(connection: Connection, statement: str, values: Values = None) -> list[tuple[Any, ...]]:
    """All rows that a statement gives."""
    cursor = await connection.execute(statement, values)
    found: list[tuple[Any, ...]] = await cursor.fetchall()
    return found


async def one(connection: Connection, statement: str, values: Values = None) -> tuple[Any, ...] | None:
    """The first row that a statement gives."""
    cursor = await connection.execute(statement, values)
    found: tuple[Any, ...] | None = await cursor.fetchone()
    return found


async def first(connection: Connection, statement: str, values: Values = None) -> tuple[Any, ...]:
    """The first row of a statement that always gives one."""
    found = await one(connection, statement, values)
    assert found is not None, "an aggregate gives one row"
    return found


@asynccontextmanager
async def copying(connection: Connection, statement: str) -> AsyncIterator[Any]:
    """psycopg's `AsyncCopy` of a COPY ... FROM STDIN. Not inside a pipeline."""
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield copy


async def lend_memory(connection: Connection, kilobytes: int) -> None:
    """Let an index that is made in this transaction have so much memory, where the server does not give it more."""
    await connection.execute(
        "SELECT set_config('maintenance_work_mem', %s, true) "
        "WHERE pg_size_bytes(current_setting('maintenance_work_mem')) < %s::bigint * 1024",
        (f"{kilobytes}kB", kilobytes),
    )


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """One committed state for all that is read inside; nothing is written. In pipeline mode this takes no round trip at
    its begin."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # where the connection is gone, so is the transaction
            await connection.execute("COMMIT")


@asynccontextmanager
async def together(connection: Connection) -> AsyncIterator[None]:
    """All that is done inside is committed, or nothing. The connection autocommits."""
    await connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):  # where the connection is gone, so is the transaction
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


async def undo(connection: Connection, savepoint: str) -> None:
    """Go back to a savepoint, after an error too."""
    async with connection.pipeline() as pipeline:
        await pipeline.sync()  # else an error would take this statement with it
        await connection.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")


async def unbounded(connection: Connection, *, session: bool = False) -> None:
    """No deadlines of the server in this transaction, or in the whole session. What a server lacks is left out."""
    await connection.execute(UNBOUNDED, (not session,))


UNBOUNDED: Final = (
    "SELECT set_config(name, '0', %s) FROM pg_settings WHERE name IN "
    "('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')"
)
"""The statement of `unbounded`; its value: whether in this transaction only."""
