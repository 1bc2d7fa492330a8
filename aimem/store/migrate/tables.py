"""The tables of the existing system: which are taken in, in which columns, and what is asked of whatever has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from aimem.core.legacy import memories, others

Row = tuple[Any, ...]
Lost = Callable[[str, int], None]
"""What could not be read, in words, and how many rows it surely was."""


class Table(NamedTuple):
    """How a table is read: the columns in the order that its rule expects, by which key, and `joined` tables."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    joined: str = ""


def _plain(name: str, columns: tuple[str, ...], keys: int = 1) -> Table:
    found = tuple(f"t.{column}" for column in columns)
    return Table(name, found, found[:keys])


MEMORIES = _plain("memories", memories.LIVE_COLUMNS)
ARCHIVED = _plain("archived_memories", memories.ARCHIVED_COLUMNS)
LINKS = _plain("memory_links", others.LINK_COLUMNS, 3)
ALIASES = _plain("entity_aliases", others.ALIAS_COLUMNS, 2)
SUBSCRIPTIONS = _plain("subscriptions", others.SUBSCRIPTION_COLUMNS)
STANDARDS = Table(
    "namespace_meta",
    (
        *("t.namespace", "t.standard_id", "t.updated_at", "t.parent_namespace"),
        *("coalesce(m.updated_at, a.updated_at)", "m.metadata", "a.metadata"),
    ),
    ("t.namespace",),
    "LEFT JOIN memories m ON m.id = t.standard_id LEFT JOIN archived_memories a ON a.id = t.standard_id",
)
PENDING = Table(
    "pending_actions",
    (*(f"t.{column}" for column in others.PENDING_COLUMNS[:-1]), "m.metadata"),
    ("t.id",),
    "LEFT JOIN namespace_meta n ON n.namespace = t.namespace LEFT JOIN memories m ON m.id = n.standard_id",
)
TABLES = (MEMORIES, ARCHIVED, LINKS, ALIASES, STANDARDS, PENDING, SUBSCRIPTIONS)
LEFT_OUT = {
    "sync_state": "how far the old program had synced with its peers: without meaning here",
    "schema_version": "",
}


class Source(Protocol):
    """One database, as it stood at one moment. `name` stands for it in what is told, without credentials; `counts` has
    the rows of each table of TABLES; `rest` those of tables that are not taken, with the reason; `lacks` what its
    columns can't tell of any row."""

    name: str
    counts: dict[str, int]
    rest: dict[str, tuple[int, str]]

    @property
    def lacks(self) -> Sequence[str]: ...

    def rows(self, table: Table, lost: Lost) -> Iterator[Row]:
        """All rows of a table in the order of its key, as bytes; of a damaged one all that can be read."""

    def faults(self) -> Sequence[str]:
        """What a check of the whole found damaged; it may still have to be waited for."""

    def close(self) -> None:
        """Let go of it."""
