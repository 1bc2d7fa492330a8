"""From what a person names to what is read or filled: a file, of ours or of the existing system, or a shared store."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aimem.errors import NotOffered, Usage
from aimem.store.base import Store
from aimem.store.migrate.source import Source as OldSource
from aimem.store.migrate.source import open_source
from aimem.store.migrate.workspace import workspace
from aimem.store.moving.snapshot import Snapshot, is_ours, open_snapshot
from aimem.store.sqlite.store import open_sqlite

_SQLITE, _POSTGRES = "sqlite:", ("postgres://", "postgresql://")


def is_shared(url: str) -> bool:
    """Whether a name is that of a shared store."""
    return url.startswith(_POSTGRES)


def is_node(url: str) -> bool:
    """Whether a name is the address of a node."""
    return url.startswith(("http://", "https://"))


def told(url: str) -> str:
    """The name as it may be shown: without a password."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, who = head.partition("://")
    return f"{scheme}{slashes}{who.partition(':')[0]}{at}{tail}" if at and slashes else url


def path_of(url: str) -> Path:
    """The file that is named, as a path or as `sqlite:PATH`.

    Raises:
        Usage: it is no name of a file.
    """
    path = url.removeprefix("sqlite://") if url.startswith("sqlite://") else url.removeprefix(_SQLITE)
    if not path:
        raise Usage("an empty file name")
    if is_shared(path):
        raise NotOffered(f"{path.partition(':')[0]} is not served by this version", hint="give a file")
    if "://" in path:
        raise Usage(f"{url!r:.80} is no database", hint="give a file, sqlite:PATH, or postgres://...")
    return Path(path)


class Sources(NamedTuple):
    """What is read: databases of the existing system, and ours."""

    old: list[OldSource]
    ours: list[Snapshot]

    @property
    def rows(self) -> int:
        """About how many rows they have in all."""
        return sum(sum(each.counts.values()) for each in self.old) + sum(each.head for each in self.ours)


@contextlib.contextmanager
def opened_files(paths: Sequence[Path], beside: Path) -> Iterator[Sources]:
    """Files as sources, each read from a private copy that is kept beside `beside`, the target, and goes at the end.

    Raises: as `migrate.source.open_source`, `snapshot.open_snapshot` and `migrate.workspace.workspace`.
    """
    with workspace(beside) as folder, contextlib.ExitStack() as stack:
        found = Sources([], [])
        for number, path in enumerate(paths):
            place = folder / str(number)
            place.mkdir()
            if is_ours(path):
                found.ours.append(open_snapshot(path, place))
                stack.callback(found.ours[-1].close)
            else:
                found.old.append(open_source(path, place))
                stack.callback(found.old[-1].close)
        yield found


@contextlib.asynccontextmanager
async def opened_store(url: str) -> AsyncIterator[Store]:
    """The store that is named, made where there is none.

    Raises:
        Locked: another process holds the file. Misconfigured, Damaged, DiskFull: it can't be used.
        NotOffered: this version has no such store.
    """
    if is_shared(url):
        raise NotOffered(f"{url.partition(':')[0]} is not served by this version", hint="give a file")
    store = await open_sqlite(path_of(url))
    try:
        yield store
    finally:
        await store.close()
