"""The load generator: many connections, each sending its next request when the last was answered (a closed loop)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What a load came to. Times in seconds."""

    seconds: float = 0.0
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


class _Client(asyncio.Protocol):
    """One connection. Parses just enough of a reply to know its status and where it ends."""

    def __init__(self, next_request: Callable[[], bytes | None], outcome: Outcome, done: asyncio.Future[None]) -> None:
        self._next = next_request
        self._outcome = outcome
        self._done = done
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        following = self._next()
        if following is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(following)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._outcome.latencies.append(time.perf_counter() - self._sent)
        self._outcome.statuses[int(head[9:12])] += 1
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def _drive(port: int, clients: int, next_request: Callable[[], bytes | None]) -> Outcome:
    loop, outcome = asyncio.get_running_loop(), Outcome()
    began = time.perf_counter()
    waiting = []
    for _ in range(clients):
        done: asyncio.Future[None] = loop.create_future()
        waiting.append(done)
        await loop.create_connection(lambda done=done: _Client(next_request, outcome, done), "127.0.0.1", port)
    await asyncio.gather(*waiting)
    outcome.seconds = time.perf_counter() - began
    return outcome


def drive(port: int, clients: int, next_request: Callable[[], bytes | None]) -> Outcome:
    """Run `clients` connections until `next_request` gives None."""
    return asyncio.run(_drive(port, clients, next_request))
