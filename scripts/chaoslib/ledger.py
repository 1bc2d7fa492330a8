"""What callers asked for and were told. It is the only witness: nothing here comes from what nodes say of themselves.

An `Act` is one request with all its effects. An effect names a record and how it is left: there with a text that no
other write has, archived, ended (a link that no longer holds) or gone. What was never answered, or with 503, may or may
not have been done, and may yet be: such an act explains a state, but demands none. A `Case` is a write that was parked,
with the votes on it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

LIVE, ARCHIVED, ENDED, GONE = "live", "archived", "ended", "gone"
ACKED, UNKNOWN, REFUSED = "acked", "unknown", "refused"

Ref = tuple[str, str]
"""Kind and key of a record."""


class Effect(NamedTuple):
    """How a record is left. `mark` is the text that only this write has, None where it does not change the text;
    `version` as the reply told it, None where it told none."""

    ref: Ref
    state: str
    mark: str | None = None
    version: str | None = None


@dataclass
class Act:
    """One request. Times are those of the monotonic clock."""

    kind: str
    node: str
    began: float
    status: str = UNKNOWN
    ended: float = float("inf")
    ordered: bool = True
    acks: int = 0
    """On how many nodes the reply said that it is."""
    repeated: bool = False
    """Whether it was sent once more, to `node`, when its outcome was not known."""
    timed: bool = True
    """Whether what was asked for later has the higher version: all clocks were right."""
    effects: Sequence[Effect] = ()
    marks: Sequence[str] = field(default=())
    """The texts that it may have brought into the mesh, under whatever id."""


APPROVE, REJECT, CANCEL = "approve", "reject", "cancel"
OUTCOMES = {APPROVE: "approved", REJECT: "rejected", CANCEL: "cancelled"}
"""What a verdict leads to, if it is the one that counts."""


class Said(NamedTuple):
    """One vote: by whom, what became of the request, and how it was told that the action has ended, if it was."""

    verdict: str
    voter: str
    status: str
    told: str | None = None


@dataclass
class Case:
    """One parked write, and what voters were told. It stores the memory that has `mark`, or deletes `deletes`, a memory
    that has it. `needed` is how many approvals it takes."""

    id: str
    requester: str
    needed: int
    mark: str
    deletes: str | None = None
    said: list[Said] = field(default_factory=list)
    orphaned: bool = False
    """Whether most of the stores that decide about it are gone for good: it waits until an operator reopens it."""

    @property
    def ripe(self) -> bool:
        """Whether the votes that were acknowledged must end it."""
        if self.orphaned:
            return False
        acked = [each for each in self.said if each.status == ACKED]
        ended = any(each.verdict != APPROVE for each in acked)
        return ended or len({each.voter for each in acked}) >= self.needed

    @property
    def told(self) -> set[str]:
        """How callers were told that it has ended."""
        return {each.told for each in self.said if each.told is not None}

    @property
    def possible(self) -> set[str]:
        """All outcomes that the votes explain, those of unknown fate included. One that came too late was refused with
        the end that the action had, and may have been kept."""
        sent = [each for each in self.said if each.status != REFUSED or each.told is not None]
        approvers = {each.voter for each in sent if each.verdict == APPROVE}
        ends = {OUTCOMES[each.verdict] for each in sent if each.verdict != APPROVE}
        return ends | ({OUTCOMES[APPROVE]} if len(approvers) >= self.needed else set())


class Ledger:
    """All acts of one life of a mesh. Several threads may write to it.

    `same_lists`: every node has every other among its peers, so what is said to be ordered was computed on the newest.
    """

    def __init__(self, *, same_lists: bool) -> None:
        self.same_lists = same_lists
        self.timed = True
        """What is true of the clocks now."""
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.acts: list[Act] = []
        self.of: dict[Ref, list[Act]] = defaultdict(list)
        """The acts that touch a record, in the order in which they began."""
        self.marks: dict[str, Act] = {}
        self.purges: list[Act] = []
        self.cases: list[Case] = []

    def number(self) -> int:
        """A number that no other write has."""
        return next(self._numbers)

    def mark(self) -> str:
        """A text that no other write has."""
        return f"mark-{self.number()}-"

    def begin(self, kind: str, node: str, marks: Sequence[str] = ()) -> Act:
        """A request is about to be sent."""
        act = Act(kind, node, time.monotonic(), timed=self.timed, marks=marks)
        with self._lock:
            self.acts.append(act)
            self.marks.update(dict.fromkeys(marks, act))
            if kind == "purge":
                self.purges.append(act)
        return act

    def end(self, act: Act, status: str, effects: Sequence[Effect], *, ordered: bool = True) -> None:
        """What came of it. A refused act has no effects."""
        with self._lock:
            act.status, act.ended, act.ordered = status, time.monotonic(), ordered
            act.effects = effects if status != REFUSED else ()
            for effect in act.effects:
                if act not in self.of[effect.ref]:
                    self.of[effect.ref].append(act)
