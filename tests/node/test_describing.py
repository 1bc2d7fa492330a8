"""Health, capabilities and status claim nothing that is not so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aimem.errors import Misconfigured, StorageFailed
from aimem.node.metrics import Counter, Gauge, Histogram
from aimem.node.node import Node
from tests.node.conftest import Faulty, Open, caller

ROOT = Path(__file__).parent.parent.parent


async def test_the_health_of_a_node_of_words(node: Node) -> None:
    health = node.health()
    assert {**health, "version": ""} == {
        "status": "ok",
        "service": "ai-memory",
        "product": "aimem",
        "version": "",
        "ready": True,
        "degraded": [],
        "embedder_ready": False,
        "embedding_backlog": 0,
        "federation_enabled": False,
    }


async def test_capabilities_follow_the_tier_and_what_is_loaded(node: Node) -> None:
    told = await node.capabilities()
    assert (told["schema_version"], told["tier"]) == ("2", "keyword")
    assert {name for name, on in told["features"].items() if on is True} == {"keyword_search"}
    assert told["features"]["recall_mode_active"] == "disabled"
    assert told["models"] == {"embedding": "none", "embedding_dim": 0, "llm": "none", "cross_encoder": "none"}


async def test_capabilities_by_meaning(meaning_node: Node) -> None:
    told = await meaning_node.capabilities()
    assert told["features"]["embedder_loaded"]
    assert told["features"]["recall_mode_active"] == "hybrid"
    assert told["models"]["embedding_dim"] == 384
    status = await meaning_node.status()
    assert status["embedding"]["model"] == told["models"]["embedding"]
    assert status["embedding"]["index_ready"]


@pytest.mark.parametrize("kind_of_store", ["sqlite"], indirect=True)  # the other has no file
async def test_status_tells_what_an_operator_asks(node: Node, tmp_path: Path) -> None:
    await node.create({"title": "tea", "content": "hot"}, caller())
    status = await node.status()
    assert (status["memories"], status["digest"]) == (1, node.digest()["digest"])
    assert status["db"]["path"] == str(tmp_path / "a.db")
    assert status["db"]["size_bytes"] > 0
    assert status["embedding"] is None
    assert status["conditions"] == []


async def test_after_the_disk_failed_the_node_says_it_is_not_ready(faulty_node: Node, faulty: Faulty) -> None:
    faulty.fault = StorageFailed("fsync failed")
    with pytest.raises(StorageFailed):
        await faulty_node.create({"title": "tea", "content": "hot"}, caller())
    health = faulty_node.health()
    assert (health["status"], health["ready"], health["degraded"]) == ("error", False, ["storage_failed"])
    (condition,) = (await faulty_node.status())["conditions"]
    assert (condition["code"], condition["words"]) == ("storage_failed", "fsync failed")


async def test_a_node_by_meaning_without_its_model_does_not_open_and_lets_go_of_the_file(
    open_node: Open, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match=r"model\.json"):
        await open_node("semantic", model=tmp_path)
    await open_node("keyword")


def test_a_node_of_words_needs_no_native_library() -> None:
    code = (
        "import asyncio, sys, pathlib; from aimem.node.node import Node; from aimem.node.settings import NodeSettings\n"
        "async def main(folder):\n"
        "    node = await Node.open(NodeSettings(pathlib.Path(folder) / 'a.db', tier='keyword'))\n"
        "    await node.close()\n"
        "import tempfile\n"
        "with tempfile.TemporaryDirectory() as folder: asyncio.run(main(folder))\n"
        "print(sorted({'numpy', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_closing_twice_does_no_harm(node: Node) -> None:
    await node.close()
    await node.close()


def test_a_counter_counts_by_labels_and_one_without_is_there_from_the_start() -> None:
    plain, labelled = Counter("a_total", "A."), Counter("b_total", "B.", ("x", "y"))
    assert [tuple(sample) for sample in plain.samples()] == [("", (), 0)]
    assert list(labelled.samples()) == []
    labelled.inc(x="1", y="2")
    labelled.inc(2, y="2", x="1")
    assert [tuple(sample) for sample in labelled.samples()] == [("", (("x", "1"), ("y", "2")), 3)]


def test_a_histogram_is_cumulative_and_a_bound_is_inclusive() -> None:
    histogram = Histogram("h", "H.", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value)
    assert [(sample.suffix, sample.labels, sample.value) for sample in histogram.samples()] == [
        ("_bucket", (("le", "0.1"),), 2),
        ("_bucket", (("le", "1.0"),), 3),
        ("_bucket", (("le", "+Inf"),), 4),
        ("_sum", (), 7.65),
        ("_count", (), 4),
    ]


def test_a_gauge_with_nothing_to_say_prints_nothing() -> None:
    assert list(Gauge("g", "G.", lambda: None).samples()) == []
    assert [sample.value for sample in Gauge("g", "G.", lambda: 2).samples()] == [2]
