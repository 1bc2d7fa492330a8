"""The judge of parked writes must see what is wrong, and must not see what is right."""

from __future__ import annotations

import json

import pytest
from chaoslib.finality import judge_cases
from chaoslib.held import Held, State, Verdict
from chaoslib.ledger import ACKED, APPROVE, CANCEL, GONE, LIVE, REFUSED, REJECT, UNKNOWN, Case, Ref, Said

ROW: Ref = ("memory", "row")
OTHER: Ref = ("memory", "other")
OPEN: State = {}


def version(number: int) -> str:
    return f"{number:016x}-{'a' * 16}"


def row(number: int, state: str = LIVE) -> Held:
    return Held(version(number), state, "m1" if state == LIVE else None, "")


def ended(outcome: str, wrote: int | None = None) -> State:
    """The state of a node on which the action has ended, and led to a version of the row."""
    body = {"outcome": outcome, "wrote": [] if wrote is None else [[*ROW, version(wrote)]]}
    return {("decision", "p"): Held(version(9), LIVE, outcome, json.dumps({"body": body}))}


def case(*said: Said, deletes: bool = False) -> Case:
    return Case("p", "ai:one", 2, "m1", ROW[1] if deletes else None, list(said))


def approved(status: str = ACKED, told: str | None = None) -> list[Said]:
    return [Said(APPROVE, "ai:two", status), Said(APPROVE, "ai:three", status, told)]


def judged(of: Case, state: State) -> Verdict:
    verdict = Verdict()
    judge_cases([of], {"n0": state, "n1": state}, verdict)
    return verdict


DONE: State = {**ended("approved", 5), ROW: row(5)}


def test_what_was_approved_is_carried_out_once() -> None:
    assert judged(case(*approved(told="approved")), DONE).well
    assert judged(case(*approved()), {**ended("approved", 5), OTHER: row(5)}).lost
    assert judged(case(*approved()), ended("approved", 5)).lost
    assert judged(case(*approved()), {**DONE, ROW: row(4)}).lost
    assert judged(case(*approved()), {**DONE, OTHER: row(6)}).resurrected


def test_a_delete_that_was_approved_is_done_and_no_other() -> None:
    gone: State = {**ended("approved", 5), ROW: row(5, GONE)}
    assert judged(case(*approved(), deletes=True), gone).well
    assert judged(case(*approved(), deletes=True), DONE).resurrected
    assert judged(case(deletes=True), {ROW: row(1)}).well
    assert judged(case(deletes=True), {ROW: row(5, GONE)}).lost


def test_acknowledged_votes_come_to_something() -> None:
    assert judged(case(*approved()), OPEN).lost
    assert judged(case(*approved()[:1]), OPEN).well
    assert judged(case(*approved()[:1] * 2), OPEN).well  # one agent, twice
    for verdict in (REJECT, CANCEL):
        assert judged(case(Said(verdict, "ai:two", ACKED)), OPEN).lost


def test_an_action_whose_electors_are_gone_waits_and_ends_as_was_told() -> None:
    orphan = case(*approved())
    orphan.orphaned = True
    assert judged(orphan, OPEN).well
    assert judged(orphan, ended("rejected")).resurrected


@pytest.mark.parametrize("status", [UNKNOWN, REFUSED])
def test_votes_that_were_not_acknowledged_demand_nothing(status: str) -> None:
    assert judged(case(*approved(status)), OPEN).well
    assert judged(case(*approved(status)), DONE).well is (status == UNKNOWN)


def test_an_action_ends_as_somebody_voted_and_as_callers_were_told() -> None:
    rejection = Said(REJECT, "ai:two", UNKNOWN)
    assert judged(case(*approved(), rejection), ended("rejected")).well
    assert judged(case(*approved()), ended("rejected")).resurrected
    assert judged(case(*approved()), ended("failed")).resurrected
    assert judged(case(*approved(told="approved"), rejection), ended("rejected")).lost
    late = Said(REJECT, "ai:two", REFUSED, "approved")
    assert judged(case(*approved(told="approved"), late), DONE).well


def test_what_has_no_leave_is_not_carried_out() -> None:
    assert judged(case(), OPEN).well
    assert judged(case(), {ROW: row(1)}).resurrected
    assert judged(case(rejected := Said(REJECT, "ai:two", ACKED)), {**ended("rejected"), ROW: row(1)}).resurrected
    assert judged(case(rejected), ended("rejected")).well
