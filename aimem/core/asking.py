"""What a node asks its peers before it writes: is there anything newer than I hold, under what this write reads?

The first phase of a register with many writers (Attiya, Bar-Noy and Dolev 1995; Lynch and Shvartsman 1997). Which
records a write depends on is told by its rehearsal, so no kind of write needs questions of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aimem.core.intent import Decision, Get, Holding, Intent, Plan, Read, Stamp, get, holding
from aimem.core.kinds import MEMORY, kind_of
from aimem.core.pairs import Pair, PairState
from aimem.core.record import Record, Ref, is_text
from aimem.core.version import Version, parse_version
from aimem.errors import Invalid


class AboutRecord(NamedTuple):
    """What is newer than `version` under `ref`? None: it is not held here."""

    ref: Ref
    version: Version | None


class AboutPair(NamedTuple):
    """Who has `pair`, beyond or newer than the `known` ids with their versions?"""

    pair: Pair
    known: tuple[tuple[str, Version], ...]


Question = AboutRecord | AboutPair


def questions(reads: Iterable[tuple[Read, Any]]) -> dict[Ref | Pair, Question]:
    """The questions that a rehearsal raises, one per address and pair. Touches and links are left out: they spread
    without a quorum, and no write is refused for them; so are kinds that never leave their store."""
    asked: dict[Ref | Pair, Question] = {}
    for read, found in reads:
        if isinstance(read, Get):
            if kind_of(read.ref.kind).local:
                continue
            asked[read.ref] = AboutRecord(read.ref, found.version if found is not None else None)
        elif isinstance(read, Holding):
            known = {each.key: each.version for each in _members(found)}
            asked[read.pair] = AboutPair(read.pair, tuple(known.items()))
            for key, version in known.items():
                asked.setdefault(Ref(MEMORY, key), AboutRecord(Ref(MEMORY, key), version))
            if found.holder is None:
                asked.setdefault(Ref(MEMORY, found.free_id), AboutRecord(Ref(MEMORY, found.free_id), None))
    return asked


def newer(asked: Sequence[Question]) -> Intent:
    """An intent that only reads. Reply: the records held here that answer the questions, each once."""

    def plan(stamp: Stamp) -> Plan:
        found: dict[Ref, Record] = {}
        for question in asked:
            if isinstance(question, AboutRecord):
                local = kind_of(question.ref.kind).local  # never told
                record = None if local else (yield from get(*question.ref))
                candidates: tuple[Record, ...] = () if record is None else (record,)
                versions: Mapping[str, Version | None] = {question.ref.key: question.version}
            else:
                candidates = _members((yield from holding(question.pair)))
                versions = dict(question.known)
            for record in candidates:
                known = versions.get(record.key)
                if known is None or record.version > known:
                    found[record.ref] = record
        return Decision((), list(found.values()))

    return plan


def _members(state: PairState) -> tuple[Record, ...]:
    return tuple(each for each in (state.holder, *state.hidden, state.tombstone) if each is not None)


def question_to_wire(question: Question) -> list[Any]:
    """A question as JSON: `[kind, key, version or null]`, or `[[namespace, title], {id: version}]`."""
    if isinstance(question, AboutRecord):
        return [*question.ref, None if question.version is None else str(question.version)]
    return [list(question.pair), {key: str(version) for key, version in question.known}]


def question_from_wire(value: Any) -> Question:
    """The question that `question_to_wire` printed.

    Raises:
        Invalid: when it is none.
    """
    match value:
        case [str(kind), str(key), version] if is_text(kind + key):
            return AboutRecord(Ref(kind, key), None if version is None else parse_version(version))
        case [[str(namespace), str(title)], dict(known)] if is_text(namespace + title):
            return AboutPair(Pair(namespace, title), tuple((key, parse_version(known[key])) for key in known))
    raise Invalid("not a question about a record or a pair")
