"""From what a person names to what is read or filled: a file, of ours or of the existing system, or a shared store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aimem.errors import Usage
from aimem.store.base import Store
from aimem.store.migrate.source import open_source
from aimem.store.migrate.tables import Source as OldSource
from aimem.store.migrate.workspace import workspace
from aimem.store.moving.snapshot import is_ours, open_snapshot
from aimem.store.moving.source import Source
from aimem.store.postgres.url import Target, is_postgres, read_target, redacted
from aimem.store.sqlite.store import open_sqlite

_SQLITE = "sqlite:"

Reach = Callable[[str], Target]
"""From a URL to the database of a server: what else is known of it, beside the URL."""


def is_shared(url: str) -> bool:
    """Whether a name is that of a shared store."""
    return is_postgres(url)


def told(url: str) -> str:
    """The name as it may be shown: without secrets."""
    return redacted(url)


def path_of(url: str) -> Path:
    """The file that is named, as a path or as `sqlite:PATH`.

    Raises:
        Usage: it is no name of a file.
    """
    path = url.removeprefix("sqlite://") if url.startswith("sqlite://") else url.removeprefix(_SQLITE)
    if not path:
        raise Usage("an empty file name")
    if "://" in path:
        raise Usage(f"{redacted(url)!r:.80} is no database", hint="give a file, sqlite:PATH, or postgres://...")
    return Path(path)


class Sources(NamedTuple):
    """What is read: databases of the existing system, and ours."""

    old: list[OldSource]
    ours: list[Source]

    @property
    def rows(self) -> int:
        """About how many rows they have in all."""
        return sum(sum(each.counts.values()) for each in self.old) + sum(each.head for each in self.ours)


@contextlib.contextmanager
def opened_files(paths: Sequence[Path], beside: Path, target: str | None = None) -> Iterator[Sources]:
    """Files as sources, each read from a private copy that is kept beside `beside`, and goes at the end; `target` is
    what people call the target, where it is not `beside`.

    Raises: as `migrate.source.open_source`, `snapshot.open_snapshot` and `migrate.workspace.workspace`.
    """
    with workspace(beside, target) as folder, contextlib.ExitStack() as stack:
        found = Sources([], [])
        for number, path in enumerate(paths):
            place = folder / str(number)
            place.mkdir()
            if is_ours(path):
                snapshot = open_snapshot(path, place)
                stack.callback(snapshot.close)
                found.ours.append(snapshot)
            else:
                found.old.append(open_source(path, place))
                stack.callback(found.old[-1].close)
        yield found


@contextlib.asynccontextmanager
async def opened_sources(urls: Sequence[str], target: str, reach: Reach = read_target) -> AsyncIterator[Sources]:
    """All that is named; `reach` tells how to get at a server. Raises as `opened_files`, `migrate.postgres.open_source`
    and `shared.opened_source`."""
    async with contextlib.AsyncExitStack() as stack:
        files = [path_of(url) for url in urls if not is_shared(url)]
        found = stack.enter_context(opened_files(files, workplace(target), told(target)))
        for url in filter(is_shared, urls):
            await _open_shared(reach(url), stack, found)
        yield found


async def _open_shared(target: Target, stack: contextlib.AsyncExitStack, found: Sources) -> None:
    """Add a database of a server: one of the existing system, or a shared store of ours."""
    from aimem.store.migrate.postgres import open_source as open_old
    from aimem.store.moving.shared import opened_source

    old = open_old(target)
    if old is None:
        found.ours.append(await stack.enter_async_context(opened_source(target)))
    else:
        stack.callback(old.close)
        found.old.append(old)


@contextlib.asynccontextmanager
async def opened_store(url: str, reach: Reach = read_target) -> AsyncIterator[Store]:
    """The store that is named, made where there is none; `reach` tells how to get at a server.

    Raises:
        Locked: another process holds the file, or fills the shared store. Misconfigured, Damaged, DiskFull,
        StoreUnreachable: it can't be used.
    """
    if is_shared(url):
        from aimem.store.moving.shared import opened_target

        async with opened_target(reach(url)) as shared:
            yield shared
        return
    store = await open_sqlite(path_of(url))
    try:
        yield store
    finally:
        await store.close()


def workplace(target: str) -> Path:
    """Beside what the copies of sources are kept: a target that is a file, or a name of this user's and target's."""
    if not is_shared(target):
        return path_of(target)
    name = hashlib.sha256(told(target).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"aimem-{os.geteuid()}-{name}")
