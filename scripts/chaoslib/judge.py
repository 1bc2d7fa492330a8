"""What became of what callers were told: the records of every node, held against the ledger.

Equal counts prove nothing: records are compared by address, version and body. Then each is held against its acts:

- lost: an acknowledged write that neither stands nor gave way to one that may stand above it;
- resurrected: what was deleted is there again, or something is there that nobody wrote;
- divergent: two nodes hold different records under one address. Two tombstones are none: the digest is of what lives,
  and the later one may have to wait until the clock that made it is not ahead any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaoslib.finality import judge_cases
from chaoslib.held import BASE, Held, State, Verdict
from chaoslib.ledger import ACKED, ARCHIVED, GONE, UNKNOWN, Act, Effect, Ledger, Ref

_MARKED = frozenset({"memory", "policy", "agent"})
"""Kinds whose records are told apart by a text that only one write of them has."""


def judge(ledger: Ledger, states: Mapping[str, State]) -> Verdict:
    """What is wrong with these states, by node."""
    verdict = Verdict()
    names = list(states)
    first = states[names[0]]
    for name in names[1:]:
        for ref in sorted(first.keys() | states[name].keys()):
            one, other = first.get(ref), states[name].get(ref)
            if one != other and not (one and other and one.state == other.state == GONE):
                verdict.divergent.append(f"{ref}: {names[0]} holds {_told(one)}, {name} {_told(other)}")
    for ref, acts in ledger.of.items():
        story = _Story(ref, acts, same_lists=ledger.same_lists)
        for name in names:
            _judge_record(name, story, states[name].get(ref), ledger, verdict)
    for name in names:
        for ref, held in states[name].items():
            if held.state != GONE and ref[0] == "memory" and ref not in ledger.of and held.mark not in ledger.marks:
                verdict.resurrected.append(f"{ref} at {name}, which nobody wrote: {_told(held)}")
    judge_cases(ledger.cases, states, verdict)
    return verdict


def _may_come(act: Act) -> bool:
    """Whether what an act wrote may come at any time, under an id that its caller was never told: nobody knows what
    became of it, or of its first try, by a clock that ran ahead, which is given a version of the time when it is right.
    """
    return act.status == UNKNOWN or (act.repeated and not act.timed)


def _judge_record(name: str, story: _Story, held: Held | None, ledger: Ledger, verdict: Verdict) -> None:
    """Add what is wrong with one record of one node."""
    if story.last is None:
        return
    effect = story.last[1]
    ref = effect.ref
    if held is None:
        verdict.lost.append(f"{ref} at {name}: nothing, after {_told_of(ref, ledger)}")
        return
    if (doubted := ledger.marks.get(held.mark or "")) is not None and _may_come(doubted):
        return
    below = story.newest is not None and held.version[:BASE] < story.newest[:BASE]
    state_ok = held.state in story.states or (held.state == GONE and story.purged(ledger.purges))
    mark_ok = held.state == GONE or ref[0] not in _MARKED or held.mark in story.marks
    if below or not state_ok or not mark_ok:
        back = effect.state == GONE and held.state != GONE
        told = f"{ref} at {name}: {_told(held)}, after {_told_of(ref, ledger)}"
        (verdict.resurrected if back else verdict.lost).append(told)


class _Story:
    """What may be true of a record after its acts: `states` and `marks` that it may have, the `newest` version that was
    acknowledged, and the `last` acknowledged act with its effect. A write whose outcome is not known may come at any
    time; of two acknowledged ones the later stands, or the one whose version is known to be higher."""

    def __init__(self, ref: Ref, acts: Iterable[Act], *, same_lists: bool) -> None:
        self._same_lists = same_lists
        self._ever: set[str] = set()
        self.last: tuple[Act, Effect] | None = None
        self.newest: str | None = None
        self.states: set[str] = set()
        self.marks: set[str] = set()
        self._aside = False
        doubted: list[Effect] = []
        known = True
        for act, effect in [(each, effect) for each in acts for effect in each.effects if effect.ref == ref]:
            self._aside = self._aside or effect.state == ARCHIVED
            if act.status == UNKNOWN:
                doubted.append(effect)
            elif act.status == ACKED:
                if known and effect.version and effect.version[:BASE] < (self.newest or "")[:BASE]:
                    continue  # it was overtaken by one that had its answer sooner
                told = known and effect.version is not None
                self._stands(act, effect, sure=told or (act.ordered and act.timed))
                known = effect.version is not None
        self.states |= {effect.state for effect in doubted}
        self.marks |= {effect.mark for effect in doubted if effect.mark is not None}
        if any(effect.mark is None for effect in doubted):  # it may have been computed on any of the texts before
            self.marks |= self._ever

    def _stands(self, act: Act, effect: Effect, *, sure: bool) -> None:
        """`act` is the last now. Where that is not sure, what was before may stand as well; and one that leaves the
        text as it is may have been computed on an older text, where it was not ordered."""
        self.last = act, effect
        self.newest = max(self.newest or "", effect.version or "") or None
        self.states = {effect.state} | (set() if sure else self.states)
        if effect.mark is not None:
            self.marks = {effect.mark} | (set() if sure else self.marks)
            self._ever.add(effect.mark)
        elif not (act.ordered and self._same_lists):
            self.marks |= self._ever

    def purged(self, purges: Iterable[Act]) -> bool:
        """Whether a purge may have come after the last act."""
        assert self.last is not None
        began = self.last[0].began if self.last[0].timed else 0.0
        return self._aside and any(purge.ended >= began or purge.status == UNKNOWN for purge in purges)


def _told(held: Held | None) -> str:
    return "nothing" if held is None else f"{held.state} {held.mark or ''}@{held.version}"


def _told_of(ref: Ref, ledger: Ledger) -> str:
    """All that was asked for on a record."""
    return ", ".join(_said(act, effect) for act in ledger.of[ref] for effect in act.effects if effect.ref == ref)


def _said(act: Act, effect: Effect) -> str:
    order = "" if act.ordered else " unordered"
    return f"{act.kind} at {act.node} ({act.status}{order}: {effect.state} {effect.mark or ''}@{effect.version or '?'})"
