"""Nodes over one PostgreSQL: recall by meaning is searched there, and one of them embeds for all."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aimem.errors import Busy, StoreUnreachable
from aimem.node import meaning
from aimem.node.node import Node
from aimem.node.settings import SEMANTIC, NodeSettings
from aimem.recall.embedder import Embedder
from aimem.store.postgres import calls, nearest
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.url import read_target
from tests.node.conftest import caller
from tests.waiting import PATIENCE_SECS, until

OpenNode = Callable[[], Awaitable[Node]]

HOLDER = """
import asyncio, sys
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.url import read_target

async def main():
    store = await open_store(read_target(sys.argv[1]))
    assert await store.lease(sys.argv[2], 3_600)
    print("held", flush=True)
    await asyncio.sleep(3_600)

asyncio.run(main())
"""


@pytest.fixture
def url(database: Callable[[], str]) -> str:
    return database()


@pytest.fixture
async def open_node(url: str, tmp_path: Path, model: Path) -> AsyncIterator[OpenNode]:
    async with AsyncExitStack() as closing:

        async def opening() -> Node:
            settings = NodeSettings(tmp_path / "unused.db", SEMANTIC, model=model)
            node = await Node.open(settings, store=await open_store(read_target(url)))
            closing.push_async_callback(node.close)
            return node

        yield opening


async def store(node: Node, title: str, content: str, **more: Any) -> str:
    answer = await node.create({"title": title, "content": content, **more}, caller())
    memory_id: str = answer.body["id"]
    return memory_id


async def recalled(node: Node, question: str, **more: Any) -> list[str]:
    reply = await node.recall({"context": question, **more}, caller())
    return [memory["title"] for memory in reply["memories"]] if reply["mode"] == "hybrid" else []


async def settled(*nodes: Node) -> None:
    """Until every memory has its vector, and searches know it."""
    for node in nodes:
        async with asyncio.timeout(PATIENCE_SECS):
            while node.health()["embedding_backlog"] or not node._meaning.ready:  # type: ignore[union-attr]
                await asyncio.sleep(0.05)


def counted(node: Node) -> float:
    """Vectors that this node has computed."""
    return node._meters.embedded.value()


async def test_one_node_embeds_and_all_recall_by_meaning(open_node: OpenNode) -> None:
    first = await open_node()
    await settled(first)
    second = await open_node()
    await store(first, "Disk", "The database host ran out of space.", namespace="ops")
    await store(second, "Cat", "The cat sleeps on the warm roof.", namespace="home")
    await until(lambda: counted(first) == 2)
    await settled(first, second)
    for node in (first, second):
        assert (await recalled(node, "storage is full"))[0] == "Disk"
        assert await recalled(node, "storage is full", namespace="home") in ([], ["Cat"])
    assert counted(second) == 0
    text = {"title": "Disk", "content": "The database host ran out of space."}
    assert (await second.check_duplicate(text))["is_duplicate"]
    gone = await store(second, "Full", "No room is left on the volume.")
    await until(lambda: counted(first) == 3)
    await settled(first)
    assert "Full" in await recalled(first, "storage is full")
    await second.delete(gone, None, caller())
    assert "Full" not in await recalled(first, "storage is full")  # at once


@pytest.mark.parametrize(("first", "then"), [("nearest", "match"), ("with_vectors", "nearest")])
async def test_neither_side_waits_for_the_other_to_read_what_it_found(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch, first: str, then: str
) -> None:
    node = await open_node()
    await store(node, "Cat", "The cat sleeps on the warm roof.")
    await until(lambda: counted(node) == 1)
    await settled(node)
    real, later, done = getattr(node._store, first), getattr(node._store, then), asyncio.Event()

    async def noted(*asked: Any) -> Any:
        found = await real(*asked)
        done.set()
        return found

    async def waiting(*asked: Any) -> Any:
        async with asyncio.timeout(PATIENCE_SECS):
            await done.wait()
        return await later(*asked)

    monkeypatch.setattr(node._store, first, noted)
    monkeypatch.setattr(node._store, then, waiting)
    assert await recalled(node, "cat") == ["Cat"]


async def test_what_is_near_brings_its_memories(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not asked for again."""
    node = await open_node()
    await store(node, "Cat", "The cat sleeps on the warm roof.")
    await until(lambda: counted(node) == 1)
    await settled(node)
    assert await recalled(node, "cat") == ["Cat"]
    await node.touching.fold()
    asked: list[int] = []

    async def by_rows(rows: Sequence[int]) -> list[None]:
        asked.extend(rows)
        return [None for _ in rows]

    monkeypatch.setattr(node._store, "by_rows", by_rows)
    reply = await node.recall({"context": "kitten"}, caller())  # a word that it does not hold
    assert ([each["title"] for each in reply["memories"]], asked) == (["Cat"], [])
    assert reply["memories"][0]["access_count"] == 1  # with its touches


async def test_a_recall_without_time_to_look_everywhere_says_so(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await open_node()
    await store(node, "Cat", "The cat sleeps on the warm roof.")
    await until(lambda: counted(node) == 1)
    await settled(node)
    assert "truncated" not in await node.recall({"context": "cat"}, caller())
    for statement in ("_COMPUTED", "_OF_ALL"):
        slow = getattr(nearest, statement).replace("WHERE", ", pg_sleep(9) WHERE")
        monkeypatch.setattr(nearest, statement, slow)
    monkeypatch.setattr(nearest, "SEARCH_SECS", 1)
    reply = await node.recall({"context": "cat"}, caller())
    assert reply["truncated"] is True
    assert [memory["title"] for memory in reply["memories"]] == ["Cat"]  # by its words


@pytest.mark.parametrize(("away", "mode", "found"), [("words", "hybrid", "Disk"), ("embedding", "keyword", "Cat")])
async def test_the_side_that_the_store_answers_in_time_decides_alone(
    url: str, open_node: OpenNode, monkeypatch: pytest.MonkeyPatch, away: str, mode: str, found: str
) -> None:
    """A question whose words are those of one memory, and whose meaning is that of another."""
    node = await open_node()
    await store(node, "Disk", "The database host ran out of space.")
    await store(node, "Cat", "The cat sleeps on the warm roof of the storage.")
    await until(lambda: counted(node) == 2)
    await settled(node)
    monkeypatch.setattr(calls, "STORE_CALL_SECS", 1.0)
    async with await psycopg.AsyncConnection.connect(url) as locking:
        await locking.execute(f"LOCK TABLE {away} IN ACCESS EXCLUSIVE MODE")
        reply = await node.recall({"context": "storage is full"}, caller())
        assert (reply["mode"], reply["memories"][0]["title"], reply["truncated"]) == (mode, found, True)
        assert node._meters.truncated.value() == 1
        await locking.execute("LOCK TABLE words, embedding IN ACCESS EXCLUSIVE MODE")
        with pytest.raises((StoreUnreachable, Busy)):
            await node.recall({"context": "storage is full"}, caller())
    assert "truncated" not in await node.recall({"context": "storage is full"}, caller())


async def test_the_next_node_goes_on_when_the_one_that_embeds_has_closed(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await open_node()
    await settled(first)
    second = await open_node()
    await store(second, "Cat", "The cat sleeps on the warm roof.")
    await until(lambda: counted(first) == 1)
    await first.close()
    await store(second, "Disk", "The database host ran out of space.")
    async with asyncio.timeout(PATIENCE_SECS):
        await until(lambda: counted(second) == 1)
    await settled(second)
    assert (await recalled(second, "storage is full"))[0] == "Disk"


async def test_the_lease_of_a_node_that_was_killed_is_taken_when_it_ends(
    url: str, open_node: OpenNode, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    """It ends when the test says so: how long anything takes does not matter."""
    monkeypatch.setattr(meaning, "EMBED_LEASE_SECS", 1.0)
    name = "embed:" + Embedder(model).model_id
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, url, name, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    node = await open_node()
    await store(node, "Cat", "The cat sleeps on the warm roof.")
    holder.send_signal(signal.SIGKILL)
    await holder.wait()
    assert counted(node) == 0
    assert node.health()["embedding_backlog"]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("UPDATE lease SET ends = clock_timestamp() WHERE name = %s", (name,))
    async with asyncio.timeout(PATIENCE_SECS):
        await until(lambda: counted(node) == 1)


SET = Path(__file__).parent.parent / "data" / "recall"


async def test_the_same_questions_give_the_same_memories_as_over_sqlite(
    open_node: OpenNode, tmp_path: Path, model: Path
) -> None:
    """The project's own set: the ten best of every question, equal scores in any order."""
    lines = [json.loads(line) for line in (SET / "memories.jsonl").read_text().splitlines()]
    names = ("id", "namespace", "title", "content", "created_at")
    rows = [
        {name: each[name] for name in names}
        | {"tier": "long", "metadata": {"agent_id": each["author"]} if "author" in each else {}}
        for each in lines
    ]
    over_sqlite = await Node.open(NodeSettings(tmp_path / "a.db", SEMANTIC, model=model))
    try:
        shared = await open_node()
        for node in (over_sqlite, shared):
            assert not (await node.import_object({"memories": rows, "links": []}, caller())).body.get("errors")
        while over_sqlite.health()["embedding_backlog"] or not (await over_sqlite.status())["embedding"]["index_ready"]:
            await asyncio.sleep(0.05)
        await over_sqlite.check()
        await settled(shared)
        differing = []
        for line in (SET / "questions.jsonl").read_text().splitlines():
            question = json.loads(line)["question"]
            expected, found = await scores(over_sqlite, question), await scores(shared, question)
            if not alike(expected, found):
                differing.append((question, expected, found))
        assert not differing
    finally:
        await over_sqlite.close()


async def scores(node: Node, question: str) -> list[tuple[str, float]]:
    reply = await node.recall({"context": question, "limit": 10}, caller())
    assert reply["mode"] == "hybrid"
    return [(each["id"], each["score"]) for each in reply["memories"]]


def alike(expected: list[tuple[str, float]], found: list[tuple[str, float]]) -> bool:
    """The same scores, and the same memories but for those that may tie (scores have three decimals)."""
    if [score for _, score in expected] != pytest.approx([score for _, score in found], abs=0.0021):
        return False
    last = expected[-1][1] if expected else 0
    return {key for key, score in expected if score > last + 0.002} <= {key for key, _ in found}
