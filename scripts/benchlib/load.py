"""The load generator: many connections, each sending its next request when the last was answered (a closed loop).

It shares the machine with the node, so it is one epoll loop over bare sockets, some 10 us a request: it looks only for
the status and the end of a reply. `own_cpu` tells what it took, so that nobody has to believe that it is little.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_PIECE = 262_144
_STALL_SECS = 120.0


@dataclass
class Outcome:
    """What a load came to. Times in seconds."""

    seconds: float = 0.0
    own_cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency that `share` of all requests did not exceed, in ms."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000

    def errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status >= 300)


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of a request."""
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: node\r\n{headers}{length}\r\n".encode() + body


class _Client:
    """One connection."""

    __slots__ = ("buffer", "sent", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_STALL_SECS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.sent = 0.0

    def send(self, message: bytes) -> None:
        self.sent = time.perf_counter()
        self.socket.sendall(message)

    def whole(self) -> bool:
        """Read what is there: whether a reply is complete."""
        piece = self.socket.recv(_PIECE)
        if not piece:
            raise SystemExit("the node closed a connection under load")
        self.buffer = self.buffer + piece if self.buffer else piece
        end = self.buffer.find(b"\r\n\r\n")
        return end >= 0 and len(self.buffer) >= end + 4 + _length(self.buffer[:end])


def _length(head: bytes) -> int:
    at = head.find(b"content-length: ")
    if at < 0:
        head = head.lower()
        at = head.find(b"content-length: ")
    return int(head[at + 16 :].partition(b"\r\n")[0]) if at >= 0 else 0


def drive(port: int | Sequence[int], clients: int, next_request: Callable[[], bytes | None]) -> Outcome:
    """Run `clients` connections, spread over the ports, until `next_request` gives None."""
    outcome, poll = Outcome(), select.epoll()
    waiting: dict[int, _Client] = {}
    ports = [port] if isinstance(port, int) else port
    opened = [_Client(ports[number % len(ports)]) for number in range(clients)]
    collecting = gc.isenabled()
    gc.disable()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        for client in opened:
            if (message := next_request()) is not None:
                poll.register(client.socket, select.EPOLLIN)
                waiting[client.socket.fileno()] = client
                client.send(message)
        while waiting:
            ready = poll.poll(_STALL_SECS)
            if not ready:
                raise SystemExit(f"no reply for {_STALL_SECS:.0f} s")
            for descriptor, _ in ready:
                client = waiting[descriptor]
                if not client.whole():
                    continue
                outcome.latencies.append(time.perf_counter() - client.sent)
                outcome.statuses[int(client.buffer[9:12])] += 1
                client.buffer = b""
                if (message := next_request()) is None:
                    poll.unregister(descriptor)
                    del waiting[descriptor]
                else:
                    client.send(message)
    finally:
        outcome.seconds, outcome.own_cpu = time.perf_counter() - began, time.process_time() - cpu
        for client in opened:
            client.socket.close()
        poll.close()
        if collecting:
            gc.enable()
    return outcome


def paced(port: int, clients: int, rate: float, requests: list[bytes]) -> Outcome:
    """Send `requests`, `rate` a second whether or not those before are answered (an open loop), over at most `clients`
    connections. A latency counts from when its request was due."""
    outcome, poll = Outcome(), select.epoll()
    opened = {(client := _Client(port)).socket.fileno(): client for _ in range(clients)}
    free = list(opened.values())
    for descriptor in opened:
        poll.register(descriptor, select.EPOLLIN)
    began, cpu, sent = time.perf_counter(), time.process_time(), 0
    try:
        while sent < len(requests) or len(free) < clients:
            while sent < len(requests) and free and (due := began + sent / rate) <= time.perf_counter():
                client = free.pop()
                client.send(requests[sent])
                client.sent = due
                sent += 1
            waits = sent < len(requests) and free
            pause = max(0.0, began + sent / rate - time.perf_counter()) if waits else _STALL_SECS
            ready = poll.poll(pause)
            if not ready and not waits:
                raise SystemExit(f"no reply for {_STALL_SECS:.0f} s")
            for descriptor, _ in ready:
                client = opened[descriptor]
                if client.whole():
                    outcome.latencies.append(time.perf_counter() - client.sent)
                    outcome.statuses[int(client.buffer[9:12])] += 1
                    client.buffer = b""
                    free.append(client)
    finally:
        outcome.seconds, outcome.own_cpu = time.perf_counter() - began, time.process_time() - cpu
        for client in opened.values():
            client.socket.close()
        poll.close()
    return outcome


def for_seconds(seconds: float, requests: Callable[[], bytes | None]) -> Callable[[], bytes | None]:
    """Requests for so long, the time counted from the first."""
    end = 0.0

    def following() -> bytes | None:
        nonlocal end
        now = time.perf_counter()
        end = end or now + seconds
        return requests() if now < end else None

    return following
