"""Recall by words and by meaning: filters before the cut, what may not be shown takes no place, budgets, modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aimem.errors import Invalid, WrongShape
from aimem.node.node import Node
from tests.node.conftest import Clock, Open, caller, embedded
from tests.waiting import until


async def store(node: Node, title: str, content: str, **more: Any) -> str:
    answer = await node.create({"title": title, "content": content, **more}, caller())
    memory_id: str = answer.body["id"]
    return memory_id


async def recalled(node: Node, question: str, **more: Any) -> list[str]:
    reply = await node.recall({"context": question, **more}, caller())
    return [memory["title"] for memory in reply["memories"]]


async def test_a_row_is_found_by_its_words_right_after_it_was_stored(node: Node) -> None:
    await store(node, "Rack seven", "The breaker tripped and the rack lost power.")
    reply = await node.recall({"context": "which rack lost its power?"}, caller())
    assert reply["mode"] == "keyword"
    assert [memory["title"] for memory in reply["memories"]] == ["Rack seven"]
    assert 0 < reply["memories"][0]["score"] <= 1
    assert reply["count"] == 1


async def test_the_question_has_three_names(node: Node) -> None:
    await store(node, "tea", "without sugar")
    for name in ("context", "query", "q"):
        assert (await node.recall({name: "tea"}, caller()))["count"] == 1
    for wrong in ({}, {"context": " "}):
        with pytest.raises(Invalid, match="context"):
            await node.recall(wrong, caller())
    with pytest.raises(WrongShape):
        await node.recall({"context": 7}, caller())


async def test_the_limit_is_bounded_and_may_be_zero(node: Node) -> None:
    rows = [{"title": f"tea {number}", "content": "hot"} for number in range(60)]
    await node.bulk(rows, caller())
    assert len(await recalled(node, "tea")) == 10
    assert len(await recalled(node, "tea", limit="5")) == 5
    assert len(await recalled(node, "tea", limit="500")) == 50
    assert await recalled(node, "tea", limit=0) == []


async def test_a_namespace_spans_its_ancestors_and_nothing_else(node: Node) -> None:
    for namespace in ("a", "a/b", "a/b/c", "a/x", "global"):
        await store(node, namespace, "tea", namespace=namespace)
    assert await recalled(node, "tea", namespace="a/b") == ["a/b", "a"]
    assert await recalled(node, "tea", namespace="a") == ["a"]


async def test_a_budget_packs_what_fits_and_says_what_was_dropped(node: Node) -> None:
    """B-21."""
    await store(node, "tea one", "hot " * 400)
    await store(node, "tea two", "hot")
    reply = await node.recall({"context": "hot tea", "budget_tokens": "50"}, caller())
    assert [memory["title"] for memory in reply["memories"]] == ["tea two"]
    assert reply["budget_tokens"] == 50
    assert reply["meta"] == {
        "budget_tokens_used": reply["tokens_used"],
        "budget_tokens_remaining": 50 - reply["tokens_used"],
        "memories_dropped": 1,
        "budget_overflow": False,
    }
    least = await node.recall({"context": "hot tea", "budget_tokens": 1}, caller())
    assert (least["count"], least["meta"]["budget_overflow"]) == (1, True)
    with pytest.raises(Invalid, match="budget_tokens"):
        await node.recall({"context": "hot tea", "budget_tokens": 0}, caller())


async def test_expired_and_deleted_rows_are_gone_at_once(node: Node, clock: Clock) -> None:
    await store(node, "brief tea", "hot", ttl_secs=60)
    gone = await store(node, "cold tea", "hot")
    await node.delete(gone, None, caller())
    assert await recalled(node, "tea") == ["brief tea"]
    clock.forward(seconds=61)
    assert await recalled(node, "tea") == []


async def test_a_paraphrase_without_a_common_word_is_found_by_meaning(meaning_node: Node) -> None:
    await store(meaning_node, "Disk", "The database host ran out of space.")
    await store(meaning_node, "Cat", "The cat sleeps on the warm roof.")
    await embedded(meaning_node)
    reply = await meaning_node.recall({"context": "storage is full"}, caller())
    assert reply["mode"] == "hybrid"
    assert [memory["title"] for memory in reply["memories"]] == ["Disk"]


async def test_before_its_vector_is_there_a_row_is_found_by_its_words(meaning_node: Node) -> None:
    await store(meaning_node, "Cat", "The cat sleeps on the warm roof.")
    await embedded(meaning_node)
    await store(meaning_node, "Roof", "Tiles were replaced in spring.")
    reply = await meaning_node.recall({"context": "when were the tiles replaced?"}, caller())
    assert (reply["mode"], reply["memories"][0]["title"]) == ("hybrid", "Roof")


async def test_an_answer_is_found_by_the_words_of_the_turn_before_it(meaning_node: Node) -> None:
    """Two equal answers: the one in the conversation where the question's words were said comes first."""
    for namespace, said in (("a", "What did the plumber say about the boiler?"), ("b", "How was the concert?")):
        await store(meaning_node, "1", said, namespace=namespace, agent_id="mara")
        await store(meaning_node, "2", "It will cost four hundred.", namespace=namespace, agent_id="theo")
    await store(meaning_node, "1", "Unsaid.", namespace="c")
    await embedded(meaning_node)
    reply = await meaning_node.recall({"context": "What did the plumber say the boiler will cost?"}, caller())
    assert [memory["namespace"] for memory in reply["memories"] if memory["title"] == "2"] == ["a", "b"]


async def test_an_author_is_known_by_name(meaning_node: Node) -> None:
    for author in ("ai:theo@host", "ai:mara@host"):
        await store(meaning_node, f"trip of {author[3]}", "We went to the lake by train.", agent_id=author)
    await embedded(meaning_node)
    for name in ("Theo", "Mara"):
        reply = await meaning_node.recall({"context": f"Where did {name} go?"}, caller())
        assert reply["memories"][0]["metadata"]["agent_id"] == f"ai:{name.lower()}@host"


async def test_filters_apply_before_the_cut_of_the_vectors(meaning_node: Node) -> None:
    """B-20."""
    texts = [f"A cat number {number} sleeps on a roof." for number in range(80)]
    await meaning_node.bulk([{"title": f"c{n}", "content": text} for n, text in enumerate(texts)], caller())
    await store(meaning_node, "Dog", "A dog guards the yard.", namespace="other", tags=["pet"])
    await embedded(meaning_node)
    assert await recalled(meaning_node, "feline animals resting", namespace="other") == ["Dog"]
    assert await recalled(meaning_node, "feline animals resting", tags="pet") == ["Dog"]
    assert await recalled(meaning_node, "feline animals resting", tags="nothing") == []


async def test_expired_rows_take_no_place_among_the_vectors(meaning_node: Node, clock: Clock) -> None:
    texts = [f"A cat number {number} sleeps on a roof." for number in range(80)]
    rows = [{"title": f"c{n}", "content": text, "ttl_secs": 60} for n, text in enumerate(texts)]
    await meaning_node.bulk(rows, caller())
    await store(meaning_node, "Lion", "Lions doze in the shade.")
    await embedded(meaning_node)
    clock.forward(seconds=61)
    assert await recalled(meaning_node, "felines resting", limit=1) == ["Lion"]  # no word in common


async def test_a_deleted_row_is_gone_from_recall_by_meaning_at_once(meaning_node: Node) -> None:
    gone = await store(meaning_node, "Disk", "The database host ran out of space.")
    await embedded(meaning_node)
    assert await recalled(meaning_node, "storage is full") == ["Disk"]
    await meaning_node.delete(gone, None, caller())
    assert await recalled(meaning_node, "storage is full") == []
    assert await meaning_node.check() == []


async def test_a_vector_of_an_older_text_does_not_count(meaning_node: Node) -> None:
    """B-5."""
    memory_id = await store(meaning_node, "Note", "The database host ran out of space.")
    await embedded(meaning_node)
    await meaning_node.update(memory_id, {"content": "She prefers tea without sugar."}, caller())
    assert await recalled(meaning_node, "storage is full") == []
    await embedded(meaning_node)
    assert await recalled(meaning_node, "storage is full") == []
    assert await recalled(meaning_node, "favourite hot drink") == ["Note"]


async def test_a_long_text_is_found_by_what_stands_at_its_end(meaning_node: Node) -> None:
    filler = "The weekly report lists meetings, budgets and plans of the office. " * 60
    await store(meaning_node, "Report", filler + "The submarine volcano erupted and covered the island with ash.")
    for number in range(5):
        await store(meaning_node, f"Other {number}", f"{filler} Nothing else happened in week {number}.")
    await embedded(meaning_node)
    assert (await recalled(meaning_node, "eruption under the sea"))[0] == "Report"


async def test_where_the_model_is_damaged_recall_goes_on_by_words_and_says_so(
    open_node: Open, model: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "model"
    damaged.mkdir()
    for file in model.iterdir():
        content = file.read_bytes()
        (damaged / file.name).write_bytes(content if file.name != "vocab.txt" else content + b"\n")
    node = await open_node("semantic", model=damaged)
    await until(lambda: node.health()["degraded"] == ["embedder_failed"])
    await store(node, "tea", "without sugar")
    assert await recalled(node, "tea") == ["tea"]
    health = node.health()
    assert (health["status"], health["embedder_ready"], health["embedding_backlog"]) == ("ok", False, 1)
    (condition,) = (await node.status())["conditions"]
    assert "damaged" in condition["words"]


async def test_recall_is_counted_by_mode_and_timed(node: Node) -> None:
    await recalled(node, "anything")
    metrics = {metric.name: list(metric.samples()) for metric in node.metrics()}
    assert [(sample.labels, sample.value) for sample in metrics["ai_memory_recall_total"]] == [
        ((("mode", "keyword"),), 1)
    ]
    buckets = {sample.labels: sample.value for sample in metrics["ai_memory_recall_latency_seconds"]}
    assert buckets[(("le", "+Inf"),)] == 1


async def test_sampled_checks_export_the_recall_of_the_index(meaning_node: Node) -> None:
    await store(meaning_node, "tea", "without sugar")
    await embedded(meaning_node)
    await recalled(meaning_node, "drink")

    def exported() -> list[float]:
        (gauge,) = [metric for metric in meaning_node.metrics() if metric.name == "aimem_recall_at_10"]
        return [sample.value for sample in gauge.samples()]

    await until(lambda: bool(exported()))
    assert exported() == [1.0]
