"""Callers who rule and decide: policies, parked actions and votes about them, agents, messages.

The rules stand in namespaces of their own, below `gov`; what callers of other kinds do there is judged as well.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from aimem.node.caller import Caller
from aimem.node.node import Node

NAMESPACES = ("gov", "gov/deep")
VERDICTS = ("approve", "reject", "cancel", "reopen")
VOTERS = ("ai:c0", "ai:c1", "ai:c2")
"""Callers of other requests too, whose own actions they may not decide about."""
BOSS = "ai:boss"
"""Who sets the rules, and so owns them."""

Request = Callable[[Node, Caller], Coroutine[Any, Any, Any]]
Named = tuple[str, Request, None]
"""A request: what it is called, how it is sent, and no memory that it is about."""


class Governing:
    """Makes requests."""

    def __init__(self, rand: random.Random) -> None:
        self._rand = rand
        self._parked: list[tuple[str, str]] = []
        self._number = 0

    def learn(self, pending_id: str, requester: str) -> None:
        """Some write was parked."""
        if (pending_id, requester) not in self._parked:
            self._parked.append((pending_id, requester))

    def beginning(self) -> list[Named]:
        """What is said before anything else: a rule, and who may vote."""
        return [self._rule(NAMESPACES[0], "approve"), *(self._register(each) for each in VOTERS)]

    def request(self) -> Named:
        """One request."""
        makers: list[tuple[int, Callable[[], Named]]] = [
            (6, self._park),
            (1, self._set),
            (1, self._clear),
            (1, lambda: self._register(self._voter())),
            (1, self._notify),
            (1, self._listed),
        ]
        if self._parked:
            makers += [(12, self._approve), (1, self._reject), (1, self._cancel)]
        (maker,) = self._rand.choices([make for _, make in makers], [weight for weight, _ in makers])
        return maker()

    # Rules.

    def _set(self) -> Named:
        return self._rule(
            self._rand.choice(NAMESPACES), self._rand.choice(("approve", "approve", "approve", "owner", "any"))
        )

    def _rule(self, namespace: str, write: str) -> Named:
        rand = self._rand
        approvers = ("human", {"agent": "ai:c0"}, {"consensus": 1}, {"consensus": 2}, {"consensus": 2})
        governance: dict[str, Any] = {
            "write": write,
            "delete": rand.choice(("any", "owner", "approve", "registered")),
            "approver": rand.choice(approvers),
        }
        if rand.random() < 0.25:
            governance["timeout_secs"] = rand.randint(2, 40)
        raw = {"namespace": namespace, "governance": governance}
        return "set policy", self._as(BOSS, lambda node, caller: node.set_standard(raw, caller)), None

    def _clear(self) -> Named:
        namespace = self._rand.choice(NAMESPACES)
        return "clear policy", self._as(BOSS, lambda node, caller: node.clear_standard(namespace, caller)), None

    def _as(self, agent: str, request: Request) -> Request:
        """The request of an agent, mostly: now and then of whoever calls."""
        if self._rand.random() < 0.1:
            return request
        return lambda node, caller: request(node, replace(caller, agent_id=agent))

    # Actions.

    def _park(self) -> Named:
        self._number += 1
        row = {
            "title": f"p{self._rand.randrange(4)}",
            "content": f"parked {self._number}",
            "namespace": self._rand.choice(NAMESPACES),
        }
        return "create", lambda node, caller: node.create(row, caller), None

    def _approve(self) -> Named:
        pending_id, _ = self._latest()
        return "approve", self._as(self._voter(), lambda node, caller: node.approve(pending_id, caller)), None

    def _reject(self) -> Named:
        pending_id, _ = self._latest()
        return "reject", self._as(self._voter(), lambda node, caller: node.reject(pending_id, caller)), None

    def _cancel(self) -> Named:
        pending_id, requester = self._latest()
        return "cancel", self._as(requester, lambda node, caller: node.cancel(pending_id, caller)), None

    def _latest(self) -> tuple[str, str]:
        """One of the last actions, which may be open still."""
        return self._rand.choice(self._parked[-3:])

    def _voter(self) -> str:
        return self._rand.choice(VOTERS)

    def _listed(self) -> Named:
        return "list pending", lambda node, caller: node.pending({"limit": "20"}, caller), None

    # Agents and messages.

    def _register(self, agent: str) -> Named:
        raw = {"agent_id": agent, "agent_type": self._rand.choice(("human", "ai:sim"))}
        return "register", lambda node, caller: node.register_agent(raw, caller), None

    def _notify(self) -> Named:
        raw = {"target_agent_id": self._voter(), "title": "news", "payload": "all is well"}
        return "notify", lambda node, caller: node.notify(raw, caller), None
