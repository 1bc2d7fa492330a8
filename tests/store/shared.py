"""Nodes that share a store: opened for a test, and what each of them hears."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from aimem.core.record import Ref
from aimem.store.base import Change
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.url import read_target
from tests.waiting import PATIENCE_SECS


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    """A shared store, open for a block."""
    store = await open_store(read_target(url))
    try:
        yield store
    finally:
        await store.close()


class Node:
    """One opening of a shared store, and the changes that its listeners heard: (seq, address)."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.heard: list[tuple[int, Ref]] = []
        store.subscribe(self._listen)

    def _listen(self, changes: Sequence[Change]) -> None:
        self.heard += [(change.seq, change.record.ref) for change in changes if change.seq]


@asynccontextmanager
async def nodes(url: str, number: int) -> AsyncIterator[list[Node]]:
    """So many nodes on one store, opened at the same time."""
    async with AsyncExitStack() as closing:
        stores = await asyncio.gather(*(open_store(read_target(url)) for _ in range(number)))
        for store in stores:
            closing.push_async_callback(store.close)
        yield [Node(store) for store in stores]


async def all_hear(found: Sequence[Node], head: int) -> None:
    """Wait until all know of the store up to `head`, by themselves."""
    until = time.monotonic() + PATIENCE_SECS
    while any(node.store.head < head for node in found):
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
