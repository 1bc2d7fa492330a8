"""Pending actions: who may vote, what the votes come to, and the decision that carries an action out.

Votes are records of their own, one for each agent and verdict, and any node takes them. What they come to is weighed
under the approver that the pending record carries. A decision is one value, chosen by the electors of the action (see
`consensus`); it holds the outcome and, for an approved action, the very records that it comes to, so whoever learns of
it writes the same, once or many times.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aimem.core.governing import Speaker, asks_of, is_human, verdict_of
from aimem.core.intent import Decision, Intent, Plan, Read, Stamp, get, holding, look
from aimem.core.kinds import AGENT, DECISION, MEMORY, PENDING, VOTE, compound_key
from aimem.core.merge import wins
from aimem.core.pairs import pair_of
from aimem.core.policy import Verdict, chain_of, parse_approver
from aimem.core.record import Record, Ref, from_wire, to_wire
from aimem.core.version import parse_version
from aimem.errors import Conflict, Denied, Invalid, NotFound

APPROVE, REJECT, CANCEL = "approve", "reject", "cancel"
APPROVED, REJECTED, CANCELLED, EXPIRED, FAILED, REOPENED = (
    *("approved", "rejected", "cancelled"),
    *("expired", "failed", "reopened"),
)
WAITING: Final = "pending"


class Ballots(NamedTuple):
    """The votes that count: who approves, who rejects, and whether the requester has taken it back."""

    approvals: tuple[str, ...]
    rejections: tuple[str, ...]
    cancelled: bool


class Outcome(NamedTuple):
    """How an action ends, and by whom; `reason` of one that fails."""

    outcome: str
    decided_by: str | None
    reason: str | None = None


# Votes.


def vote(pending_id: str, who: Speaker, verdict: str) -> Intent:
    """Take a vote. Reply: the record of the vote.

    Raises:
        NotFound: there is no such action. Conflict: it is decided.
        Denied: this caller may not vote so.
    """

    def plan(stamp: Stamp) -> Plan:
        pending = yield from get(PENDING, pending_id)
        if pending is None or pending.deleted:
            raise NotFound("there is no such pending action")
        decision = yield from look(DECISION, pending_id)
        if decision is not None:
            check_not_reopened(decision)
            raise Conflict("pending action already decided")
        if verdict == CANCEL:
            if who.agent_id != pending.body["requested_by"]:
                raise Denied(f"{who.agent_id!r} did not ask for this action: only {pending.body['requested_by']!r} did")
        elif (reason := (yield from unqualified(pending, who.agent_id, known=who.known))) is not None:
            raise Denied(f"{verdict} rejected: {reason}")
        key = compound_key(pending_id, who.agent_id, verdict)
        held = yield from get(VOTE, key)
        if held is not None and not held.deleted:
            return Decision((), held)
        body = {
            "pending_id": pending_id,
            "voter": who.agent_id,
            "verdict": verdict,
            "voted_at": stamp.now,
            "known": who.known,
        }
        version = stamp.version()
        record = Record.make(VOTE, key, version, version, body)
        return Decision([record], record)

    return plan


def unqualified(pending: Record, voter: str, *, known: bool) -> Generator[Read, Any, str | None]:
    """`yield from unqualified(...)`: why an agent may not decide about an action; None where it may."""
    if voter == pending.body.get("requested_by"):
        return "the requester does not decide about its own action"
    approver = parse_approver(pending.body.get("approver"))
    if approver.agent is not None:
        return None if voter == approver.agent else f"{voter!r} is not the approver ({approver.agent!r})"
    if approver.votes is not None:
        registered = (yield from look(AGENT, voter)) is not None
        return None if registered else f"{voter!r} is not a registered agent"
    if known and not (yield from is_human(voter)):
        return f"{voter!r} is not registered as a human"
    return None


def ballots_of(pending: Record, votes: Iterable[Record]) -> Generator[Read, Any, Ballots]:
    """`yield from ballots_of(...)`: which votes count. An agent's rejection outweighs its approval."""
    verdicts: dict[str, str] = {}
    cancelled = False
    for each in sorted(votes, key=lambda each: each.order):
        voter, verdict = each.body.get("voter"), each.body.get("verdict")
        if not isinstance(voter, str) or each.deleted:
            continue
        if verdict == CANCEL:
            cancelled = cancelled or voter == pending.body.get("requested_by")
            continue
        if verdict not in (APPROVE, REJECT) or verdicts.get(voter) == REJECT:
            continue
        if (yield from unqualified(pending, voter, known=each.body.get("known") is True)) is None:
            verdicts[voter] = verdict
    named = {want: tuple(voter for voter, verdict in verdicts.items() if verdict == want) for want in (APPROVE, REJECT)}
    return Ballots(named[APPROVE], named[REJECT], cancelled)


def needed_votes(pending: Record) -> int:
    """How many approvals an action needs."""
    return parse_approver(pending.body.get("approver")).votes or 1


def weigh(pending: Record, ballots: Ballots, now: int) -> Outcome | None:
    """What votes and time (ns) come to; None while it is open."""
    if ballots.rejections:
        return Outcome(REJECTED, ballots.rejections[0])
    if ballots.cancelled:
        return Outcome(CANCELLED, pending.body.get("requested_by"))
    needed = needed_votes(pending)
    if len(ballots.approvals) >= needed:
        return Outcome(APPROVED, ballots.approvals[needed - 1])
    expires = pending.body.get("expires_at")
    if isinstance(expires, int) and now >= expires:
        return Outcome(EXPIRED, None)
    return None


# The decision.


def compose(pending: Record, votes: Sequence[Record]) -> Intent:
    """The value to propose for an action as this store sees it. Writes nothing, but is to be run as a write: the
    versions in it are given out for good. Reply: the value (see `decision_of`), or None while the action is open."""

    def plan(stamp: Stamp) -> Plan:
        outcome = weigh(pending, (yield from ballots_of(pending, votes)), stamp.now)
        if outcome is None:
            return Decision((), None)
        records: list[Record] = []
        first = pending.body.get("reopened_from")
        if outcome.outcome == APPROVED and first is not None and (yield from get(DECISION, first)) is None:
            return Decision((), None)  # until it is known that this is what the first action was parked as anew
        if outcome.outcome == APPROVED:
            reason = yield from _hindered(pending, stamp)
            if reason is None:
                records = [_renewed(item, stamp) for item in pending.body.get("records", ())]
            else:
                outcome = Outcome(FAILED, outcome.decided_by, reason)
        return Decision((), value_of(outcome, records, stamp))

    return plan


def value_of(outcome: Outcome, records: Sequence[Record], stamp: Stamp) -> dict[str, Any]:
    """A value of the consensus: outcome, records and the version of the decision, all as they will be written."""
    value = {
        "outcome": outcome.outcome,
        "decided_by": outcome.decided_by,
        "decided_at": stamp.now,
        "records": [to_wire(record) for record in records],
        "version": str(stamp.version()),
    }
    return value if outcome.reason is None else {**value, "reason": outcome.reason}


def _hindered(pending: Record, stamp: Stamp) -> Generator[Read, Any, str | None]:
    """Why an approved action can't be carried out: `policy` where what is in force by now denies it, `stale` where
    something else stands where it would write."""
    items = pending.body.get("records")
    if not isinstance(items, list) or not items:
        return "stale"
    records = [_renewed(item, stamp) for item in items]
    who = Speaker(pending.body["requested_by"])
    for ask in (yield from asks_of(records)):
        verdict, _, _ = yield from verdict_of(ask, who, (yield from chain_of(ask.namespace)))
        if verdict is Verdict.DENY:
            return "policy"
    if (first := pending.body.get("reopened_from")) is not None:
        decision = yield from get(DECISION, first)
        if decision is not None and successor_of(decision) != pending.key:
            return "stale"
    for item, record in zip(items, records, strict=True):
        if not (yield from _stands(item, record)):
            return "stale"
    return None


def _stands(item: Mapping[str, Any], record: Record) -> Generator[Read, Any, bool]:
    """Whether what stood when the action was parked stands still: the same write, and the pair is not another's."""
    if "version" in item:
        return True
    held = yield from get(record.kind, record.key)
    base = item.get("base")
    if base is None or item.get("renewed"):
        if held is not None and not held.deleted:
            return False
    elif held is None or held.version.base() != parse_version(base).base():
        return False
    pair = pair_of(record) if record.kind == MEMORY else None
    if pair is None:
        return True
    holder = (yield from holding(pair)).holder
    return holder is None or holder.key == record.key


def _renewed(item: Mapping[str, Any], stamp: Stamp) -> Record:
    """A record of a parked write under a version of now; a derived one keeps its own."""
    if "version" in item:
        return from_wire(item)
    version = stamp.version()
    base, kept = item.get("base"), item.get("born")
    born = version if item.get("renewed") or base is None or kept is None else parse_version(kept)
    plain = {name: value for name, value in item.items() if name not in ("base", "renewed", "born")}
    return from_wire({**plain, "version": str(version), "born": str(born)})


def conclude(pending_id: str, value: Mapping[str, Any]) -> Intent:
    """Write a value that a majority accepted: the decision, and the records that it carries, merged. Reply: the record
    of the decision. Again, or elsewhere, it changes nothing; nor does it change how an operator ended the action."""

    def plan(stamp: Stamp) -> Plan:
        decision = decision_of(pending_id, value)
        held = yield from get(DECISION, pending_id)
        if held is not None and not (held.deleted and wins(decision, held)):
            return Decision((), held)
        written = [decision]
        for each in value.get("records", ()):
            record = from_wire(each)
            if wins(record, (yield from get(record.kind, record.key))):
                written.append(record)
        return Decision(written, decision)

    return plan


def newest_of(value: Any) -> int:
    """The highest time (ns) of all versions in a value. Raises `Invalid` where it is not the value of a decision."""
    match value:
        case {"version": str(version), "records": list(items)}:
            records = [from_wire(each) for each in items]
            return max([parse_version(version).time, *(max(each.version.time, each.born.time) for each in records)])
    raise Invalid("not the value of a decision")


def decision_of(pending_id: str, value: Mapping[str, Any]) -> Record:
    """The record of a decision: a function of the value alone."""
    version = parse_version(value["version"])
    body = {name: each for name, each in value.items() if name not in ("version", "records")}
    body["wrote"] = [[each["kind"], each["key"], each["version"]] for each in value.get("records", ())]
    return Record.make(DECISION, pending_id, version, version, body)


def successor_of(decision: Record) -> str | None:
    """The action as which a reopened one was parked anew; None for any other decision."""
    if decision.deleted or decision.body.get("outcome") != REOPENED:
        return None
    return next((str(key) for kind, key, _ in decision.body["wrote"] if kind == PENDING), None)


def check_not_reopened(decision: Record) -> None:
    """Raises `Conflict` about an action that was parked anew: what is wanted of it is to be asked of that one."""
    if (again := successor_of(decision)) is not None:
        raise Conflict(
            f"this action was reopened: it waits as {again}",
            hint="vote about that one",
            extra={"outcome": REOPENED, "pending_id": again},
        )


def refs_of(pending: Record) -> list[Ref]:
    """What an action would write."""
    return [Ref(item["kind"], item["key"]) for item in pending.body.get("records", ())]


def may_see(pending: Record, who: Speaker) -> Generator[Read, Any, bool]:
    """`yield from may_see(...)`: whether a caller may see what an action is about: who asked for it, and whoever may
    decide about it."""
    if who.agent_id == pending.body.get("requested_by"):
        return True
    return (yield from unqualified(pending, who.agent_id, known=who.known)) is None


def electors_of_pending(pending: Record) -> tuple[str, ...]:
    """The stores that decide about an action; none for one that came from the existing system."""
    named: Collection[Any] = pending.body.get("electors") or ()
    return tuple(each for each in named if isinstance(each, str))
