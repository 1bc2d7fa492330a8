"""Stores with a control plane to measure on: namespaces under policies, agents, parked actions. Made once and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchlib import prepared
from benchlib.load import drive, request
from benchlib.node import Node
from benchlib.texts import Texts

RACKS = 100  # that the teams, which have the policies, are spread over
_CLIENTS = 64


@dataclass(frozen=True)
class Size:
    """How much there is of everything. Each policy stands over as many of the namespaces as each other."""

    namespaces: int = 10_000
    policies: int = 1_000
    agents: int = 10_000
    parked: int = 100_000
    nodes: int = 25
    sets: int = 100
    decisions: int = 200

    def team(self, number: int) -> str:
        """The namespace in which the policy of this number stands."""
        return f"rack-{number % RACKS:02}/team-{number // RACKS}"

    def namespace(self, number: int) -> str:
        """A namespace, by number: one that belongs to a team."""
        number %= self.namespaces
        return f"{self.team(number % self.policies)}/project-{number // self.policies}"

    def agent(self, number: int) -> str:
        """A registered agent, by number."""
        return f"ai:agent-{number % self.agents}"


FULL = Size()
SMALL = Size(namespaces=200, policies=20, agents=50, parked=300, nodes=3, sets=5, decisions=5)


def free(size: Size) -> Path:
    """A store whose namespaces are under no policy. No agent is registered."""
    return prepared.once(f"free-{size.namespaces}", lambda target: _made(target, size))


def ruled(size: Size) -> Path:
    """One whose namespaces all are under a policy that lets registered agents write, and the agents."""
    name = f"ruled-{size.namespaces}-{size.policies}-{size.agents}"
    policy = {"write": "registered", "promote": "any", "delete": "owner"}
    return prepared.once(name, lambda target: _made(target, size, policy, _agents(size)))


def waiting(size: Size) -> Path:
    """One in whose namespaces every write waits for the approvers of the rack, and writes that wait."""
    name = f"waiting-{size.namespaces}-{size.policies}-{size.parked}"
    policy = {"write": "approve"}
    return prepared.once(name, lambda target: _made(target, size, policy, stores(size, 2, range(size.parked))))


def memory(size: Size, texts: Texts, number: int, seed: int) -> dict[str, object]:
    """A memory of its own title in one of the namespaces."""
    title, namespace = f"note {seed} {number}", size.namespace(number)
    return {"title": title, "content": texts.content(), "namespace": namespace, "tier": "long"}


def store(size: Size, texts: Texts, number: int, seed: int) -> bytes:
    """The request of a registered agent that stores such a memory."""
    return post("/memories", memory(size, texts, number, seed), size.agent(number))


def stores(size: Size, seed: int, numbers: Iterable[int]) -> Iterator[bytes]:
    """Such requests."""
    texts = Texts(seed)
    return (store(size, texts, number, seed) for number in numbers)


def post(path: str, body: dict[str, Any], agent: str) -> bytes:
    """A request of an agent that sends JSON."""
    return request("POST", f"/api/v1{path}", json.dumps(body).encode(), f"X-Agent-Id: {agent}\r\n")


def _made(target: Path, size: Size, policy: dict[str, Any] | None = None, then: Iterable[bytes] = ()) -> None:
    with Node("--tier", "keyword") as node:
        _send(node, stores(size, 1, range(size.namespaces)))
        if policy is not None:
            _send(node, _policies(size, policy))
        _send(node, then)
        node.stop()
        shutil.copyfile(node.database, target)


def _send(node: Node, requests: Iterable[bytes]) -> None:
    following = iter(requests)
    outcome = drive(node.port, _CLIENTS, lambda: next(following, None))
    if outcome.errors():
        raise SystemExit(f"a store could not be made: {dict(outcome.statuses)}")


def _policies(size: Size, policy: dict[str, Any]) -> Iterator[bytes]:
    for number in range(size.policies):
        team = size.team(number)
        told = {**policy, "approver": {"agent": f"{team.partition('/')[0]}/approvers"}}
        yield post(f"/namespaces/{quote(team, safe='')}/standard", {"governance": told}, "human:ops")


def _agents(size: Size) -> Iterator[bytes]:
    for number in range(size.agents):
        yield post("/agents", {"agent_id": size.agent(number), "agent_type": "ai:worker"}, "human:ops")
