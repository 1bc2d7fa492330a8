"""Thousands of agents, each on a connection of its own that it keeps: 2,000 at one node, 5,000 at a mesh of twelve.

An agent stores, thinks, recalls, thinks, and so on. They do not wait for each other: each has its own moment in the
period, so what is offered does not depend on how fast the nodes are.
"""

from __future__ import annotations

import argparse
import heapq
import json
import select
import socket
import time
from collections.abc import Iterator
from urllib.parse import quote

from benchlib.figures import Figure
from benchlib.fleet import Fleet, full, running
from benchlib.load import Outcome, request
from benchlib.mesh_four import fill
from benchlib.mesh_sizes import PATIENT
from benchlib.stores import memory
from benchlib.texts import Texts

CASES = ((2_000, 1, 60.0), (5_000, 12, 60.0))
"""How many agents, at how many nodes, and the seconds between two requests of one agent."""
HELD = 2_000  # memories that are there before
_PIECE = 262_144
_STALL_SECS = 60.0


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """A figure for each case."""
    for agents, nodes, period in CASES:
        with running(Fleet(full(nodes), *PATIENT)) as fleet:
            fill(fleet, HELD)
            idle = [fleet.memory_mb(number) for number in range(nodes)]
            crowd = _Crowd(fleet, agents)
            try:
                held = sum(fleet.memory_mb(number) - before for number, before in enumerate(idle))
                stores, recalls = crowd.work(max(options.seconds, 1.5 * period), period)
            finally:
                crowd.close()
            values = {
                "nodes": nodes,
                "connection_kb": held * 1024 / agents,
                "offered_per_second": agents / period,
                "store_p50_ms": stores.percentile(0.5),
                "store_p99_ms": stores.percentile(0.99),
                "recall_p50_ms": recalls.percentile(0.5),
                "recall_p99_ms": recalls.percentile(0.99),
                "refused": float(stores.errors() + recalls.errors()),
                "memory_mb": max(fleet.memory_mb(number) for number in range(nodes)),
            }
            done = len(stores.latencies) + len(recalls.latencies)
            yield Figure(f"agents-{agents}", done, "keyword", agents, int(values["refused"]), values=values)


class _Agent:
    """One connection, and what is due on it."""

    __slots__ = ("buffer", "due", "node", "number", "socket", "turn")

    def __init__(self, port: int, number: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_STALL_SECS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self.turn = 0
        self.due = 0.0
        self.buffer = b""


class _Crowd:
    """All agents, connected: each has asked for the node's health once."""

    def __init__(self, fleet: Fleet, agents: int) -> None:
        self._texts = Texts(11)
        self._agents = [_Agent(fleet.ports[number % len(fleet)], number) for number in range(agents)]
        self._by_socket = {agent.socket.fileno(): agent for agent in self._agents}
        self._poll = select.epoll()
        for agent in self._agents:
            agent.turn = agent.number // len(fleet) % 2
            agent.socket.sendall(request("GET", "/api/v1/health"))
            if not agent.socket.recv(_PIECE).startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"agent {agent.number} of {agents} was refused")
            self._poll.register(agent.socket, select.EPOLLIN)

    def close(self) -> None:
        for agent in self._agents:
            agent.socket.close()
        self._poll.close()

    def work(self, seconds: float, period: float) -> tuple[Outcome, Outcome]:
        """Requests for so long, one of each agent in each period: what became of the stores, and of the recalls. The
        time of a request counts from when it was due."""
        kinds = Outcome(), Outcome()
        began = time.perf_counter()
        waiting = [(began + agent.number * period / len(self._agents), agent.number) for agent in self._agents]
        heapq.heapify(waiting)
        busy = 0
        while busy or waiting[0][0] < began + seconds:
            now = time.perf_counter()
            while waiting and waiting[0][0] <= min(now, began + seconds):
                due, number = heapq.heappop(waiting)
                self._send(self._agents[number], due)
                busy += 1
            pause = max(0.0, waiting[0][0] - now) if waiting else _STALL_SECS
            for descriptor, _ in self._poll.poll(min(pause, _STALL_SECS) if now < began + seconds else _STALL_SECS):
                agent = self._by_socket[descriptor]
                if (status := self._status(agent)) is None:
                    continue
                outcome = kinds[agent.turn % 2]
                outcome.latencies.append(time.perf_counter() - agent.due)
                outcome.statuses[status] += 1
                agent.turn += 1
                busy -= 1
                heapq.heappush(waiting, (agent.due + period, agent.number))
        return kinds

    def _send(self, agent: _Agent, due: float) -> None:
        agent.due = due
        if agent.turn % 2:
            words = quote(" ".join(self._texts.content().split()[:4]))
            agent.socket.sendall(request("GET", f"/api/v1/recall?context={words}"))
        else:
            body = memory(self._texts, agent.turn * len(self._agents) + agent.number)
            agent.socket.sendall(request("POST", "/api/v1/memories", json.dumps(body).encode()))

    def _status(self, agent: _Agent) -> int | None:
        """The status of the reply, when that is whole."""
        piece = agent.socket.recv(_PIECE)
        if not piece:
            raise SystemExit(f"agent {agent.number} was cut off")
        agent.buffer += piece
        head, found, rest = agent.buffer.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length: ")
        if not found or len(rest) < int(head[at + 16 :].split(b"\r\n")[0]):
            return None
        agent.buffer = b""
        return int(head[9:12])
