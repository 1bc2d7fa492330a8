"""Recall: what words and vectors find, in one order, as much of it as a budget allows.

The question is embedded while its words are looked up; where a store searches by vector too, each side looks and reads
what it found without waiting for the other. Every filter applies before anything is cut off, on both sides. Without a
model that is ready the words decide alone, and the reply says so in its `mode`. Where a shared store answers one side
alone in time, that side decides, and the reply says `truncated`: after a restart of a large server the words of a
question can take longer to read from its disk than a call may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from aimem.core.automatic import effect_of
from aimem.core.beside import best_beside, place_of
from aimem.core.budget import check_budget, estimate_tokens, pack
from aimem.core.memory import created_ns
from aimem.core.namespace import recall_namespaces
from aimem.core.ranking import Candidate, leaders, rank
from aimem.core.reach import Reach
from aimem.core.text import names_author, recall_terms, stems
from aimem.core.timestamp import DAY_SECS, SECOND_NS
from aimem.core.wire import recall_reply, scored
from aimem.errors import Busy, StoreUnreachable
from aimem.limits import RECALL_LIMIT_DEFAULT, RECALL_LIMIT_MAX
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.metrics import Meters
from aimem.node.parameters import Parameters
from aimem.node.touching import Touching
from aimem.store.base import Filter, Hit, Memory, Store, Words

if TYPE_CHECKING:
    from aimem.node.meaning import Meaning, Near
    from aimem.node.searching import Seen
    from aimem.recall.nearness import Nearness

HYBRID, KEYWORD = "hybrid", "keyword"
COSINE_MIN = 0.2  # what is no nearer has nothing to do with the question (wire)
_LATE = Busy, StoreUnreachable  # so fails what a shared store does not answer in time
_DAY_NS = DAY_SECS * SECOND_NS


class _Asked(NamedTuple):
    """A recall as it was asked for."""

    question: str
    which: Filter
    namespace: str | None
    limit: int
    budget: int | None


class _Found(NamedTuple):
    """Memories that one side or both found, by row, and what is known of each.

    `words` has more rows than `memories`: what only vectors found may hold words as well.
    """

    memories: dict[int, Memory]
    words: dict[int, float]
    nearness: Nearness | None = None
    truncated: bool = False

    @property
    def mode(self) -> str:
        return KEYWORD if self.nearness is None else HYBRID


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
        asked = _asked(params, self._now(), caller.reach)
        found = await self._find(asked)
        by_key = {memory.record.key: memory for memory in found.memories.values()}
        ranked = rank(_candidates(found, asked), limit=asked.limit, namespace=asked.namespace)
        bodies = [by_key[each.key].record.body for each in ranked]
        packed = pack([estimate_tokens(body["title"], body["content"]) for body in bodies], asked.budget)
        given = [(by_key[ranked[place].key], ranked[place].score) for place in packed.kept]
        shown = [scored(self._touching.shown(memory.record, memory.use), score) for memory, score in given]
        self._touching.note((memory for memory, _ in given), asked.which.now)
        self._meters.recalls.inc(mode=found.mode)
        if found.truncated:
            self._meters.truncated.inc()
        self._meters.recall_seconds.observe(perf_counter() - began)
        return recall_reply(shown, found.mode, packed, asked.budget, truncated=found.truncated)

    async def _find(self, asked: _Asked) -> _Found:
        read = max(3 * asked.limit, 30)
        matching = self._store.match(Words(recall_terms(asked.question)), asked.which, 2 * read)
        meaning = self._meaning
        if meaning is None or not meaning.ready:
            return await self._by_words(await matching, read)
        hitting = asyncio.ensure_future(matching)
        saying = asyncio.ensure_future(_said(meaning, hitting, read))
        nearing = asyncio.ensure_future(self._near(meaning, asked, saying))
        await asyncio.gather(hitting, saying, nearing, return_exceptions=True)
        late = [side for side in (saying, nearing) if isinstance(side.exception(), _LATE)]
        near = None if nearing in late else nearing.result()
        if near is None:
            return (await self._by_words(hitting.result(), read))._replace(truncated=bool(late))
        hits, said = ([], []) if saying in late else (hitting.result(), saying.result())
        seen = [*said, *(each for each, cosine in near.best if cosine > COSINE_MIN)]
        nearness = meaning.nearness(near.question, seen)
        truncated = near.truncated or bool(late)
        return _Found(_by_row(each.memory for each in seen), _scores(hits), nearness, truncated)

    async def _by_words(self, hits: Sequence[Hit], most: int) -> _Found:
        """The memories of the best hits, without their vectors."""
        rows = [hit.row for hit in hits[:most]]
        return _Found(_by_row(await self._store.by_rows(rows) if rows else ()), _scores(hits))

    async def _near(self, meaning: Meaning, asked: _Asked, saying: asyncio.Future[list[Seen]]) -> Near | None:
        """What is near to the question; None when the model fails."""
        vector = await meaning.vector_of(asked.question)
        return None if vector is None else await meaning.near(vector, asked.which, max(5 * asked.limit, 50), saying)


async def _said(meaning: Meaning, hitting: Awaitable[Sequence[Hit]], most: int) -> list[Seen]:
    """The memories of the best hits."""
    return await meaning.seen([hit.row for hit in (await hitting)[:most]])


def _scores(hits: Sequence[Hit]) -> dict[int, float]:
    return {hit.row: hit.score for hit in hits}


def _by_row(memories: Iterable[Memory | None]) -> dict[int, Memory]:
    return {memory.row: memory for memory in memories if memory is not None}


def _asked(params: Parameters, now: int, reach: Reach | None) -> _Asked:
    namespace = parameters.text(params, "namespace")
    which = parameters.memory_filter(params, now, reach)
    if namespace is not None:
        which = replace(which, namespaces=recall_namespaces(namespace))
    return _Asked(
        question=parameters.question(params, "context", "query", "q"),
        which=which,
        namespace=namespace,
        limit=parameters.count(params, "limit", RECALL_LIMIT_DEFAULT, RECALL_LIMIT_MAX),
        budget=check_budget(parameters.integer(params, "budget_tokens")),
    )


def _candidates(found: _Found, asked: _Asked) -> list[Candidate]:
    """What was found, as the ranking judges it."""
    cosines = found.nearness.cosines() if found.nearness is not None else {}
    said = set(stems(asked.question))
    placed = ((row, place_of(memory.record)) for row, memory in found.memories.items())
    near = best_beside({row: place for row, place in placed if place is not None}, found.words)
    judged = {
        row: Candidate(
            key=memory.record.key,
            version=str(memory.record.version),
            words=found.words.get(row),
            cosine=cosines.get(row),
            tier_rank=effect_of(memory.record).rank,
            priority=memory.record.body["priority"],
            confidence=memory.record.body["confidence"],
            age_days=(asked.which.now - created_ns(memory.record)) / _DAY_NS,
            namespace=memory.record.body["namespace"],
            beside=near.get(row, 0.0),
            named=names_author(said, memory.record),
        )
        for row, memory in found.memories.items()
    }
    return list(judged.values()) if found.nearness is None else _bent(judged, found.nearness)


def _bent(judged: dict[int, Candidate], nearness: Nearness) -> list[Candidate]:
    """The candidates by their nearness to the question bent toward the best of them."""
    best = set(leaders(list(judged.values())))
    cosines = nearness.bent_toward(row for row, each in judged.items() if each.key in best)
    return [each._replace(cosine=cosines.get(row)) for row, each in judged.items()]
