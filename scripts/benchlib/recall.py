"""How well recall finds: words alone, vectors alone and both, on the set of tests/data/recall.

In this process, through the code that a node runs and with the model of build/model; run it with build/venv/bin/python.
A question is asked of all memories at once, with no namespace given. recall@k is the share of a question's answers
among the first k, and MRR that of 1 / the place of the first answer, both in percent and the mean over questions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
_SET = ROOT / "tests" / "data" / "recall"
_PLACES = 10
_BATCH = 500
_SIDES = ("words", "vectors", "fusion")
_KINDS = ("plain", "paraphrase", "two", "time", "current")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--half", choices=("tune", "held"), help="one half of the questions (both)")
    parser.add_argument("--crowd", action="store_true", help="beside some 5,700 texts of Python's documentation")
    parser.add_argument("--misses", action="store_true", help="list what fusion does not find among the first ten")


def run(options: argparse.Namespace) -> int:
    sys.path.insert(0, str(ROOT))
    import onnxruntime  # noqa: F401 - without it a node would do with words alone

    questions = [each for each in _rows("questions.jsonl") if options.half in (None, each["half"])]
    began = time.perf_counter()
    memories = _rows("memories.jsonl") + (_crowd() if options.crowd else [])
    found = asyncio.run(_ask_all(memories, questions))
    took = time.perf_counter() - began
    print(f"{len(questions)} questions of {options.half or 'both halves'}, {len(memories)} memories, {took:.0f} s")
    print(f"{'':<25}{'recall@1':>9}{'@5':>7}{'@10':>7}{'MRR':>7}")
    for kind in ("all", *_KINDS):
        of_kind = [at for at, each in enumerate(questions) if kind in ("all", each["kind"])]
        for side in _SIDES:
            figures = _figures([(questions[at]["answers"], found[side][at]) for at in of_kind])
            print(
                f"{kind + f' ({len(of_kind)})':<17}{side:<8}{figures[0]:>9.1f}"
                + "".join(f"{f:>7.1f}" for f in figures[1:])
            )
    if options.misses:
        _print_misses(questions, found)
    return 0


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_SET / name).read_text().splitlines()]


def _crowd() -> list[dict[str, Any]]:
    """Texts that answer nothing: the larger a store, the more of them happen to hold a word of the question."""
    command = [sys.executable, ROOT / "scripts" / "stdlib-texts", "--limit", "1000000"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    texts = [json.loads(line) for line in lines]
    return [
        {**{name: each[name] for name in ("namespace", "title", "content")}, "id": f"crowd-{number}"}
        for number, each in enumerate(texts)
    ]


def _figures(pairs: Sequence[tuple[list[str], list[str]]]) -> list[float]:
    """recall@1, @5, @10 and MRR, in percent."""
    count = max(len(pairs), 1)
    shares = [sum(len({*answers} & {*found[:k]}) / len(answers) for answers, found in pairs) for k in (1, 5, _PLACES)]
    firsts = [next((1 / at for at, each in enumerate(found, 1) if each in answers), 0.0) for answers, found in pairs]
    return [100 * total / count for total in (*shares, sum(firsts))]


def _print_misses(questions: list[dict[str, Any]], found: dict[str, list[list[str]]]) -> None:
    for at, each in enumerate(questions):
        if not {*each["answers"]} <= {*found["fusion"][at]}:
            places = [
                [found[side][at].index(a) + 1 if a in found[side][at] else 0 for a in each["answers"]]
                for side in _SIDES
            ]
            print(f"{each['kind']:<11}{each['question']}  {each['answers']} words, vectors, fusion: {places}")


async def _ask_all(memories: list[dict[str, Any]], questions: list[dict[str, Any]]) -> dict[str, list[list[str]]]:
    """By side, the ids found for each question, best first."""
    from aimem.node.node import Node
    from aimem.node.settings import KEYWORD, SEMANTIC, NodeSettings

    with tempfile.TemporaryDirectory(prefix="aimem-bench-") as folder:
        by_words = await Node.open(NodeSettings(Path(folder) / "words.db", KEYWORD))
        by_both = await Node.open(NodeSettings(Path(folder) / "both.db", SEMANTIC))
        try:
            for node in (by_words, by_both):
                await _store(node, memories)
            await _embedded(by_both)
            return {
                "words": [await _recalled(by_words, each["question"]) for each in questions],
                "vectors": [await _nearest(by_both, each["question"]) for each in questions],
                "fusion": [await _recalled(by_both, each["question"]) for each in questions],
            }
        finally:
            await by_words.close()
            await by_both.close()


def _caller() -> Any:
    from aimem.node.caller import Caller

    return Caller(None, "bench")


async def _store(node: Any, memories: list[dict[str, Any]]) -> None:
    rows = [
        {name: each[name] for name in ("id", "namespace", "title", "content", "created_at") if name in each}
        | {"tier": "long", "metadata": {"agent_id": each["author"]} if "author" in each else {}}
        for each in memories
    ]
    for start in range(0, len(rows), _BATCH):
        answer = await node.import_object({"memories": rows[start : start + _BATCH], "links": []}, _caller())
        if answer.body.get("errors"):
            raise SystemExit(f"import: {answer.body['errors'][:3]}")


async def _embedded(node: Any) -> None:
    """Wait until every memory has its vector and the index holds it."""
    while True:
        meaning = (await node.status())["embedding"]
        if meaning["loaded"] and meaning["index_ready"] and not meaning["backlog"]:
            return
        await asyncio.sleep(0.1)


async def _recalled(node: Any, question: str) -> list[str]:
    reply = await node.recall({"context": question, "limit": _PLACES}, _caller())
    return [each["id"] for each in reply["memories"]]


async def _nearest(node: Any, question: str) -> list[str]:
    """What the vector side alone finds, before it is fused with anything."""
    from aimem.store.base import Filter

    meaning = node._meaning
    vector = await meaning.vector_of(question)
    near = await meaning.near(vector, Filter(time.time_ns()), _PLACES)
    return [seen.memory.record.key for seen, _ in near.best]
