"""A caller who works while things break: a thread that sends one request after the other, each to any node.

What it asks for and is told goes into the ledger. Which operations there are, and how often each is drawn, is said by
the kinds of callers: `writers` and `rulers`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from chaoslib.client import AGENT, Client
from chaoslib.ledger import ACKED, LIVE, REFUSED, UNKNOWN, Act, Effect, Ledger, Ref
from chaoslib.node import Member

_PAUSE_SECS = 0.04  # leaves the machine room for the nodes, which may have to start meanwhile
_AVOIDED_SECS = 0.5

Body = dict[str, Any]
Effects = Callable[[Body], "list[Effect] | None"]
"""What a reply tells of its effects; None where it tells that not all was done, and not what."""


class Answer(NamedTuple):
    """What came of a request, and the last reply to it."""

    act: Act
    reply: Body

    @property
    def acked(self) -> Body | None:
        """The reply, if it acknowledged."""
        return self.reply if self.act.status == ACKED else None


class Caller(threading.Thread):
    """One caller. `home` is the beginning of the namespaces that it writes to; what its `name` has is its own.
    `operations` are all that it does, by kind; `weights` says how often a kind is drawn, where that is not 1."""

    def __init__(
        self,
        name: str,
        members: Mapping[str, Member],
        ledger: Ledger,
        home: str,
        seed: int,
        operations: Mapping[str, Callable[[], None]],
        weights: Mapping[str, float],
    ) -> None:
        super().__init__(name=name)
        self.members = members
        self.ledger = ledger
        self.home = home
        self.space = f"{home}/{name}"
        self.rand = random.Random(f"{seed}/{name}")
        self._operations = list(operations.values())
        self._weights = [weights.get(kind, 1.0) for kind in operations]
        self._clients: dict[str, Client] = {}
        self._avoid: dict[str, float] = {}
        self._going = threading.Event()
        self.wrong: list[str] = []
        """Replies that no caller should ever get."""

    def run(self) -> None:
        try:
            while not self._going.is_set():
                (operate,) = self.rand.choices(self._operations, self._weights)
                operate()
                self._going.wait(_PAUSE_SECS)
        except Exception as error:  # a caller that is gone would find nothing wrong any more
            self.wrong.append(f"{self.name} gave up, over a reply that is not as it should be: {error!r}")
            raise
        finally:
            for client in self._clients.values():
                client.close()

    def finish(self) -> None:
        """Send nothing after the request that is under way."""
        self._going.set()

    def send(
        self,
        kind: str,
        method: str,
        path: str,
        body: object,
        effects: Effects,
        *,
        marks: tuple[str, ...] = (),
        doubted: Sequence[Effect] = (),
        agent: str = AGENT,
    ) -> Answer:
        """Send one request, and half of those whose outcome is not known once more, to any node with the same key.

        `effects` are what an acknowledging reply tells, `doubted` what a request without one may have done.
        """
        key = f"{self.space}-{self.ledger.mark()}" if self.rand.random() < 0.5 else None
        act = self.ledger.begin(kind, self._choose(), marks)
        status, reply = self._once(act.node, method, path, body, key, agent)
        if status == UNKNOWN and key is not None and self.rand.random() < 0.5:
            act.node, act.repeated = self._choose(), True
            again, reply = self._once(act.node, method, path, body, key, agent)
            status = ACKED if again == ACKED else UNKNOWN
        told = effects(reply) if status == ACKED else None
        if told is not None:
            act.acks = int(reply.get("quorum_acks", 0))
            ordered = reply.get("ordered", True) is not False and not act.repeated  # the first try may not have been
            self.ledger.end(act, ACKED, told, ordered=ordered)
            if act.repeated:  # the first try may have done, and may yet bring, what the second could not
                self._doubt(act, {effect.ref for effect in told}, doubted)
        else:
            self.ledger.end(act, UNKNOWN if status == ACKED else status, doubted, ordered=False)
        return Answer(act, reply)

    def _doubt(self, act: Act, told: set[Ref], doubted: Sequence[Effect]) -> None:
        left = [effect for effect in doubted if effect.ref not in told]
        if left:
            self.ledger.end(self.ledger.begin(act.kind, act.node), UNKNOWN, left, ordered=False)

    def _choose(self) -> str:
        now = time.monotonic()
        well = [name for name in self.members if self._avoid.get(name, 0.0) < now]
        return self.rand.choice(well or list(self.members))

    def _once(self, node: str, method: str, path: str, body: object, key: str | None, agent: str) -> tuple[str, Body]:
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = self.members[node].client(timeout=2.5)
        try:
            status, reply = client.call(method, path, body, key, agent)
        except ConnectionRefusedError:
            self._avoid[node] = time.monotonic() + 0.1
            return REFUSED, {}
        except OSError:
            self._avoid[node] = time.monotonic() + _AVOIDED_SECS
            return UNKNOWN, {}
        if status < 300:
            return ACKED, reply
        if status >= 500 and status not in (503, 507):
            self.wrong.append(f"{method} {path} at {node}: {status} {reply}")
        if status == 503 and reply.get("code") != "quorum_not_met":
            self._avoid[node] = time.monotonic() + 0.1
            return REFUSED, reply
        return (UNKNOWN if status in (503, 507) else REFUSED), reply

    def store(self, row: Body, effects: Effects | None = None, agent: str = AGENT) -> Body | None:
        """Store a memory, with the effects that this has where no others are said: the reply, if it acknowledged."""
        mark = mark_of(row)
        return self.send("create", "POST", "/memories", row, effects or stored(mark), marks=(mark,), agent=agent).acked

    def row(self, title: str, space: str | None = None) -> Body:
        """A memory that nobody else writes."""
        return {
            "namespace": space or self.space,
            "title": title,
            "content": f"{self.ledger.mark()} by {self.name}",
            "tier": self.rand.choice(("mid", "long")),
            "tags": [self.rand.choice(("one", "two"))],
        }


def mark_of(row: Body) -> str:
    """The text of a memory that only this write of it has."""
    return str(row["content"]).partition(" ")[0]


def stored(mark: str) -> Effects:
    """What a reply tells that a memory was stored."""
    return lambda reply: [Effect(("memory", reply["id"]), LIVE, mark, reply["version"])]
