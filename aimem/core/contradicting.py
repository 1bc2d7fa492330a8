"""Which memories may contradict each other: those about one topic, or of one title, that say something else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from aimem.core.record import Record, canonical
from aimem.limits import CONTRADICTION_PAIRS_MAX

CONTRADICTS = "contradicts"


def is_about(record: Record, topic: str) -> bool:
    """Whether a memory's title or its `metadata.topic` is the topic."""
    if canonical(topic) not in record.raw:  # most have not, and need no parsing
        return False
    return topic in (record.body["title"], record.body["metadata"].get("topic"))


def contradictions(records: Sequence[Record], linked: Iterable[Record], *, one_topic: bool) -> list[dict[str, Any]]:
    """Pairs that say different things, and those that links call so, which are not made up (`synthesized`).

    With `one_topic` all the memories are about the same; else only those of one title, letters' case and spaces at its
    ends apart, are.
    """
    said = [
        {"source_id": link.body["source_id"], "target_id": link.body["target_id"], "relation": link.body["relation"]}
        for link in linked
        if CONTRADICTS in link.body["relation"]
    ]
    known = {frozenset((each["source_id"], each["target_id"])) for each in said}
    told = [{**each, "synthesized": False} for each in said]
    for first, second in _pairs(records, one_topic=one_topic):
        if len(told) >= CONTRADICTION_PAIRS_MAX:
            break
        if first.body["content"] != second.body["content"] and frozenset((first.key, second.key)) not in known:
            ends = {"source_id": first.key, "target_id": second.key}
            told.append({**ends, "relation": CONTRADICTS, "synthesized": True})
    return told


def _pairs(records: Sequence[Record], *, one_topic: bool) -> Iterator[tuple[Record, Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups["" if one_topic else record.body["title"].strip().casefold()].append(record)
    for group in groups.values():
        yield from combinations(group, 2)
