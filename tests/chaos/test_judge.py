"""The judge of `scripts/chaos` must see what is wrong, and must not see what is right."""

from __future__ import annotations

import pytest
from chaoslib.held import Held, Verdict
from chaoslib.judge import judge
from chaoslib.ledger import ACKED, ARCHIVED, GONE, LIVE, REFUSED, UNKNOWN, Effect, Ledger

REF = ("memory", "one")


def version(number: int) -> str:
    return f"{number:016x}-{'a' * 16}"


class Told:
    """A ledger that is filled line by line, and states of two nodes."""

    def __init__(self, *, same_lists: bool = True) -> None:
        self.ledger = Ledger(same_lists=same_lists)
        self._number = 0

    def act(
        self,
        kind: str,
        state: str,
        mark: str | None = None,
        *,
        status: str = ACKED,
        ordered: bool = True,
        told: bool = True,
    ) -> str:
        """One request on the record: the version that it got."""
        self._number += 1
        act = self.ledger.begin(kind, "n0", [mark] if mark else [])
        effect = Effect(REF, state, mark, version(self._number) if told and status == ACKED else None)
        self.ledger.end(act, status, [] if kind == "purge" else [effect], ordered=ordered)
        return version(self._number)

    def judged(self, held: Held | None, other: Held | None = None) -> Verdict:
        """What is said when one node holds this, and another that or the same."""
        states = {"n0": {REF: held} if held else {}, "n1": {REF: other or held} if other or held else {}}
        return judge(self.ledger, states)  # type: ignore[arg-type]


def held(number: int, state: str, mark: str | None) -> Held:
    return Held(version(number), state, mark, f"{number}{state}{mark}")


def test_what_stands_as_it_was_acknowledged_is_well() -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    told.act("update", LIVE, "m2")
    assert told.judged(held(2, LIVE, "m2")).well


@pytest.mark.parametrize("found", [None, held(1, LIVE, "m1"), held(2, LIVE, "m1"), held(2, ARCHIVED, "m2")])
def test_a_write_that_is_missing_older_or_altered_is_lost(found: Held | None) -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    told.act("update", LIVE, "m2")
    assert len(told.judged(found).lost) == 2


def test_what_was_deleted_and_is_there_is_resurrected() -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    told.act("delete", GONE)
    assert told.judged(held(2, GONE, None)).well
    for found in (held(1, LIVE, "m1"), held(3, LIVE, "m1")):
        verdict = told.judged(found)
        assert (len(verdict.resurrected), len(verdict.lost)) == (2, 0)


def test_the_first_try_of_a_write_may_come_late_only_from_a_wrong_clock() -> None:
    for timed in (True, False):
        told = Told()
        told.ledger.timed = timed
        told.act("create", LIVE, "m1")
        told.ledger.acts[0].repeated = True
        told.act("delete", GONE)
        assert told.judged(held(3, LIVE, "m1")).well is not timed


def test_what_nobody_wrote_is_resurrected() -> None:
    assert len(Told().judged(held(1, LIVE, "m9")).resurrected) == 2


def test_nodes_that_differ_are_divergent_also_by_the_body_alone() -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    other = held(1, LIVE, "m1")._replace(body="another")
    assert len(told.judged(held(1, LIVE, "m1"), other).divergent) == 1


def test_two_tombstones_of_one_record_are_no_difference() -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    told.act("delete", GONE)
    assert told.judged(held(2, GONE, None), held(3, GONE, None)).well
    assert told.judged(held(2, GONE, None), held(1, LIVE, "m1")).divergent


def test_an_unanswered_write_may_have_been_done_or_not_and_a_refused_one_may_not() -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    told.act("update", LIVE, "m2", status=UNKNOWN)
    assert told.judged(held(1, LIVE, "m1")).well
    assert told.judged(held(2, LIVE, "m2")).well
    told = Told()
    told.act("create", LIVE, "m1")
    told.act("update", LIVE, "m2", status=REFUSED)
    assert told.judged(held(1, LIVE, "m1")).well
    assert told.judged(held(2, LIVE, "m2")).lost


def test_a_purge_explains_that_what_was_archived_is_gone_and_only_that() -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    told.act("archive", ARCHIVED, told=False)
    assert told.judged(held(3, GONE, None)).lost
    told.act("purge", GONE)
    assert told.judged(held(3, GONE, None)).well
    told.act("restore", LIVE)
    assert told.judged(held(3, GONE, None)).lost


def test_a_write_on_a_stale_copy_may_bring_an_older_text_back_where_it_was_not_ordered() -> None:
    for ordered, same_lists, well in ((False, True, True), (True, False, True), (True, True, False)):
        told = Told(same_lists=same_lists)
        told.act("create", LIVE, "m1")
        told.act("update", LIVE, "m2")
        told.act("promote", LIVE, ordered=ordered)
        assert told.judged(held(3, LIVE, "m1")).well is well
        assert told.judged(held(3, LIVE, "m2")).well


def test_so_may_one_that_leaves_the_text_as_it_is_and_was_never_answered() -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    told.act("update", LIVE, "m2")
    assert told.judged(held(3, LIVE, "m1")).lost
    told.act("promote", LIVE, status=UNKNOWN)
    assert told.judged(held(3, LIVE, "m1")).well


def test_of_two_writers_the_higher_version_stands_whichever_was_answered_first() -> None:
    told = Told()
    told.act("create", LIVE, "m1")
    later, sooner = (told.ledger.begin("create", node, [mark]) for node, mark in (("n0", "m2"), ("n1", "m3")))
    told.ledger.end(sooner, ACKED, [Effect(REF, LIVE, "m3", version(9))])
    told.ledger.end(later, ACKED, [Effect(REF, LIVE, "m2", version(5))])
    assert told.judged(held(9, LIVE, "m3")).well
    assert told.judged(held(5, LIVE, "m2")).lost
