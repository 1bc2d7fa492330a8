"""How soon a policy is in force everywhere, and how long a decision of five stores takes."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from benchlib.figures import Figure
from benchlib.fleet import Fleet, full, running
from benchlib.governed import Size
from benchlib.load import Outcome
from benchlib.mesh_sizes import PATIENT

ELECTORS = 5
_WAIT_SECS = 60.0


class _Callers:
    """A connection to each node of a fleet that is kept."""

    def __init__(self, fleet: Fleet) -> None:
        self._open = [fleet.connect(number) for number in range(len(fleet))]

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    def call(self, number: int, method: str, path: str, body: Any = None, agent: str = "human:ops") -> tuple[int, Any]:
        """The status and the parsed reply."""
        headers = {"Content-Type": "application/json", "X-Agent-Id": agent}
        connection = self._open[number]
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())

    def set_policy(self, number: int, namespace: str, policy: dict[str, Any]) -> int:
        status, _ = self.call(number, "POST", "/namespaces", {"namespace": namespace, "governance": policy})
        return status


def measure_policies(size: Size, seconds: float) -> Iterator[Figure]:
    """Policies set on one node after the other: the time from before the request until each node says that it is in
    force. They are asked one after the other, so this is rather too much than too little."""
    with running(Fleet(full(size.nodes), *PATIENT)) as fleet, closing(_Callers(fleet)) as callers:
        cpu = _cpu(fleet)
        outcome, replies = Outcome(), Outcome()
        for number in range(size.sets + 1):  # the first makes the connections between the nodes
            namespace = f"spread-{number}"
            began = time.perf_counter()
            status = callers.set_policy(number % len(fleet), namespace, {"write": "registered"})
            replied = time.perf_counter() - began
            for node in range(len(fleet)):
                _await_in_force(callers, node, namespace)
            if number:
                outcome.latencies.append(time.perf_counter() - began)
                replies.latencies.append(replied)
                outcome.statuses[status] += 1
        values = {
            "nodes": len(fleet),
            "p50_ms": outcome.percentile(0.5),
            "p99_ms": outcome.percentile(0.99),
            "reply_p50_ms": replies.percentile(0.5),
            "fleet_cpu_ms": (_cpu(fleet) - cpu) / (size.sets + 1) * 1_000,
        }
        yield Figure("policy-everywhere", size.sets, "keyword", 1, outcome.errors(), values=values)


def _await_in_force(callers: _Callers, node: int, namespace: str) -> None:
    until = time.monotonic() + _WAIT_SECS
    while time.monotonic() < until:
        _, told = callers.call(node, "GET", f"/policy/explain?namespace={namespace}")
        if (told["in_force"] or {}).get("at") == namespace:
            return
    raise SystemExit(f"the policy of {namespace} is not in force on node {node} after {_WAIT_SECS:g} s")


def measure_decisions(size: Size, seconds: float) -> Iterator[Figure]:
    """Writes parked on one node after the other, and approved there or on the next: the time of the approval, which is
    answered when a majority of the stores has chosen and the write is done."""
    with running(Fleet(full(ELECTORS), *PATIENT)) as fleet, closing(_Callers(fleet)) as callers:
        callers.set_policy(0, "parked", {"write": "approve", "approver": {"agent": "ai:approver"}})
        for node in range(ELECTORS):
            _await_in_force(callers, node, "parked")
        for row, beside in (("decision", 0), ("decision-elsewhere", 1)):
            cpu, outcome = _cpu(fleet), Outcome()
            for number in range(size.decisions + 1):
                parked_at = number % ELECTORS
                pending_id = _parked(callers, parked_at, f"{row} {number}")
                node = (parked_at + beside) % ELECTORS
                began = time.perf_counter()
                status, told = _approved(callers, node, pending_id)
                if number:
                    outcome.latencies.append(time.perf_counter() - began)
                    outcome.statuses[status if told.get("executed") else 500] += 1
            values = {
                "electors": ELECTORS,
                "p50_ms": outcome.percentile(0.5),
                "p99_ms": outcome.percentile(0.99),
                "fleet_cpu_ms": (_cpu(fleet) - cpu) / (size.decisions + 1) * 1_000,
            }
            yield Figure(row, size.decisions, "keyword", 1, outcome.errors(), values=values)


def _parked(callers: _Callers, node: int, title: str) -> str:
    body = {"title": title, "content": f"what {title} says", "namespace": "parked"}
    status, told = callers.call(node, "POST", "/memories", body, "ai:requester")
    if status != http.client.ACCEPTED:
        raise SystemExit(f"node {node} did not park a write: {status} {told}")
    return str(told["pending_id"])


def _approved(callers: _Callers, node: int, pending_id: str) -> tuple[int, Any]:
    """The approval, sent when the node has heard of the action."""
    until = time.monotonic() + _WAIT_SECS
    while time.monotonic() < until:
        status, _ = callers.call(node, "GET", f"/pending/{pending_id}")
        if status == http.client.OK:
            return callers.call(node, "POST", f"/pending/{pending_id}/approve", {}, "ai:approver")
    raise SystemExit(f"node {node} has not heard of {pending_id} after {_WAIT_SECS:g} s")


def _cpu(fleet: Fleet) -> float:
    return sum(fleet.cpu(number) for number in range(len(fleet)))
