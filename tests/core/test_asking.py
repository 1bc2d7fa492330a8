"""What is asked before a write, and what is answered: together they bring whatever is newer, and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core import writes
from aimem.core.asking import (
    AboutPair,
    AboutRecord,
    Question,
    newer,
    question_from_wire,
    question_to_wire,
    questions,
)
from aimem.core.intent import Get, Intent
from aimem.core.kinds import IDEMPOTENCY, MEMORY, QUARANTINE
from aimem.core.pairs import Pair, plain_id
from aimem.core.record import Record, Ref
from aimem.core.taking import take
from aimem.core.writes import Once, answered
from aimem.errors import AimemError, Invalid
from tests.core.made import memories, memory, version
from tests.core.played import Played

PAIR = Pair("n", "t")
ID = plain_id(PAIR)


class Watched(Played):
    """Remembers what an intent reads."""

    def __init__(self, *records: Record) -> None:
        super().__init__(*records)
        self.reads: list[tuple[Any, Any]] = []

    def _answer(self, read: Any) -> Any:
        answer = super()._answer(read)
        self.reads.append((read, answer))
        return answer


def asked(node: Played, intent: Intent) -> list[Question]:
    watched = Watched(*node.held.values())
    with suppress(AimemError):  # a refusal too rests on what was read
        watched.decide(intent)
    return list(questions(watched.reads).values())


def told(node: Played, *about: Question) -> list[Record]:
    answers: list[Record] = node.decide(newer(about)).reply
    return answers


def create(title: str = "t", **fields: Any) -> Intent:
    return writes.create({**memory(version(1)).body, "title": title, **fields})


def test_a_new_pair_asks_for_its_holder_and_for_what_is_under_its_id() -> None:
    about = asked(Played(), create())
    assert about == [AboutPair(PAIR, ()), AboutRecord(Ref(MEMORY, ID), None)]


def test_a_held_pair_asks_for_what_is_newer_than_its_holder() -> None:
    held = memory(version(5), key=ID)
    about = asked(Played(held), create())
    assert about == [AboutPair(PAIR, ((ID, held.version),)), AboutRecord(held.ref, held.version)]


def test_a_key_asks_for_its_first_outcome() -> None:
    once = Once("ai:a", "k", "hash")
    about = asked(Played(), answered(create(), lambda stored: (201, {}), once))
    assert AboutRecord(Ref(IDEMPOTENCY, once.record_key()), None) in about


def test_an_answer_is_what_is_newer_and_nothing_else() -> None:
    held = memory(version(5), key=ID)
    node = Played(held)
    assert told(node, AboutRecord(held.ref, None)) == [held]
    assert told(node, AboutRecord(held.ref, version(4))) == [held]
    assert told(node, AboutRecord(held.ref, version(5))) == []
    assert told(node, AboutRecord(held.ref, version(6))) == []
    assert told(node, AboutRecord(Ref(MEMORY, "else"), None)) == []


def test_a_pair_is_answered_by_holder_hidden_and_tombstone() -> None:
    holder, hidden = memory(version(9), key="renamed"), memory(version(3), key=ID)
    assert set(told(Played(holder, hidden), AboutPair(PAIR, ()))) == {holder, hidden}
    assert told(Played(holder, hidden), AboutPair(PAIR, (("renamed", version(9)), (ID, version(2))))) == [hidden]
    grave = memory(version(7), key=ID, deleted=True)
    assert told(Played(grave), AboutPair(PAIR, ())) == [grave]


def test_what_two_questions_bring_comes_once() -> None:
    held = memory(version(5), key=ID)
    assert told(Played(held), AboutPair(PAIR, ()), AboutRecord(held.ref, None)) == [held]


@given(st.lists(memories(), max_size=3), st.lists(memories(), max_size=3))
def test_after_the_answers_a_write_stands_on_all_that_both_nodes_know(mine: list[Record], theirs: list[Record]) -> None:
    here, there = Played(), Played()
    for node, records in ((here, mine), (there, theirs)):
        for record in records:
            node.carry_out(take(record))
    intent = writes.update(memory(version(1)).key, {"content": "new"})
    for _ in range(3):
        found = told(there, *asked(here, intent))
        for record in found:
            here.carry_out(take(record))
        if not found:
            break
    before = there.held.get(memory(version(1)).ref)
    held = here.held.get(memory(version(1)).ref)
    assert before is None or (held is not None and held.order >= before.order)
    assert told(there, *asked(here, intent)) == []


QUESTIONS = st.one_of(
    st.builds(
        AboutRecord,
        st.builds(Ref, st.text(min_size=1), st.text(min_size=1)),
        st.none() | st.builds(version, st.integers(0, 9)),
    ),
    st.builds(
        AboutPair,
        st.builds(Pair, st.text(), st.text()),
        st.dictionaries(st.text(), st.builds(version, st.integers(0, 9)), max_size=3).map(lambda d: tuple(d.items())),
    ),
)


@given(QUESTIONS)
def test_a_question_survives_its_way(question: Question) -> None:
    assert question_from_wire(json.loads(json.dumps(question_to_wire(question)))) == question


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], ["memory", "k"], ["memory", 1, None], [["n"], {}], ["m", "k", "v"]]
)
def test_what_is_no_question_is_refused(value: Any) -> None:
    with pytest.raises(Invalid):
        question_from_wire(value)


def test_what_never_leaves_a_store_is_neither_asked_for_nor_told() -> None:
    kept = Record.make(QUARANTINE, "q", version(1), version(1), {"peer": "p"})
    assert told(Played(kept), AboutRecord(kept.ref, None)) == []
    assert questions([(Get(kept.ref), kept)]) == {}
