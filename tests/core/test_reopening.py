"""Reopening an action: whatever the electors that are left had accepted stands, and it comes to one end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from aimem.core.consensus import ACCEPT, CLOSE, FIRST, PROMISE, Accepted, Ballot, Proposal, Reply
from aimem.core.deciding import REOPENED, Ballots, conclude, decision_of, successor_of, weigh
from aimem.core.intent import Decision, decide
from aimem.core.kinds import DECISION, PENDING
from aimem.core.quorum import majority
from aimem.core.record import Record, Ref
from aimem.core.reopening import (
    check_lost,
    check_replies,
    highest,
    left_of,
    not_ruled_out,
    park_anew,
    question_of,
)
from aimem.core.version import Version
from aimem.errors import Busy, Conflict, Invalid

from .test_consensus import Elector

A, B = "a" * 16, "b" * 16
ELECTORS = ("e0", "e1", "e2")


def reply(accepted: Accepted | None = None, *, closed: bool = False) -> Reply:
    return Reply(True, FIRST, accepted, closed)


def pending(**more: Any) -> Record:
    body = {
        "action": "store",
        "namespace": "gov",
        "requested_by": "ai:asker",
        "requested_at": 1_000,
        "approver": {"consensus": 2},
        "electors": list(ELECTORS),
        "records": [{"kind": "memory", "key": "m", "deleted": False, "body": {}, "base": None, "renewed": True}],
        **more,
    }
    return Record.make(PENDING, "p", Version(1, A), Version(1, A), body)


# What is refused.


def test_one_that_answers_is_not_lost() -> None:
    with pytest.raises(Conflict, match="elector e1 is not lost"):
        check_replies(ELECTORS, ("e1", "e2"), {"e0": reply(), "e1": reply()})


def test_a_majority_that_answers_needs_no_operator_unless_one_of_it_was_closed() -> None:
    with pytest.raises(Conflict, match="2 of 3 electors answer"):
        check_replies(ELECTORS, ("e2",), {"e0": reply(), "e1": reply()})
    check_replies(ELECTORS, ("e2",), {"e0": reply(closed=True), "e1": reply()})
    check_replies(ELECTORS, (), {"e0": reply(closed=True), "e1": reply(), "e2": reply()})


def test_one_that_neither_answers_nor_is_lost_is_waited_for() -> None:
    with pytest.raises(Busy, match="of the electors e1 no answer") as refused:
        check_replies(ELECTORS, ("e2",), {"e0": reply()})
    assert refused.value.extra == {"silent": ["e1"]}
    check_replies(ELECTORS, ("e1", "e2"), {"e0": reply()})
    check_replies(ELECTORS, ELECTORS, {})


def test_only_electors_can_be_lost() -> None:
    check_lost(pending(), ("e1",))
    with pytest.raises(Invalid, match="n7 is no elector"):
        check_lost(pending(), ("e1", "n7"))
    with pytest.raises(Conflict, match="existing system"):
        check_lost(pending(electors=[]), ())


def test_what_lost_electors_may_have_agreed_upon_is_said() -> None:
    assert not_ruled_out(ELECTORS, ("e1",), ()) == []
    assert not_ruled_out(ELECTORS, (), ()) == []
    (lost,) = not_ruled_out(ELECTORS, ("e2", "e1"), ())
    assert "(e1, e2)" in lost
    assert "on one node alone" in not_ruled_out(ELECTORS, ELECTORS, ())[1]
    (unasked,) = not_ruled_out(ELECTORS, (), ("http://b", "http://a"))
    assert unasked.endswith("http://a, http://b")


# What is parked anew.


class Clock:
    """The stamp of a store whose clock reads `now`."""

    incarnation = "i"

    def __init__(self, now: int) -> None:
        self.now = now
        self._step = now

    def version(self) -> Version:
        self._step += 1
        return Version(self._step, B)


def carried_out(intent: Any, held: dict[Ref, Record], now: int = 9_000) -> Decision:
    def read(read: Any) -> Record | None:
        return held.get(read.ref)

    return decide(intent, Clock(now), read)


def test_an_action_is_parked_anew_as_it_was_and_waited_for_as_long_again() -> None:
    first = pending(expires_at=1_500)
    value = carried_out(park_anew(first, ("e0", "e7", "e8"), "ops"), {}).reply
    concluded = carried_out(conclude("p", value), {})
    decision, again = concluded.records
    assert (decision.body["outcome"], decision.body["decided_by"]) == (REOPENED, "ops")
    assert successor_of(decision) == again.key != "p"
    assert {**again.body, "electors": 0, "requested_at": 0, "expires_at": 0} == {
        **first.body,
        "electors": 0,
        "requested_at": 0,
        "expires_at": 0,
        "reopened_from": "p",
    }
    assert (again.body["electors"], again.body["requested_at"]) == (["e0", "e7", "e8"], 9_000)
    assert again.body["expires_at"] == 9_500
    assert weigh(again, Ballots((), (), cancelled=False), 9_400) is None


def test_an_end_that_comes_later_changes_nothing() -> None:
    """The electors that were gone come back, and one of them writes what they had agreed upon."""
    value = carried_out(park_anew(pending(), ("e0",), "ops"), {}).reply
    held = decision_of("p", value)
    late = {**value, "outcome": "approved", "version": str(Version(99_000, B)), "records": []}
    assert carried_out(conclude("p", late), {Ref(DECISION, "p"): held}) == Decision((), held)


# Whatever happens, one end.


class Run:
    """Electors of which some die for good, proposers that do not know, and operators who know who is dead."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.names = tuple(f"e{number}" for number in range(self.chance.choice((1, 3, 5))))
        self.electors = {name: Elector() for name in self.names}
        lost = self.chance.randint(majority(len(self.names)), len(self.names))
        self.dying = self.chance.sample(self.names, lost)
        self.dead: set[str] = set()
        self.accepts: dict[Any, set[str]] = {}
        self.ends: set[str] = set()
        """What operators were told that the action has come to."""

    def go(self) -> None:
        steps = [self._proposer(f"{number:016x}") for number in range(3)] + [self._death()]
        steps += [self._operator(f"{number + 8:016x}") for number in range(2)]
        while steps:
            step = self.chance.choice(steps)
            if next(step, None) is None:
                steps.remove(step)

    def _hears(self, name: str) -> bool:
        return name not in self.dead and self.chance.random() < 0.85

    def _death(self) -> Iterator[bool]:
        for _ in range(self.chance.randint(0, 20)):
            yield True
        self.dead.update(self.dying)

    def _attempt(self, proposal: Proposal, question: str, fresh: str, least: Accepted | None) -> Iterator[bool]:
        for name in self.chance.sample(proposal.electors, len(proposal.electors)):
            yield True
            if self._hears(name):
                proposal.promised(name, self.electors[name].ask(PROMISE, proposal.ballot, question=question))
        if proposal.ready:
            found = proposal.bound() or least
            value = found.value if found is not None else fresh
            for name in self.chance.sample(proposal.electors, len(proposal.electors)):
                yield True
                if self._hears(name):
                    told = self.electors[name].ask(ACCEPT, proposal.ballot, value, question)
                    if told.done and question == "q":
                        self.accepts.setdefault((proposal.ballot, value), set()).add(name)
                    proposal.accepted(name, told)
            if proposal.chosen and question != "q":
                self.ends.add(value)

    def _proposer(self, start: str) -> Iterator[bool]:
        for attempt in range(self.chance.randint(1, 4)):
            proposal = Proposal(self.names, Ballot(attempt * 3 + 1, start))
            yield from self._attempt(proposal, "q", f"{start} {attempt}", None)

    def _operator(self, start: str) -> Iterator[bool]:
        while not self.dead:
            yield True
        left = left_of(self.names, self.dead)
        for attempt in range(6):
            closed = {}
            for name in left:
                yield True
                if self._hears(name):
                    closed[name] = self.electors[name].ask(CLOSE, FIRST)
            if left and len(closed) == len(left):
                proposal = Proposal(left, Ballot(attempt + 1, start), len(left))
                fresh = f"reopened by {start} {attempt}"
                yield from self._attempt(proposal, question_of("q"), fresh, highest(closed.values()))


def test_a_reopened_action_comes_to_one_end_and_to_what_was_chosen_as_far_as_can_be_known() -> None:
    reopened = finished = 0
    for seed in range(3_000):
        run = Run(seed)
        run.go()
        assert len(run.ends) <= 1, f"seed {seed}: {run.ends}"
        chosen = {
            value
            for (_, value), who in run.accepts.items()
            if len(who) >= majority(len(run.names)) and not who <= run.dead
        }
        assert len(chosen) <= 1, f"seed {seed}"
        assert not run.ends or not chosen or run.ends == chosen, f"seed {seed}: {chosen} ended as {run.ends}"
        reopened += any(end.startswith("reopened") for end in run.ends)
        finished += bool(run.ends and chosen)
    assert min(reopened, finished) > 100, "runs without an end prove nothing"
