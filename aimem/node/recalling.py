"""Recall: what words and vectors find, in one order, as much of it as a budget allows.

The question is embedded while its words are looked up. Every filter applies before anything is cut off, on both sides.
Without a model that is ready the words decide alone, and the reply says so in its `mode`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from aimem.core.automatic import effect_of
from aimem.core.budget import check_budget, estimate_tokens, pack
from aimem.core.memory import created_ns
from aimem.core.namespace import recall_namespaces
from aimem.core.ranking import Candidate, rank
from aimem.core.text import recall_terms
from aimem.core.timestamp import DAY_SECS, SECOND_NS
from aimem.core.wire import recall_reply, scored
from aimem.limits import RECALL_LIMIT_DEFAULT, RECALL_LIMIT_MAX
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.metrics import Meters
from aimem.node.parameters import Parameters
from aimem.node.touching import Touching
from aimem.store.base import Filter, Memory, Store, Words

if TYPE_CHECKING:
    from aimem.node.meaning import Meaning

HYBRID, KEYWORD = "hybrid", "keyword"
COSINE_MIN = 0.2  # what is no nearer has nothing to do with the question (wire)
_DAY_NS = DAY_SECS * SECOND_NS


class _Asked(NamedTuple):
    """A recall as it was asked for."""

    question: str
    which: Filter
    namespace: str | None
    limit: int
    budget: int | None


class _Found(NamedTuple):
    """Memories that one side or both found, and each side's score of them, by row."""

    memories: dict[int, Memory]
    words: dict[int, float]
    cosine: dict[int, float]
    mode: str


class Recalling:
    """Answers recalls."""

    def __init__(
        self, store: Store, touching: Touching, meters: Meters, now: Callable[[], int], meaning: Meaning | None
    ) -> None:
        self._store = store
        self._touching = touching
        self._meters = meters
        self._now = now
        self._meaning = meaning

    async def recall(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """The memories that answer `context` best, each with its score; they count as used."""
        began = perf_counter()
        caller.claim()
        asked = _asked(params, self._now())
        found = await self._find(asked)
        by_key = {memory.record.key: memory for memory in found.memories.values()}
        ranked = rank(_candidates(found, asked.which.now), limit=asked.limit, namespace=asked.namespace)
        bodies = [by_key[each.key].record.body for each in ranked]
        packed = pack([estimate_tokens(body["title"], body["content"]) for body in bodies], asked.budget)
        given = [(by_key[ranked[place].key], ranked[place].score) for place in packed.kept]
        shown = [scored(self._touching.shown(memory.record, memory.use), score) for memory, score in given]
        self._touching.note((memory for memory, _ in given), asked.which.now)
        self._meters.recalls.inc(mode=found.mode)
        self._meters.recall_seconds.observe(perf_counter() - began)
        return recall_reply(shown, found.mode, packed, asked.budget)

    async def _find(self, asked: _Asked) -> _Found:
        meaning = self._meaning
        if meaning is None or not meaning.ready:
            return await self._by_words(asked)
        found, vector = await asyncio.gather(self._by_words(asked), meaning.vector_of(asked.question))
        if vector is None:
            return found
        near = await meaning.nearest(vector, asked.which, max(5 * asked.limit, 50))
        near = [(memory, cosine) for memory, cosine in near if cosine > COSINE_MIN]
        cosine = {memory.row: cosine for memory, cosine in near}
        cosine |= await meaning.cosines(vector, [each for row, each in found.memories.items() if row not in cosine])
        return _Found({**found.memories, **{memory.row: memory for memory, _ in near}}, found.words, cosine, HYBRID)

    async def _by_words(self, asked: _Asked) -> _Found:
        """What the words of the question find."""
        hits = await self._store.match(Words(recall_terms(asked.question)), asked.which, max(3 * asked.limit, 30))
        memories = await self._store.by_rows([hit.row for hit in hits]) if hits else []
        found = {hit.row: memory for hit, memory in zip(hits, memories, strict=True) if memory is not None}
        return _Found(found, {hit.row: hit.score for hit in hits if hit.row in found}, {}, KEYWORD)


def _asked(params: Parameters, now: int) -> _Asked:
    namespace = parameters.text(params, "namespace")
    which = parameters.memory_filter(params, now)
    if namespace is not None:
        which = replace(which, namespaces=recall_namespaces(namespace))
    return _Asked(
        question=parameters.question(params, "context", "query", "q"),
        which=which,
        namespace=namespace,
        limit=parameters.count(params, "limit", RECALL_LIMIT_DEFAULT, RECALL_LIMIT_MAX),
        budget=check_budget(parameters.integer(params, "budget_tokens")),
    )


def _candidates(found: _Found, now: int) -> list[Candidate]:
    return [
        Candidate(
            key=memory.record.key,
            version=str(memory.record.version),
            words=found.words.get(row),
            cosine=found.cosine.get(row),
            tier_rank=effect_of(memory.record).rank,
            priority=memory.record.body["priority"],
            confidence=memory.record.body["confidence"],
            age_days=(now - created_ns(memory.record)) / _DAY_NS,
            namespace=memory.record.body["namespace"],
        )
        for row, memory in found.memories.items()
    ]
