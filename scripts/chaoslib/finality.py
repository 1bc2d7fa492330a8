"""What became of parked writes: each is decided once, the same on every node, and carried out once or not at all.

- lost: votes that were acknowledged came to nothing, a node holds another end than a caller was told, or what was
  approved is not there as the decision wrote it;
- resurrected: an action ended as nobody voted, what had no leave was carried out, or one was carried out twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from chaoslib.held import BASE, Held, State, Verdict
from chaoslib.ledger import APPROVE, GONE, OUTCOMES, Case, Ref

_APPROVED = OUTCOMES[APPROVE]


def judge_cases(cases: Iterable[Case], states: Mapping[str, State], verdict: Verdict) -> None:
    """Add what is wrong with what these states make of the cases."""
    for name, state in states.items():
        marked: dict[str, list[Ref]] = defaultdict(list)
        for ref, held in state.items():
            if ref[0] == "memory" and held.mark is not None and held.state != GONE:
                marked[held.mark].append(ref)
        for case in cases:
            _judge_case(name, case, state, marked[case.mark], verdict)


def _judge_case(name: str, case: Case, state: State, there: list[Ref], verdict: Verdict) -> None:
    decision = state.get(("decision", case.id))
    outcome = None if decision is None else decision.mark
    told = f"action {case.id} at {name}: {outcome or 'open'}, after {_told_of(case)}"
    if case.told - {outcome}:
        verdict.lost.append(f"{told}: a caller was told otherwise")
    elif outcome is None and case.ripe:
        verdict.lost.append(f"{told}: acknowledged votes came to nothing")
    if outcome is not None and outcome not in case.possible:
        verdict.resurrected.append(f"{told}: nobody voted so")
    wanted = (outcome == _APPROVED) == (case.deletes is None)
    if len(there) > wanted:
        verdict.resurrected.append(f"{told}: {there}")
    elif len(there) < wanted or (decision is not None and not _stands(decision, state)):
        verdict.lost.append(f"{told}: {there or 'nothing'}")


def _stands(decision: Held, state: State) -> bool:
    """Whether all that a decision wrote stands as it wrote it. Nobody else writes there."""
    return all(
        (held := state.get((kind, key))) is not None and held.version[:BASE] == version[:BASE]
        for kind, key, version in decision.wrote
    )


def _told_of(case: Case) -> str:
    what = "a delete" if case.deletes else "a store"
    votes = [f"{each.verdict} by {each.voter} ({each.status}: {each.told or 'open'})" for each in case.said]
    return f"{what} that needs {case.needed} of {', '.join(votes) or 'no votes'}"
