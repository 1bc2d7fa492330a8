"""One value for one question, among a fixed set of stores: single-decree Paxos (Lamport, "Paxos Made Simple", 2001).

The electors of a question are named by the question itself, so there is no change of membership. An elector keeps what
it has promised and accepted in a record of its own store, changed in one conditional, durable write and never sent to
anybody: a copy of a store, or one that was set back, is another incarnation, and no elector of what the first promised.

What always holds: a majority accepts at most one value, whoever proposes, however often, and whatever is lost on the
way. What the value says is no matter here.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import ACCEPTOR
from aimem.core.quorum import majority
from aimem.core.record import Record
from aimem.errors import Invalid

PROMISE, ACCEPT, CLOSE = "promise", "accept", "close"


class Ballot(NamedTuple):
    """The number of a proposal: a round, and the process start that proposes in it. A total order; no two proposals
    have the same, for no two starts have the same id and a start uses a round once."""

    round: int
    start: str

    def __str__(self) -> str:
        return f"{self.round}.{self.start}"


_BALLOT = re.compile(r"([0-9]{1,9})\.([0-9a-f]{16})")


def parse_ballot(text: Any) -> Ballot:
    """The ballot that its text says. Raises `Invalid`."""
    match = _BALLOT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Invalid(f"not a ballot: {text!r:.64}")
    return Ballot(int(match[1]), match[2])


FIRST: Final = Ballot(0, "0" * 16)
"""Below every ballot of a proposal."""


class Accepted(NamedTuple):
    """The value that an elector accepted last, under its ballot."""

    ballot: Ballot
    value: Any


class Reply(NamedTuple):
    """What an elector says: whether it did what was asked, its highest promise, what it accepted last, and whether it
    takes part in the question no more."""

    done: bool
    promised: Ballot
    accepted: Accepted | None
    closed: bool = False

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        accepted = None if self.accepted is None else [str(self.accepted.ballot), self.accepted.value]
        return {"done": self.done, "promised": str(self.promised), "accepted": accepted, "closed": self.closed}


def reply_from_wire(value: dict[str, Any]) -> Reply:
    """The reply that `to_wire` printed. Raises `Invalid`."""
    accepted = value.get("accepted")
    if accepted is not None and not (isinstance(accepted, list) and len(accepted) == 2):
        raise Invalid("not the reply of an elector: accepted")
    return Reply(
        value.get("done") is True,
        parse_ballot(value.get("promised")),
        None if accepted is None else Accepted(parse_ballot(accepted[0]), accepted[1]),
        value.get("closed") is True,
    )


# The elector.


def elect(question: str, step: str, ballot: Ballot, value: Any = None) -> Intent:
    """What an elector does with a message: promise to take nothing below `ballot`; accept `value` under it; or take no
    more part. Reply: `Reply`.

    Raises:
        Invalid: an unknown step.
    """
    if step not in (PROMISE, ACCEPT, CLOSE):
        raise Invalid(f"an elector is asked to promise, accept or close, not to {step[:64]!r}")

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(ACCEPTOR, question)
        promised, accepted, closed = _state(held)
        if step == CLOSE:
            done, closed = True, True
        else:
            done = ballot >= promised and not closed
        if not done:
            return Decision((), Reply(False, promised, accepted, closed))
        if step != CLOSE:
            promised = ballot
        if step == ACCEPT:
            accepted = Accepted(ballot, value)
        body = {
            "promised": str(promised),
            "accepted": None if accepted is None else [str(accepted.ballot), accepted.value],
            "closed": closed,
        }
        reply = Reply(True, promised, accepted, closed)
        if held is not None and held.body == body:
            return Decision((), reply)
        version = stamp.version()
        born = version if held is None else held.born
        return Decision([Record.make(ACCEPTOR, question, version, born, body)], reply)

    return plan


def _state(held: Record | None) -> tuple[Ballot, Accepted | None, bool]:
    if held is None or held.deleted:
        return FIRST, None, False
    kept = reply_from_wire({"done": True, **held.body})
    return kept.promised, kept.accepted, kept.closed


# The proposer.


class Proposal:
    """One attempt to have a value chosen. Events go in with `promised` and `accepted`; `ready` and `chosen` tell what
    has been reached, `lost` that another attempt, with a ballot above `highest`, is needed. `needed` is how many
    electors are enough, a majority unless said; `closed` that one of them takes part no more, so that nothing may be
    proposed."""

    def __init__(self, electors: tuple[str, ...], ballot: Ballot, needed: int | None = None) -> None:
        self.electors = electors
        self.needed = majority(len(electors)) if needed is None else needed
        self.ballot = ballot
        self.highest = ballot
        self.closed = False
        self._promises: set[str] = set()
        self._accepts: set[str] = set()
        self._refusals: set[str] = set()
        self._found: Accepted | None = None

    @property
    def ready(self) -> bool:
        """Whether enough have promised, so that a value may be sent out."""
        return len(self._promises) >= self.needed and not self.closed

    @property
    def chosen(self) -> bool:
        """Whether enough have accepted the value: it is the one."""
        return len(self._accepts) >= self.needed

    @property
    def nearly_chosen(self) -> bool:
        """Whether one more elector that accepts makes a majority."""
        return len(self._accepts) + 1 >= self.needed

    @property
    def lost(self) -> bool:
        """Whether so many have refused that this attempt can't succeed."""
        return len(self._refusals) > len(self.electors) - self.needed

    @property
    def silent(self) -> tuple[str, ...]:
        """The electors that have said nothing."""
        return tuple(each for each in self.electors if each not in self._promises | self._refusals)

    def promised(self, elector: str, reply: Reply) -> None:
        """An elector's answer to a promise that was asked for."""
        if self._noted(elector, reply):
            self._promises.add(elector)
            if reply.accepted is not None and (self._found is None or reply.accepted.ballot > self._found.ballot):
                self._found = reply.accepted

    def accepted(self, elector: str, reply: Reply) -> None:
        """An elector's answer to the value."""
        if self._noted(elector, reply):
            self._accepts.add(elector)

    def _noted(self, elector: str, reply: Reply) -> bool:
        if elector not in self.electors:
            return False
        self.highest = max(self.highest, reply.promised)
        self.closed = self.closed or reply.closed
        if not reply.done:
            self._refusals.add(elector)
        return reply.done

    def bound(self) -> Accepted | None:
        """What must be proposed now that a majority has promised: the value that was accepted under the highest ballot
        among them, for it may have been chosen. None: any value may be."""
        return self._found
