"""Single-decree Paxos: whatever is lost, late, repeated or restarted, a majority accepts one value at most."""

from __future__ import annotations

import random
from typing import Any

import pytest

from aimem.core.consensus import (
    ACCEPT,
    CLOSE,
    FIRST,
    PROMISE,
    Accepted,
    Ballot,
    Proposal,
    Reply,
    elect,
    parse_ballot,
    reply_from_wire,
)
from aimem.core.intent import Decision, Get, decide
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.errors import Invalid

A, B = "a" * 16, "b" * 16


class Elector:
    """One store's acceptor, durable as a store is."""

    def __init__(self) -> None:
        self._held: dict[Ref, Record] = {}
        self._time = 0
        self.now = 0
        self.incarnation = "i"

    def version(self) -> Version:
        self._time += 1
        return Version(self._time, "0" * 16)

    def ask(self, step: str, ballot: Ballot, value: Any = None, question: str = "q") -> Reply:
        def read(read: Any) -> Record | None:
            assert isinstance(read, Get)
            return self._held.get(read.ref)

        decision: Decision = decide(elect(question, step, ballot, value), self, read)
        for record in decision.records:
            self._held[record.ref] = record
        reply: Reply = decision.reply
        assert reply_from_wire(reply.to_wire()) == reply
        return reply


def test_an_elector_promises_upwards_and_tells_what_it_has_accepted() -> None:
    elector = Elector()
    assert elector.ask(PROMISE, Ballot(2, A)) == Reply(True, Ballot(2, A), None)
    assert elector.ask(PROMISE, Ballot(1, B)) == Reply(False, Ballot(2, A), None)
    assert elector.ask(ACCEPT, Ballot(1, B), "late").done is False
    assert elector.ask(ACCEPT, Ballot(2, A), "x") == Reply(True, Ballot(2, A), Accepted(Ballot(2, A), "x"))
    assert elector.ask(PROMISE, Ballot(2, B)) == Reply(True, Ballot(2, B), Accepted(Ballot(2, A), "x"))
    assert elector.ask(PROMISE, Ballot(2, B)).done, "the same message may come twice"
    assert elector.ask(PROMISE, Ballot(1, A), question="other").done


def test_an_elector_that_takes_no_more_part_says_what_it_had_accepted() -> None:
    elector = Elector()
    elector.ask(ACCEPT, Ballot(1, A), "x")
    assert elector.ask(CLOSE, FIRST).accepted == Accepted(Ballot(1, A), "x")
    for step in (PROMISE, ACCEPT):
        reply = elector.ask(step, Ballot(9, B), "y")
        assert (reply.done, reply.closed, reply.accepted) == (False, True, Accepted(Ballot(1, A), "x"))


@pytest.mark.parametrize("text", ["", "1", "1.x", "-1." + A, "1." + A + "0", None, 7, "9999999999." + A])
def test_what_is_no_ballot_is_refused(text: Any) -> None:
    with pytest.raises(Invalid):
        parse_ballot(text)
    assert parse_ballot(str(Ballot(3, A))) == Ballot(3, A)


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(Invalid):
        elect("q", "decide", FIRST)


def reached(proposal: Proposal) -> tuple[bool, bool, bool]:
    """Ready, chosen, lost."""
    return proposal.ready, proposal.chosen, proposal.lost


def test_a_proposal_is_bound_by_the_highest_ballot_among_its_majority() -> None:
    proposal = Proposal(("1", "2", "3"), Ballot(5, A))
    first = Reply(True, Ballot(5, A), Accepted(Ballot(1, A), "old"))
    proposal.promised("1", first)
    proposal.promised("1", first)
    proposal.promised("stranger", Reply(True, Ballot(5, A), Accepted(Ballot(4, B), "forged")))
    assert reached(proposal) == (False, False, False), "an elector counts once, and nobody else counts"
    proposal.promised("2", Reply(True, Ballot(5, A), Accepted(Ballot(3, B), "new")))
    assert reached(proposal) == (True, False, False)
    assert (proposal.bound(), proposal.silent) == (Accepted(Ballot(3, B), "new"), ("3",))
    proposal.accepted("3", Reply(False, Ballot(7, B), None))
    proposal.accepted("1", Reply(True, Ballot(5, A), None))
    assert (reached(proposal), proposal.highest) == ((True, False, False), Ballot(7, B))
    proposal.accepted("2", Reply(False, Ballot(7, B), None))
    assert reached(proposal) == (True, False, True)


def chosen_values(seed: int) -> set[str]:
    """Proposers that cross, lose messages and give up, over electors that never forget: every value that any majority
    accepted under one ballot."""
    chance = random.Random(seed)
    names = tuple(f"e{number}" for number in range(chance.choice((1, 3, 5))))
    electors = {name: Elector() for name in names}
    accepts: dict[tuple[Ballot, str], set[str]] = {}
    proposers = [_proposer(chance, names, electors, f"{number:016x}", accepts) for number in range(4)]
    while proposers:
        proposer = chance.choice(proposers)
        if next(proposer, None) is None:
            proposers.remove(proposer)
    return {value for (_, value), who in accepts.items() if len(who) > len(names) // 2}


def _proposer(
    chance: random.Random,
    names: tuple[str, ...],
    electors: dict[str, Elector],
    start: str,
    accepts: dict[tuple[Ballot, str], set[str]],
) -> Any:
    """Attempts of one process; every message is a step, and any may be lost."""
    round_ = 0
    for attempt in range(chance.randint(1, 4)):
        proposal = Proposal(names, Ballot(round_ + 1, start))
        for name in chance.sample(names, len(names)):
            yield True
            if chance.random() < 0.8:
                reply = electors[name].ask(PROMISE, proposal.ballot)
                if chance.random() < 0.8:
                    proposal.promised(name, reply)
        if proposal.ready:
            bound = proposal.bound()
            value = bound.value if bound is not None else f"{start} {attempt}"
            for name in chance.sample(names, len(names)):
                yield True
                if chance.random() < 0.8:
                    reply = electors[name].ask(ACCEPT, proposal.ballot, value)
                    if reply.done:
                        accepts.setdefault((proposal.ballot, value), set()).add(name)
                    proposal.accepted(name, reply)
        round_ = max(proposal.highest.round, round_ + 1)


def test_never_are_two_values_chosen() -> None:
    decided = 0
    for seed in range(3_000):
        values = chosen_values(seed)
        assert len(values) <= 1, f"seed {seed}: {values}"
        decided += bool(values)
    assert decided > 1_000, "runs in which nothing is chosen prove nothing"
