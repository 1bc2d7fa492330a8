"""How long callers wait for an agent, for all that has a say in a namespace, and for the queue of a rack."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from urllib.parse import quote

from benchlib import governed
from benchlib.figures import Figure
from benchlib.governed import RACKS, Size
from benchlib.load import request
from benchlib.node import Node
from benchlib.rows import Subject


def measure(size: Size, seconds: float) -> Iterator[Figure]:
    """A figure for each, one client that asks for another one every time."""
    chance = random.Random(1)
    with Node("--tier", "keyword", copy_of=governed.ruled(size)) as node:
        yield _asked("agent", node, size.agents, seconds, lambda: _agent(size, chance))
        yield _asked("chain", node, size.namespaces, seconds, lambda: _chain(size, chance))
        yield _asked("explain", node, size.namespaces, seconds, lambda: _explain(size, chance))
    with Node("--tier", "keyword", copy_of=governed.waiting(size)) as node:
        yield _asked("queue", node, size.parked, seconds, lambda: _queue(size, chance))


def _asked(row: str, node: Node, rows: int, seconds: float, asking: Callable[[], tuple[str, str]]) -> Figure:
    """A load of such requests, each a path and who asks; the reply of the first is looked at."""
    path, _ = asking()
    found = node.call("GET", path)
    if not found.get("count", len(found)):
        raise SystemExit(f"GET {path} found nothing: {found}")

    def following() -> bytes:
        path, agent = asking()
        return request("GET", f"/api/v1{path}", headers=f"X-Agent-Id: {agent}\r\n")

    return Subject(node, rows, "keyword", seconds).reading(row, 1, following)


def _agent(size: Size, chance: random.Random) -> tuple[str, str]:
    agent = size.agent(chance.randrange(size.agents))
    return f"/agents?agent_id={agent}", agent


def _chain(size: Size, chance: random.Random) -> tuple[str, str]:
    """With the rule texts that stand there."""
    namespace = quote(size.namespace(chance.randrange(size.namespaces)), safe="")
    return f"/namespaces/{namespace}/standard?inherit=true", size.agent(0)


def _explain(size: Size, chance: random.Random) -> tuple[str, str]:
    """What an agent may do in a namespace."""
    namespace = quote(size.namespace(chance.randrange(size.namespaces)), safe="")
    agent = size.agent(chance.randrange(size.agents))
    return f"/policy/explain?namespace={namespace}&agent_id={agent}", agent


def _queue(size: Size, chance: random.Random) -> tuple[str, str]:
    """A page of it, as its approvers see it."""
    rack = f"rack-{chance.randrange(min(RACKS, size.policies)):02}"
    return f"/pending?status=pending&namespace={quote(rack)}/**", f"{rack}/approvers"
