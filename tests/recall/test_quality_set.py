"""The set that recall is measured on: what its README promises about it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from aimem.core.kinds import MEMORY
from aimem.core.memory import clean_create
from aimem.core.record import Record, canonical
from aimem.core.text import STOP_WORDS, indexed_text, stems
from aimem.core.timestamp import parse_timestamp
from aimem.core.version import Version

FOLDER = Path(__file__).resolve().parents[1] / "data" / "recall"
STOPS = {stem for word in STOP_WORDS for stem in stems(word)}
DISTRACTORS_MIN = 5


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]


MEMORIES = {memory["id"]: memory for memory in rows("memories.jsonl")}
QUESTIONS = rows("questions.jsonl")


def topic_words(text: str) -> set[str]:
    return set(stems(text)) - STOPS


def found_by(memory: dict[str, Any]) -> set[str]:
    """The stems that the word index would hold of a memory."""
    raw = {name: memory[name] for name in ("namespace", "title", "content")} | {"agent_id": memory.get("author")}
    body = clean_create(raw, 0, anonymous="anonymous:x")
    created = parse_timestamp(memory["created_at"])
    version = Version(created, "0" * 16)
    record = Record(MEMORY, memory["id"], version, version, canonical({**body, "created_at": created}))
    return topic_words(" ".join(indexed_text(record)))


WORDS = {key: found_by(memory) for key, memory in MEMORIES.items()}


def test_it_is_large_and_mixed() -> None:
    assert len(MEMORIES) >= 500
    assert len({(memory["namespace"], memory["title"]) for memory in MEMORIES.values()}) == len(MEMORIES)
    assert len(QUESTIONS) >= 200
    assert len({each["id"] for each in QUESTIONS}) == len({each["question"] for each in QUESTIONS}) == len(QUESTIONS)
    assert set(Counter(memory["style"] for memory in MEMORIES.values())) == {
        *("turn", "note", "fact", "decision", "document")
    }
    kinds = Counter(question["kind"] for question in QUESTIONS)
    assert set(kinds) == {"plain", "paraphrase", "two", "time", "current"}
    assert kinds["paraphrase"] * 3 >= len(QUESTIONS)


def wrong_in(question: dict[str, Any]) -> list[str]:
    """What of a question breaks a promise."""
    answers, distractors = set(question["answers"]), set(question["distractors"])
    asked = topic_words(question["question"])
    near = asked.union(*(WORDS[answer] for answer in answers))
    checks = {
        "it has answers": bool(answers) and (question["kind"] != "two" or len(answers) >= 2),
        "enough distractors": len(distractors) >= DISTRACTORS_MIN,
        "distractors are wrong": not answers & distractors,
        "distractors are near": all(near & WORDS[each] for each in distractors),
        "no stem in common": question["kind"] != "paraphrase" or not any(asked & WORDS[each] for each in answers),
    }
    return [f"{question['id']}: {name}" for name, holds in checks.items() if not holds]


def test_answers_and_distractors() -> None:
    assert [wrong for question in QUESTIONS for wrong in wrong_in(question)] == []


def test_the_halves_share_no_topic() -> None:
    topics: dict[str, set[str]] = {"tune": set(), "held": set()}
    for question in QUESTIONS:
        topics[question["half"]].add(question["topic"])
        assert {MEMORIES[answer]["topic"] for answer in question["answers"]} == {question["topic"]}
    assert not topics["tune"] & topics["held"]
