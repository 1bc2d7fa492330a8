"""Callers of the control plane: they set and clear policies, register, send messages, subscribe, and decide.

What the rulers of one cycle share is a `Court`: two namespaces in which nothing happens without leave, and the writes
that wait for it. Each asks for writes there, and votes on those of the others, so that votes of all kinds meet on
different nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from chaoslib.caller import Body, Caller, mark_of, stored
from chaoslib.ledger import ACKED, APPROVE, CANCEL, GONE, LIVE, OUTCOMES, REJECT, Case, Effect, Ledger, Said
from chaoslib.node import Member, eventually

RULERS = 3
"""So many that two can vote on what the third asks for."""
_LAWS = 2
_LATEST = 3
"""On how many of the latest actions is voted: so few that votes meet."""
_IN_FORCE_SECS = 5.0
_LONG_SECS = 1_000_000
"""How long actions may wait under a policy, and some more: each policy has a number of its own by it."""


def inbox_of(agents: str) -> str:
    """The beginning of the namespaces that hold messages to agents whose names begin so."""
    return f"_messages/{agents}"


def agents_of(home: str) -> str:
    """The beginning of the names of all rulers of a mesh."""
    return f"ai:{home}-"


@dataclass
class Court:
    """See the module. It `sits` when all nodes hold its rules."""

    hall: str
    """Nothing is stored here without leave."""
    vault: str
    """Nothing is deleted here without leave."""
    approver: Any
    needed: int
    """How many approvals that is."""
    voters: Sequence[str]
    sits: bool = False
    parked: list[Case] = field(default_factory=list)

    @property
    def rules(self) -> dict[str, dict[str, Any]]:
        """The policies, by the namespace that each stands in."""
        free = {"write": "any", "promote": "any", "delete": "any", "approver": self.approver}
        return {self.hall: {**free, "write": "approve"}, self.vault: {**free, "delete": "approve"}}


class Ruler(Caller):
    """One of them. `sits` in a `Court`, and speaks for any of its voters."""

    def __init__(
        self, number: int, members: Mapping[str, Member], ledger: Ledger, home: str, seed: int, court: Court
    ) -> None:
        operations = {kind: partial(each, self) for kind, each in RULINGS.items()}
        super().__init__(f"r{number}", members, ledger, home, seed, operations, WEIGHTS)
        self.court = court
        self.agent = court.voters[number]
        self._text: str | None = None
        self._titles = 0
        self._unread: list[tuple[str, str]] = []
        self._subscriptions: list[str] = []

    # Rules.

    def rule(self) -> None:
        """Set the policy of a namespace of one's own."""
        self._set(self._law(), {"write": self.rand.choice(("any", "owner", "approve"))})

    def _set(self, space: str, policy: dict[str, Any]) -> None:
        secs = _LONG_SECS + self.ledger.number()
        mark = f"rule-{secs}"
        if self._text is None:
            self._text = self._stored(self.row("the text of all rules"))
            if self._text is None:
                return
        text = self._text
        effects = [Effect(("policy", space), LIVE, mark), Effect(("standard", space), LIVE, text)]
        raw = {"id": text, "governance": {**policy, "timeout_secs": secs}}
        path = _standard(space)
        self.send("rule", "POST", path, raw, lambda _: effects, marks=(mark,), doubted=effects, agent=self.agent)

    def repeal(self) -> None:
        space = self._law()
        effects = [Effect(("policy", space), GONE), Effect(("standard", space), GONE)]
        self._end("repeal", _standard(space), "cleared", effects)

    def _end(self, kind: str, path: str, done: str, effects: list[Effect]) -> None:
        """Delete something: the field `done` of a reply says whether it was there."""
        self.send(
            kind, "DELETE", path, None, lambda reply: effects if reply[done] else [], doubted=effects, agent=self.agent
        )

    def _law(self) -> str:
        return f"{self.space}/law{self.rand.randrange(_LAWS)}"

    # Who takes part, and what they tell each other.

    def register(self) -> None:
        mark = self.ledger.mark()
        ref = ("agent", self.agent)
        raw = {"agent_id": self.agent, "agent_type": "human", "capabilities": [mark]}
        self.send(
            "register",
            "POST",
            "/agents",
            raw,
            lambda reply: [Effect(ref, LIVE, mark, reply["version"])],
            marks=(mark,),
            doubted=[Effect(ref, LIVE, mark)],
        )

    def notify(self) -> None:
        recipient, mark = self.rand.choice(self.court.voters), self.ledger.mark()
        raw = {"target_agent_id": recipient, "title": "news", "payload": f"{mark} all is well"}
        reply = self.send("notify", "POST", "/notify", raw, stored(mark), marks=(mark,), agent=self.agent).acked
        if reply is not None:
            self._unread.append((reply["id"], recipient))

    def read(self) -> None:
        """Mark a message as read."""
        if not self._unread:
            return self.notify()
        message, recipient = self._unread.pop()
        effects = [Effect(("read_mark", f"{message}/{recipient}"), LIVE)]
        self.send("read", "POST", f"/inbox/{message}/read", None, lambda _: effects, doubted=effects, agent=recipient)
        return None

    def subscribe(self) -> None:
        """To what happens where nothing does."""
        raw = {"namespace": f"{self.space}/quiet", "events": "memory_store"}
        reply = self.send(
            "subscribe",
            "POST",
            "/subscriptions",
            raw,
            lambda reply: [Effect(("subscription", reply["id"]), LIVE)],
            agent=self.agent,
        ).acked
        if reply is not None:
            self._subscriptions.append(reply["id"])

    def unsubscribe(self) -> None:
        if not self._subscriptions:
            return self.subscribe()
        named = self._subscriptions.pop()
        self._end("unsubscribe", f"/subscriptions/{named}", "removed", [Effect(("subscription", named), GONE)])
        return None

    # Writes that wait for leave.

    def park(self) -> None:
        """Ask for a write that needs leave: to store something, or to delete something."""
        if not self.court.sits:
            return self.notify()
        self._titles += 1
        row = self.row(f"{self.name} {self._titles}", self.court.hall)
        if self.rand.random() < 0.6:
            self._park("park store", "POST", "/memories", row, mark_of(row), None)
        elif (held := self._stored({**row, "namespace": self.court.vault}, judged=False)) is not None:
            self._park("park delete", "DELETE", f"/memories/{held}", None, mark_of(row), held)
        return None

    def _park(self, kind: str, method: str, path: str, raw: Body | None, mark: str, deletes: str | None) -> None:
        def effects(reply: Body) -> list[Effect]:
            return [Effect(("pending", reply["pending_id"]), LIVE)] if "pending_id" in reply else []

        marks = () if raw is None else (mark,)
        act, reply = self.send(kind, method, path, raw, effects, marks=marks, agent=self.agent)
        if act.status != ACKED:
            return
        if "pending_id" in reply:
            case = Case(reply["pending_id"], self.agent, self.court.needed, mark, deletes)
            self.ledger.cases.append(case)
            self.court.parked.append(case)
        elif act.ordered:
            self.wrong.append(
                f"{method} {path} at {act.node}: done without the leave that the policy asks for: {reply}"
            )

    def vote(self) -> None:
        """Vote on one of the latest parked writes, also when that has ended: a node that was cut off may not know.

        Now and then as the requester, who has no vote."""
        if not self.court.parked:
            return self.park()
        case = self.rand.choice(self.court.parked[-_LATEST:])
        (verdict,) = self.rand.choices((APPROVE, REJECT, CANCEL), (8, 2, 1))
        others = [voter for voter in self.court.voters if voter != case.requester]
        own = verdict == CANCEL or self.rand.random() < 0.1
        voter = case.requester if own else self.rand.choice(others)
        effects = [Effect(("vote", f"{case.id}/{voter}/{verdict}"), LIVE)]
        path = f"/pending/{case.id}/{verdict}"
        act, reply = self.send(verdict, "POST", path, {}, lambda _: effects, doubted=effects, agent=voter)
        if own and verdict != CANCEL:
            if act.status == ACKED:
                self.wrong.append(f"{path} at {act.node}: the requester was let decide: {reply}")
            return None
        ended = OUTCOMES[verdict] if reply.get(OUTCOMES[verdict]) is True else reply.get("outcome")
        case.said.append(Said(verdict, voter, act.status, None if ended == "pending" else ended))
        return None

    def _stored(self, row: Body, *, judged: bool = True) -> str | None:
        """Store a memory: its id. One that is not `judged` is looked after by the case that it is part of."""
        reply = self.store(row, None if judged else lambda _: [], self.agent)
        return None if reply is None else str(reply["id"])

    def set_rules(self) -> None:
        """Set the policies of the court."""
        for space, policy in self.court.rules.items():
            self._set(space, policy)


def convene(members: Mapping[str, Member], ledger: Ledger, home: str, space: str, seed: int) -> list[Ruler]:
    """The rulers of a cycle, registered, under rules that all nodes hold, if that can be."""
    voters = [f"{agents_of(home)}{space.rpartition('/')[2]}-{number}" for number in range(RULERS)]
    approver, needed = (("human", 1), ({"consensus": 2}, 2), ({"consensus": 2}, 2))[seed % 3]
    court = Court(f"{space}/hall", f"{space}/vault", approver, needed, voters)
    rulers = [Ruler(number, members, ledger, space, seed, court) for number in range(RULERS)]
    for ruler in rulers:
        ruler.register()
    rulers[0].set_rules()
    court.sits = eventually(lambda: all(_holds(member, court) for member in members.values()), _IN_FORCE_SECS)
    return rulers


def _holds(member: Member, court: Court) -> bool:
    """Whether a node holds the rules of a court. Raises OSError: it does not say."""
    shown = {space: member.get(_standard(space)).get("governance") or {} for space in court.rules}
    return all(policy.items() <= shown[space].items() for space, policy in court.rules.items())


def _standard(space: str) -> str:
    return f"/namespaces/{quote(space, safe='')}/standard"


RULINGS: dict[str, Callable[[Ruler], None]] = {
    "rule": Ruler.rule,
    "repeal": Ruler.repeal,
    "register": Ruler.register,
    "notify": Ruler.notify,
    "read": Ruler.read,
    "subscribe": Ruler.subscribe,
    "unsubscribe": Ruler.unsubscribe,
    "park": Ruler.park,
    "vote": Ruler.vote,
}
"""Every kind of operation of the control plane, by name."""
WEIGHTS = {"rule": 2.0, "park": 7.0, "vote": 12.0}
"""How often each is drawn, where that is not 1."""
