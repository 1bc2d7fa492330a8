"""What only nodes that share a store do: write the same keys at the same time, and hear of each other's changes."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchlib.figures import Figure, of_load
from benchlib.load import Outcome, drive, for_seconds, request
from benchlib.node import Node
from benchlib.stores import cpu_of_children
from benchlib.texts import Texts

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

NODES = 8
_KEYS = 1_000
_CLIENTS = 64  # of each node: as many as one has by itself, so that its batches are as large
_REQUESTS = 20_000
_WARM_SECS = 1.0
_WAIT_SECS = 60.0


def contended(server: PostgresServer, url: str, rows: int, seconds: float, nodes: int = NODES) -> Iterator[Figure]:
    """Stores over the same keys through one node, then through so many: CPU of nodes and server for each."""
    texts = Texts(7)
    made = [_store(number % _KEYS, texts.content()) for number in range(_REQUESTS)]
    one = None
    for row, count in (("one-node", 1), ("eight-nodes", nodes)):
        with ExitStack() as stack:
            opened = [stack.enter_context(Node("--tier", "keyword", store_url=url)) for _ in range(count)]
            ports = [node.port for node in opened]

            def cpu() -> tuple[float, float]:
                return sum(node.cpu_seconds() for node in opened), cpu_of_children(server.data)  # noqa: B023

            drive(ports, _CLIENTS * count, for_seconds(_WARM_SECS, lambda: random.choice(made)))
            broken = _deadlocks(server)
            before = cpu()
            outcome = drive(ports, _CLIENTS * count, for_seconds(seconds, lambda: random.choice(made)))
            of_nodes, of_server = (after - then for after, then in zip(cpu(), before, strict=True))
        values = of_load(outcome, of_nodes)
        values["server_cpu_us"] = of_server / values["requests"] * 1e6
        values["write_cpu_us"] = values["node_cpu_us"] + values["server_cpu_us"]
        values["deadlocks"] = _deadlocks(server) - broken
        values |= {"nodes": count, "keys": _KEYS}
        one = one or values["write_cpu_us"]
        values["cost_ratio"] = values["write_cpu_us"] / one
        yield Figure(f"postgres-{row}", rows, "keyword", _CLIENTS * count, outcome.errors(), values=values)


def _store(key: int, content: str) -> bytes:
    body = {"title": f"the same {key}", "content": content, "namespace": "contended"}
    return request("POST", "/api/v1/memories", json.dumps(body).encode())


def _deadlocks(server: PostgresServer) -> int:
    time.sleep(1.0)  # a session tells what it counted once a second
    return int(server.sql("SELECT coalesce(sum(deadlocks), 0) FROM pg_stat_database")[0][0])


def staleness(url: str, rows: int, changes: int) -> Iterator[Figure]:
    """Changes made on one node: the time from the reply until the other one goes by them. It is asked again and again,
    so an answer comes on top."""
    with Node("--tier", "keyword", store_url=url) as one, Node("--tier", "keyword", store_url=url) as other:
        callers = _Caller(one), _Caller(other)
        for row, change in (("policy", _policy), ("agent", _agent)):
            outcome = Outcome()
            for number in range(changes):
                at, beside = callers if number % 2 else callers[::-1]
                status, seen = change(at, beside, f"{row}-{number}")
                replied = time.perf_counter()
                while not seen():
                    if time.perf_counter() - replied > _WAIT_SECS:
                        raise SystemExit(f"{row}: a change is not known to the other node after {_WAIT_SECS:g} s")
                outcome.latencies.append(time.perf_counter() - replied)
                outcome.statuses[status] += 1
            values = {f"p{share}_ms": outcome.percentile(share / 100) for share in (50, 99)}
            values |= {"max_ms": max(outcome.latencies) * 1_000, "changes": changes}
            yield Figure(f"postgres-stale-{row}", rows, "keyword", 1, outcome.errors(), values=values)
        for caller in callers:
            caller.close()


def _policy(at: _Caller, beside: _Caller, name: str) -> tuple[int, Callable[[], bool]]:
    """A policy is set; the other node has it in force."""
    status, _ = at.call("POST", "/namespaces", {"namespace": name, "governance": {"write": "registered"}})

    def seen() -> bool:
        return (beside.call("GET", f"/policy/explain?namespace={name}")[1]["in_force"] or {}).get("at") == name

    return status, seen


def _agent(at: _Caller, beside: _Caller, name: str) -> tuple[int, Callable[[], bool]]:
    """An agent is registered; the other node lets it write where only those may."""
    agent, body = f"ai:{name}", {"title": name, "content": "by who is known", "namespace": "policy-0"}
    status, _ = at.call("POST", "/agents", {"agent_id": agent, "agent_type": "ai:worker"})
    return status, lambda: beside.call("POST", "/memories", body, agent)[0] == http.client.CREATED


class _Caller:
    """A connection to a node that is kept."""

    def __init__(self, node: Node) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=_WAIT_SECS)
        self.close = self._connection.close

    def call(self, method: str, path: str, body: Any = None, agent: str = "human:ops") -> tuple[int, Any]:
        """The status and the parsed reply."""
        headers = {"Content-Type": "application/json", "X-Agent-Id": agent}
        self._connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        reply = self._connection.getresponse()
        return reply.status, json.loads(reply.read())
