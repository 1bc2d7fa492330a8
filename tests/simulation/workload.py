"""Callers: each sends requests of every kind to any node, with and without idempotency keys and named versions.

They work on few keys, so that they meet; what a caller knows of ids and versions is what some reply told it. One whose
keyed request failed may repeat it, there or on another node.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aimem.core.writes import Answer
from aimem.errors import AimemError
from aimem.node.caller import Caller
from aimem.node.node import Node
from tests.simulation.governing import VERDICTS, Governing
from tests.simulation.ledger import ACTING, Act
from tests.simulation.scenario import Scenario
from tests.simulation.world import World, caller

_NAMESPACES = ("red", "blue")
_WORDS = ("oak", "elm", "ash", "fir", "yew", "bay")
_TIERS = ("short", "mid", "long")
_RELATIONS = ("related_to", "supersedes")

Request = Callable[[Node, Caller], Coroutine[Any, Any, Any]]


@dataclass
class Known:
    """What callers have learned from replies: ids, those in the archive, and the version that each was last seen in."""

    ids: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def learn(self, body: dict[str, Any]) -> None:
        """A reply tells of ids and versions."""
        told = [body, *body.get("results", ())]
        for each in told:
            if isinstance(memory_id := each.get("id"), str):
                if memory_id not in self.ids:
                    self.ids.append(memory_id)
                if isinstance(version := each.get("version"), str):
                    self.versions[memory_id] = version
        if isinstance(archived := body.get("archived"), list):
            self.archived += archived


class Workload:
    """All callers of one run."""

    def __init__(self, world: World, plan: Scenario, rand: random.Random) -> None:
        self._world = world
        self._plan = plan
        self._rand = rand
        self._known = Known()
        self._left = plan.requests
        self._number = 0
        self._governing = Governing(rand)
        self.unmet: list[tuple[Request, str, Caller]] = []
        """Keyed requests that were never told done."""

    async def begin(self) -> None:
        """Say the rules, where there are any."""
        for what, request, _ in self._governing.beginning() if self._plan.governed else ():
            await self.send(what, self._rand.choice(self._world.up), request, caller())

    async def run(self) -> None:
        """Send all requests."""
        await asyncio.gather(*(self._caller(number) for number in range(self._plan.callers)))

    async def _caller(self, number: int) -> None:
        home = self._rand.choice(list(self._world.members))
        while self._left > 0:
            self._left -= 1
            if not self._plan.rush:
                await asyncio.sleep(self._rand.expovariate(1 / self._plan.pause))
            nodes = self._world.up
            if nodes:
                node = home if home in nodes and self._rand.random() < 0.6 else self._rand.choice(nodes)
                await self._one(number, node)

    async def _one(self, number: int, node: str) -> None:
        self._number += 1
        what, request, target = self._request()
        named = self._known.versions.get(target) if target is not None and self._rand.random() < 0.4 else None
        keyed = self._rand.random() < 0.4
        caller = Caller(
            f"ai:c{number}",
            f"r{self._number}",
            f"k{self._number}" if keyed else None,
            named if what in ("update", "delete", "promote") else None,
        )
        done = await self.send(what, node, request, caller)
        for _ in range(2 if keyed else 0):
            if done and self._rand.random() < 0.7:
                return
            await asyncio.sleep(self._rand.random())
            nodes = self._world.up
            if nodes and await self.send(f"{what} again", self._rand.choice(nodes), request, caller):
                done = True
        if keyed and not done:
            self.unmet.append((request, what, caller))

    async def send(self, what: str, node: str, request: Request, caller: Caller) -> bool:
        """One request, as its caller sees it: whether it was told to be done."""
        world = self._world
        member = world.members[node]
        act = Act(what, node, asyncio.get_running_loop().time(), caller.expected_version, caller.agent_id)
        world.ledger.acts.append(act)

        async def call() -> Any:
            ACTING.set(act)
            return await request(world.call(node), caller)

        task = asyncio.ensure_future(call())
        member.calls.add(task)
        try:
            answer = await task
        except asyncio.CancelledError:
            return False  # the node went down: nobody knows what came of it
        except AimemError as error:
            if member.node is not None:
                world.ledger.refused(act, error)
            return error.status not in (503,)
        except Exception as error:
            world.ledger.breaks(f"{what} at {node} raised {error!r}")
            return False
        finally:
            member.calls.discard(task)
        body = answer.body if isinstance(answer, Answer) else answer
        if isinstance(answer, Answer) and answer.status < 300:
            world.ledger.replied(act, body)
        if "pending_id" in body:
            self._governing.learn(body["pending_id"], caller.agent_id or "")
        self._known.learn({"id": body.get("memory_id")} if what.split()[0] in VERDICTS else body)
        return True

    # Requests.

    def _request(self) -> tuple[str, Request, str | None]:
        """What is asked for: its name, how it is sent, and the memory that it is about."""
        known, rand = self._known, self._rand
        if self._plan.governed and rand.random() < 0.6:
            return self._governing.request()
        if self._plan.rush or not known.ids or rand.random() < 0.3:
            return self._create()
        target = rand.choice(known.ids)
        makers = (
            (6, self._update),
            (3, self._delete),
            (1, self._promote),
            (1, self._bulk),
            (2, self._link),
            (1, self._forget),
            (1, self._consolidate),
            (2, self._archive),
            (2, self._restore),
            (1, self._purge),
            (1, self._import),
            (3, self._recall),
            (1, self._gc),
        )
        (maker,) = rand.choices([make for _, make in makers], [weight for weight, _ in makers])
        return maker(target)

    def _title(self) -> str:
        return f"t{self._rand.randrange(self._plan.keys)}"

    def _row(self) -> dict[str, Any]:
        rand = self._rand
        row: dict[str, Any] = {
            "title": self._title(),
            "namespace": _NAMESPACES[0] if self._plan.rush else rand.choice(_NAMESPACES),
            "content": f"{rand.choice(_WORDS)} {rand.choice(_WORDS)} {self._number}",
            "tier": rand.choice(_TIERS),
        }
        if rand.random() < 0.3:
            row["ttl_secs"] = rand.randint(1, 120)
        if rand.random() < 0.3:
            row["tags"] = [rand.choice(_WORDS)]
        return row

    def _create(self) -> tuple[str, Request, None]:
        row = self._row()
        if not self._plan.rush and self._rand.random() < 0.3:
            row["on_conflict"] = self._rand.choice(("merge", "error", "version"))
        return "create", lambda node, caller: node.create(row, caller), None

    def _update(self, target: str) -> tuple[str, Request, str]:
        rand = self._rand
        changes = rand.choice(
            (
                {"content": f"{rand.choice(_WORDS)} {self._number}"},
                {"content": f"{rand.choice(_WORDS)} {self._number}"},
                {"tier": rand.choice(_TIERS)},
                {"title": self._title()},
                {"namespace": rand.choice(_NAMESPACES)},
                {"priority": rand.randint(1, 10)},
                {"tags": [rand.choice(_WORDS)]},
                {"expires_at": ""},
            )
        )
        return "update", lambda node, caller: node.update(target, changes, caller), target

    def _delete(self, target: str) -> tuple[str, Request, str]:
        return "delete", lambda node, caller: node.delete(target, None, caller), target

    def _promote(self, target: str) -> tuple[str, Request, str]:
        return "promote", lambda node, caller: node.promote(target, caller), target

    def _bulk(self, target: str) -> tuple[str, Request, None]:
        rows = [self._row() for _ in range(self._rand.randint(2, 4))]
        return "bulk", lambda node, caller: node.bulk(rows, caller), None

    def _link(self, target: str) -> tuple[str, Request, None]:
        other = self._rand.choice(self._known.ids)
        raw = {"source_id": target, "target_id": other, "relation": self._rand.choice(_RELATIONS)}
        if other == target:
            return self._create()
        name = self._rand.choice(("link", "link", "unlink", "invalidate_link"))
        return name, lambda node, caller: getattr(node, name)(raw, caller), None

    def _forget(self, target: str) -> tuple[str, Request, None]:
        params = {"namespace": self._rand.choice(_NAMESPACES), "pattern": self._rand.choice(_WORDS)}
        return "forget", lambda node, caller: node.forget(params, caller), None

    def _consolidate(self, target: str) -> tuple[str, Request, None]:
        ids = sorted({target, *self._rand.sample(self._known.ids, min(2, len(self._known.ids)))})
        if len(ids) < 2:
            return self._create()
        raw = {"ids": ids, "title": self._title(), "summary": f"sum {self._number}", "namespace": "red"}
        return "consolidate", lambda node, caller: node.consolidate(raw, caller), None

    def _archive(self, target: str) -> tuple[str, Request, None]:
        return "archive", lambda node, caller: node.archive({"ids": [target]}, caller), None

    def _restore(self, target: str) -> tuple[str, Request, None]:
        which = self._rand.choice(self._known.archived or [target])
        return "restore", lambda node, caller: node.restore(which, caller), None

    def _purge(self, target: str) -> tuple[str, Request, None]:
        return "purge", lambda node, caller: node.purge({}, caller), None

    def _import(self, target: str) -> tuple[str, Request, None]:
        row = {name: value for name, value in self._row().items() if name != "ttl_secs"}
        if self._rand.random() < 0.5:
            row["id"] = self._rand.choice((target, f"old-{self._rand.randrange(4)}"))
        return "import", lambda node, caller: node.import_object({"memories": [row], "links": []}, caller), None

    def _recall(self, target: str) -> tuple[str, Request, None]:
        question = {"context": " ".join(self._rand.sample(_WORDS, 3))}
        return "recall", lambda node, caller: node.recall(question, caller), None

    def _gc(self, target: str) -> tuple[str, Request, None]:
        return "gc", lambda node, caller: node.gc(caller), None
