"""Reopening an action that no majority of its electors can decide any more, because so many are gone for good.

An operator names the lost ones. Every other elector is closed: it says what it had accepted, and accepts nothing more.
Where there is such a value, that of the highest ballot may have been chosen, and stands; else the action ends as
`reopened`, and is parked anew under the same approver, with electors of today. Those that are left settle this as one
more question, on which all of them must agree: so it comes to one end, however often and by whichever node it is asked.

No protocol can tell what lost electors had agreed upon among themselves where they are a majority: for that the
operator vouches. What is parked anew is carried out only while the decision that names it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from typing import Any

from aimem.core.consensus import Accepted, Reply
from aimem.core.deciding import REOPENED, Outcome, electors_of_pending, unqualified, value_of
from aimem.core.governing import RULE, Ask, Speaker, verdict_of
from aimem.core.intent import Decision, Intent, Plan, Read, Stamp
from aimem.core.kinds import PENDING, compound_key
from aimem.core.parking import pending_id
from aimem.core.policy import Verdict, chain_of
from aimem.core.quorum import majority
from aimem.core.record import Record
from aimem.errors import Busy, Conflict, Invalid


def question_of(pending: str) -> str:
    """The question of how a reopened action ends, among the electors that are left."""
    return compound_key(pending, "reopen")


def left_of(electors: Iterable[str], lost: Collection[str]) -> tuple[str, ...]:
    """The electors that are not lost."""
    return tuple(each for each in electors if each not in lost)


def barred(pending: Record, who: Speaker) -> Generator[Read, Any, str | None]:
    """`yield from barred(...)`: why `who` may not reopen an action; None for whoever may decide about it, or may set
    the rules of its namespace."""
    namespace = pending.body["namespace"]
    if who.reach is not None and not who.reach.covers(namespace):
        return f"this certificate or key may not write to namespace {namespace}"
    if (yield from unqualified(pending, who.agent_id, known=who.known)) is None:
        return None
    verdict, _, _ = yield from verdict_of(Ask(RULE, "reopen", namespace), who, (yield from chain_of(namespace)))
    if verdict is Verdict.ALLOW:
        return None
    return f"{who.agent_id!r} neither decides about this action nor sets the rules of {namespace}"


def check_lost(pending: Record, lost: Collection[str]) -> None:
    """Raises `Conflict` for an action that names no electors, `Invalid` for a lost one that is none of them."""
    electors = electors_of_pending(pending)
    if not electors:
        raise Conflict(
            "this action was parked by the existing system: it has no electors",
            hint="reject or cancel it, and ask for the write again",
        )
    if strangers := sorted(set(lost) - set(electors)):
        raise Invalid(
            f"{strangers[0]} is no elector of this action", hint=f"its electors are {', '.join(sorted(electors))}"
        )


def check_replies(electors: Sequence[str], lost: Collection[str], replies: Mapping[str, Reply]) -> None:
    """Whether an action may be reopened, by the `replies` of those of its electors that answer at all.

    Raises:
        Conflict: one that is said to be lost answers, or a majority is left.
        Busy: one that is not said to be lost does not answer.
    """
    if back := [each for each in lost if each in replies]:
        raise Conflict(f"elector {back[0]} is not lost: it answers", hint="leave it out, and try again")
    untouched = not any(reply.closed for reply in replies.values())
    if untouched and len(replies) >= majority(len(electors)):
        raise Conflict(
            f"{len(replies)} of {len(electors)} electors answer, a majority: there is nothing to reopen",
            hint="the action is decided when its votes are enough",
        )
    if silent := [each for each in left_of(electors, lost) if each not in replies]:
        raise Busy(
            f"of the electors {', '.join(silent)} no answer comes, and they are not said to be lost",
            hint="start their nodes and try again; name as lost (--lost) only those whose store is gone for good",
            extra={"silent": silent},
        )


def highest(replies: Iterable[Reply]) -> Accepted | None:
    """What may have been chosen, by what closed electors had accepted."""
    accepted = [reply.accepted for reply in replies if reply.accepted is not None]
    return max(accepted, key=lambda each: each.ballot, default=None)


def park_anew(pending: Record, electors: Sequence[str], agent_id: str) -> Intent:
    """The value (see `deciding.value_of`) that ends an action as reopened and parks it anew. It is waited for as long
    again as the policy had said. Writes nothing, but is to be run as a write: the versions in it are given out."""

    def plan(stamp: Stamp) -> Plan:
        yield from ()
        body = {**pending.body, "electors": list(electors), "requested_at": stamp.now, "reopened_from": pending.key}
        if isinstance(expires := body.get("expires_at"), int):
            body["expires_at"] = stamp.now + expires - pending.body["requested_at"]
        version = stamp.version()
        again = Record.make(PENDING, pending_id(f"reopened {pending.key}", electors), version, version, body)
        return Decision((), value_of(Outcome(REOPENED, agent_id), [again], stamp))

    return plan


def not_ruled_out(electors: Sequence[str], lost: Collection[str], unasked: Sequence[str]) -> list[str]:
    """In words, what could still speak against the end that an action came to; `unasked` are the addresses of nodes
    that did not say whether they know a decision, or know what can't be taken in here."""
    told = []
    if lost and len(lost) >= majority(len(electors)):
        told.append(
            f"that the lost electors ({', '.join(sorted(lost))}) had agreed on another end among themselves: "
            "their stores must not come back"
        )
    if not left_of(electors, lost):
        told.append("that another node ended it too: no elector is left to agree with; reopen it on one node alone")
    if unasked:
        told.append(f"that a node which gave no answer of use here knows another end: {', '.join(sorted(unasked))}")
    return told
