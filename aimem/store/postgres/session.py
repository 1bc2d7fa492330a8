"""What the store needs of a connection: psycopg's `AsyncConnection`, with statements as the text that they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Values = Sequence[Any] | Mapping[str, Any] | None


class Connection(Protocol):
    """One session of the server."""

    async def execute(self, query: Any, params: Values = None) -> Any:
        """Run one statement (several, without values). A cursor."""


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
