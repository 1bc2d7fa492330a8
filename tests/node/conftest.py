"""A node over a store, without HTTP: its clock is set by the test, its background does what the test awaits."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from aimem.core.intent import Intent
from aimem.errors import AimemError
from aimem.node.caller import Caller
from aimem.node.node import Node
from aimem.node.settings import CHECKOUT_MODEL, KEYWORD, SEMANTIC, NodeSettings
from aimem.store.base import Outcome, Store
from aimem.store.memory.store import MemoryStore
from aimem.store.sqlite.store import open_sqlite
from tests.waiting import until

_requests = itertools.count(1)


class Clock:
    """A wall clock that goes on only when told to."""

    def __init__(self) -> None:
        self.now = time.time_ns()

    def __call__(self) -> int:
        return self.now

    def forward(self, *, seconds: float = 0, days: float = 0) -> None:
        self.now += int((seconds + days * 86_400) * 10**9)


def caller(
    agent_id: str | None = "ai:tester", *, key: str | None = None, expected: str | None = None, request: str = ""
) -> Caller:
    """A caller; every request has an id of its own."""
    return Caller(agent_id, request or f"r{next(_requests)}", key, expected)


class Faulty:
    """A store whose writes fail while a `fault` is set; all else is the store's own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fault: AimemError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        if self.fault is not None:
            raise self.fault
        return await self._store.write(intents)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[..., Awaitable[Node]]
Reopen = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["sqlite", "memory"])
def kind_of_store(request: pytest.FixtureRequest) -> str:
    """Every test runs over both stores: no use case may depend on one."""
    kind: str = request.param
    return kind


@pytest.fixture
def reopen(kind_of_store: str, tmp_path: Path, clock: Clock) -> Reopen:
    """Opens the store of the test: anew each time, with what it held when it was closed."""
    last: MemoryStore | None = None

    async def opening() -> Store:
        nonlocal last
        if kind_of_store == "sqlite":
            return await open_sqlite(tmp_path / "a.db", now=clock)
        last = MemoryStore(now=clock, after=last)
        return last

    return opening


@pytest.fixture
async def open_node(reopen: Reopen, tmp_path: Path, clock: Clock) -> AsyncIterator[Open]:
    """Opens nodes on one store, one after the other; those still open are closed at the end."""
    opened: list[Node] = []

    async def opening(
        tier: str = KEYWORD, *, over: Callable[[Store], object] = lambda store: store, **more: Any
    ) -> Node:
        store = cast(Store, over(await reopen()))
        node = await Node.open(NodeSettings(tmp_path / "a.db", tier, **more), store=store, now=clock)
        opened.append(node)
        return node

    yield opening
    for node in opened:
        await node.close()


@pytest.fixture
async def node(open_node: Open) -> Node:
    """A node that knows only words."""
    return await open_node()


@pytest.fixture
async def faulty(reopen: Reopen) -> Faulty:
    return Faulty(await reopen())


@pytest.fixture
async def faulty_node(faulty: Faulty, tmp_path: Path, clock: Clock) -> AsyncIterator[Node]:
    """A node of words over a store that can be made to fail."""
    node = await Node.open(NodeSettings(tmp_path / "a.db", KEYWORD), store=cast(Store, faulty), now=clock)
    yield node
    faulty.fault = None
    await node.close()


@pytest.fixture
def model() -> Path:
    """The folder of the embedding model."""
    if not (CHECKOUT_MODEL / "model.json").is_file():
        pytest.fail(f"there is no embedding model in {CHECKOUT_MODEL}: scripts/test builds it")
    return CHECKOUT_MODEL


@pytest.fixture
async def meaning_node(open_node: Open, model: Path) -> Node:
    """A node that recalls by meaning, its model and index ready."""
    node = await open_node(SEMANTIC)
    await until(lambda: node.health()["embedder_ready"])
    return node


async def embedded(node: Node) -> None:
    """Until every memory has its vector, and the index has them too."""
    await until(lambda: not node.health()["embedding_backlog"])
    assert await node.check() == []
