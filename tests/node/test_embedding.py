"""Embedding behind the acknowledgement, and the index: nothing forgotten, nothing done twice, nothing mixed up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aimem.core.kinds import MEMORY, VECTOR
from aimem.core.record import Record, Ref
from aimem.core.text import embedded_text
from aimem.errors import DiskFull
from aimem.limits import EMBED_BATCH
from aimem.node import background
from aimem.node.indexing import Indexing
from aimem.node.node import Node
from aimem.node.settings import CHECKOUT_MODEL, KEYWORD, SEMANTIC, NodeSettings
from aimem.recall.index import BLOCK_TABLE_BYTES, VectorIndex
from aimem.recall.vector_record import text_sha256
from aimem.store.base import Store, Vector
from tests.node.conftest import Clock, Faulty, Open, Reopen, caller, embedded
from tests.waiting import until


async def fill(node: Node, count: int, first: int = 0) -> list[str]:
    rows = [
        {"title": f"note {number}", "content": f"Words of note {number}."} for number in range(first, first + count)
    ]
    ids: list[str] = (await node.bulk(rows, caller())).body["ids"]
    return ids


def value(node: Node, name: str) -> float:
    (metric,) = [each for each in node.metrics() if each.name == name]
    (sample,) = metric.samples()
    return sample.value


async def vectors(reopen: Reopen, ids: list[str]) -> list[Record | None]:
    store = await reopen()
    try:
        return await store.get([Ref(VECTOR, each) for each in ids])
    finally:
        await store.close()


async def test_every_memory_gets_a_vector_derived_from_its_version(meaning_node: Node, reopen: Reopen) -> None:
    """B-4."""
    ids = await fill(meaning_node, 3)
    versions = [(await meaning_node.get(each))["version"] for each in ids]
    await embedded(meaning_node)
    await meaning_node.close()
    for record, version in zip(await vectors(reopen, ids), versions, strict=True):
        assert record is not None
        assert str(record.version.base()) == version
        assert record.body["model"] == "all-MiniLM-L6-v2/int8-1"


async def test_what_a_node_without_model_stored_is_embedded_by_the_next(open_node: Open, model: Path) -> None:
    first = await open_node(KEYWORD)
    await fill(first, EMBED_BATCH + 8)
    assert first.health()["embedding_backlog"] == 0  # nobody here embeds
    await first.close()
    node = await open_node(SEMANTIC)
    assert node.health()["embedding_backlog"] >= EMBED_BATCH + 8
    await embedded(node)
    assert value(node, "aimem_embedded_total") == value(node, "ai_memory_hnsw_size") == EMBED_BATCH + 8


async def test_a_backlog_of_one_page_is_counted_exactly_at_once(open_node: Open, model: Path) -> None:
    first = await open_node(KEYWORD)
    ids = await fill(first, 5)
    await first.delete(ids[0], None, caller())
    await first.close()
    assert (await open_node(SEMANTIC)).health()["embedding_backlog"] == 4


async def test_what_was_embedded_is_not_embedded_again(open_node: Open, meaning_node: Node) -> None:
    await fill(meaning_node, 5)
    await embedded(meaning_node)
    await meaning_node.close()
    again = await open_node(SEMANTIC)
    assert again.health()["embedding_backlog"] == 0
    await until(lambda: again.health()["embedder_ready"])
    await fill(again, 1, first=5)
    await embedded(again)
    assert value(again, "aimem_embedded_total") == 1
    assert value(again, "ai_memory_hnsw_size") == 6


async def test_an_end_in_the_middle_of_a_backlog_loses_nothing(open_node: Open, meaning_node: Node) -> None:
    await fill(meaning_node, 3 * EMBED_BATCH)
    await until(lambda: value(meaning_node, "aimem_embedded_total") >= EMBED_BATCH)
    await meaning_node.close()
    node = await open_node(SEMANTIC)
    assert node.health()["embedding_backlog"] > 0
    await until(lambda: node.health()["embedder_ready"])
    await embedded(node)
    assert value(node, "ai_memory_hnsw_size") == 3 * EMBED_BATCH
    assert value(node, "aimem_embedded_total") <= 2 * EMBED_BATCH


async def test_only_a_changed_text_is_embedded_anew(meaning_node: Node, reopen: Reopen) -> None:
    one, two = await fill(meaning_node, 2)
    await embedded(meaning_node)
    await meaning_node.update(one, {"priority": 9}, caller())
    await meaning_node.promote(two, caller())
    await embedded(meaning_node)
    assert value(meaning_node, "aimem_embedded_total") == 2
    await meaning_node.update(one, {"content": "Other words."}, caller())
    await embedded(meaning_node)
    assert value(meaning_node, "aimem_embedded_total") == 3
    await meaning_node.close()
    changed, same = await vectors(reopen, [one, two])
    assert changed is not None
    assert same is not None
    assert changed.version > same.version


async def test_a_deleted_memory_leaves_the_index_and_comes_back_when_created_again(meaning_node: Node) -> None:
    (memory_id,) = await fill(meaning_node, 1)
    await embedded(meaning_node)
    await meaning_node.delete(memory_id, None, caller())
    assert value(meaning_node, "ai_memory_hnsw_size") == 0
    assert await fill(meaning_node, 1) == [memory_id]
    await embedded(meaning_node)
    assert value(meaning_node, "ai_memory_hnsw_size") == 1


def another_model(folder: Path) -> Path:
    """A copy of the model under another id."""
    folder.mkdir()
    for file in CHECKOUT_MODEL.iterdir():
        content = file.read_bytes()
        named = content.replace(b"int8-1", b"int8-2") if file.name == "model.json" else content
        (folder / file.name).write_bytes(named)
    return folder


async def test_vectors_of_another_model_do_not_count(open_node: Open, meaning_node: Node, tmp_path: Path) -> None:
    await fill(meaning_node, 2)
    await embedded(meaning_node)
    await meaning_node.close()
    node = await open_node(SEMANTIC, model=another_model(tmp_path / "newer"))
    assert node.health()["embedding_backlog"] == 2
    await until(lambda: node.health()["embedder_ready"])
    await embedded(node)
    assert value(node, "ai_memory_hnsw_size") == value(node, "aimem_embedded_total")


async def test_another_model_replaces_all_vectors(open_node: Open, meaning_node: Node, tmp_path: Path) -> None:
    await fill(meaning_node, 24)
    await embedded(meaning_node)
    await meaning_node.close()
    node = await open_node(SEMANTIC, model=another_model(tmp_path / "newer"))
    await until(lambda: node.health()["embedder_ready"])
    await embedded(node)
    assert value(node, "ai_memory_hnsw_size") == 24


class Slow:
    """A store whose scan of vectors, and whose reads of records when asked to, stop until they are told to go on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = False
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        found = await self._store.get(refs)
        if self.reads:
            self.reached.set()
            await self.go_on.wait()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def scan_vectors(self) -> AsyncIterator[list[Vector]]:
        async for batch in self._store.scan_vectors():
            self.reached.set()
            await self.go_on.wait()
            yield batch


async def test_what_changes_while_the_index_is_built_is_not_lost(
    meaning_node: Node, reopen: Reopen, tmp_path: Path, clock: Clock
) -> None:
    gone, changed, *_ = await fill(meaning_node, 4)
    await embedded(meaning_node)
    await meaning_node.close()
    slow = Slow(await reopen())
    node = await Node.open(NodeSettings(tmp_path / "a.db"), store=slow, now=clock)
    try:
        await slow.reached.wait()
        assert "index_building" in node.health()["degraded"]
        assert (await node.recall({"context": "words of note"}, caller()))["mode"] == "keyword"
        await node.delete(gone, None, caller())
        await node.update(changed, {"content": "She prefers tea without sugar."}, caller())
        await fill(node, 2, first=4)
        await until(lambda: not node.health()["embedding_backlog"])
        slow.go_on.set()
        await until(lambda: node.health()["degraded"] == [])
        assert await node.check() == []
        assert value(node, "ai_memory_hnsw_size") == 5
        reply = await node.recall({"context": "favourite hot drink", "limit": 1}, caller())
        assert (reply["mode"], reply["memories"][0]["id"]) == ("hybrid", changed)
    finally:
        slow.go_on.set()
        await node.close()


async def test_a_memory_deleted_while_the_index_looks_at_it_does_not_come_back(
    reopen: Reopen, tmp_path: Path, clock: Clock, model: Path
) -> None:
    slow = Slow(await reopen())
    slow.go_on.set()
    node = await Node.open(NodeSettings(tmp_path / "a.db"), store=slow, now=clock)
    try:
        (memory_id,) = await fill(node, 1)
        await until(lambda: node.health()["embedder_ready"])
        await embedded(node)
        slow.reads = True
        slow.reached.clear()
        slow.go_on.clear()
        await node.update(memory_id, {"priority": 1}, caller())
        await slow.reached.wait()
        await node.delete(memory_id, None, caller())
        slow.go_on.set()
        assert await node.check() == []
        assert value(node, "ai_memory_hnsw_size") == 0
    finally:
        slow.go_on.set()
        await node.close()


async def test_a_check_right_after_opening_waits_for_the_index(open_node: Open, meaning_node: Node) -> None:
    await fill(meaning_node, 3)
    await embedded(meaning_node)
    await meaning_node.close()
    node = await open_node(SEMANTIC)
    assert await node.check() == []
    assert value(node, "ai_memory_hnsw_size") == 3


async def test_the_check_sees_an_index_that_is_not_what_is_stored(meaning_node: Node) -> None:
    await fill(meaning_node, 2)
    await embedded(meaning_node)
    assert meaning_node._meaning is not None
    indexing = meaning_node._meaning.searching
    assert isinstance(indexing, Indexing)
    row = next(row for row in range(100) if row in indexing.index)
    indexing.index.remove(row)
    assert len(await meaning_node.check()) == 2


async def test_a_full_disk_stops_embedding_and_room_starts_it_again(
    faulty: Faulty, tmp_path: Path, clock: Clock, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "BACKGROUND_RETRY_SECS", 0.01)
    node = await Node.open(NodeSettings(tmp_path / "a.db"), store=faulty, now=clock)
    try:
        await until(lambda: node.health()["embedder_ready"])
        await fill(node, 3)
        faulty.fault = DiskFull("no room")
        await until(lambda: "disk_full" in node.health()["degraded"])
        assert node.health()["embedding_backlog"] > 0
        faulty.fault = None
        await embedded(node)
        assert node.health()["degraded"] == []
        assert value(node, "ai_memory_hnsw_size") == 3
    finally:
        await node.close()


async def test_a_text_that_the_model_can_not_take_stops_no_other(
    meaning_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert meaning_node._meaning is not None
    embedder = meaning_node._meaning._embedder
    embed = embedder.embed

    def failing(text: str, *rest: Any) -> Any:
        if "note 1" in text:
            raise RuntimeError("not this one")
        return embed(text, *rest)

    monkeypatch.setattr(embedder, "embed", failing)
    await fill(meaning_node, 3)
    await until(lambda: not meaning_node.health()["embedding_backlog"])
    assert value(meaning_node, "aimem_embed_failures_total") == 1
    await until(lambda: value(meaning_node, "ai_memory_hnsw_size") == 2)


async def test_the_mark_of_a_vector_is_that_of_the_embedded_text(meaning_node: Node, reopen: Reopen) -> None:
    """HOLE 16: whose text it is is told, and another's is not used."""
    (memory_id,) = await fill(meaning_node, 1)
    await embedded(meaning_node)
    await meaning_node.close()
    store = await reopen()
    vector, memory = await store.get([Ref(VECTOR, memory_id), Ref(MEMORY, memory_id)])
    await store.close()
    assert vector is not None
    assert memory is not None
    assert vector.body["text"] == text_sha256(embedded_text(memory))


async def test_at_its_ceiling_the_index_says_so_and_the_rest_is_found_by_words(
    open_node: Open, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = await open_node(KEYWORD)
    ids = await fill(first, 6)
    await first.close()
    index = VectorIndex()
    node = await open_node(SEMANTIC, memory_max=2 * BLOCK_TABLE_BYTES + 4 * index.row_bytes(1))
    await embedded(node)
    held = int(value(node, "ai_memory_hnsw_size"))
    assert 0 < held < 6
    assert value(node, "aimem_index_bytes") <= 2 * BLOCK_TABLE_BYTES + 4 * index.row_bytes(1)
    assert value(node, "aimem_index_left_out") == 6 - held
    assert node.health()["degraded"] == ["index_full"]
    status = await node.status()
    assert status["embedding"]["index_left_out"] == 6 - held
    assert [each["code"] for each in status["conditions"]] == ["index_full"]
    assert "ceiling" in caplog.text
    for number in range(6):
        found = await node.recall({"context": f"note {number}"}, caller())
        assert f"note {number}" in [each["title"] for each in found["memories"]]
    for each in ids:
        await node.delete(each, None, caller())
    assert node.health()["degraded"] == []
    assert value(node, "aimem_index_left_out") == 0


async def test_a_start_with_a_higher_ceiling_takes_in_what_was_left_out(open_node: Open, model: Path) -> None:
    low = await open_node(SEMANTIC, memory_max=1)
    await fill(low, 3)
    await embedded(low)
    assert value(low, "aimem_index_left_out") == 3
    await low.close()
    node = await open_node(SEMANTIC)
    await embedded(node)
    assert value(node, "ai_memory_hnsw_size") == 3
    assert value(node, "aimem_embedded_total") == 0  # no vector was dropped: none had to be made again
