"""A simulated network: messages take time, get lost, come twice, come late, and links are cut one way or both.

A call is two messages. A lost request was never seen; a lost reply was carried out, and the caller can't know. Faults
are drawn from the seeded `rand`; cuts are set by whoever runs the world.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aimem.errors import AimemError, NoAnswer, Unreachable

Handler = Callable[[str, bytes], Awaitable[bytes]]
Plain = Callable[[str, str, str, bytes], Awaitable[tuple[int, bytes]]]
"""Who asks, method, path and body; status and body."""


@dataclass
class Weather:
    """How bad it is: delays in seconds, probabilities per message."""

    delay: float = 0.002
    jitter: float = 0.004
    loss: float = 0.0
    twice: float = 0.0
    late: float = 0.0


class Network:
    """Carries calls between named nodes. `url_of(name)` is where one is found."""

    def __init__(self, rand: random.Random) -> None:
        self.weather = Weather()
        self.calls = 0
        self._rand = rand
        self._handlers: dict[str, Handler] = {}
        self._plain: dict[str, Plain] = {}
        self._cut: set[tuple[str, str]] = set()
        self._clogged: dict[tuple[str, str], float] = {}

    @staticmethod
    def url_of(name: str) -> str:
        return f"sim://{name}"

    def attach(self, name: str, handler: Handler | None, plain: Plain | None = None) -> None:
        """A node is up. `handler` takes messages of the mesh, `plain` other requests."""
        if handler is not None:
            self._handlers[name] = handler
        if plain is not None:
            self._plain[name] = plain

    def detach(self, name: str) -> None:
        """A node is down: what comes to it is lost."""
        self._handlers.pop(name, None)
        self._plain.pop(name, None)

    async def exchange(
        self, source: str, target: str, method: str, path: str, body: bytes, timeout: float
    ) -> tuple[int, bytes]:
        """One request that is no message of the mesh."""
        self.calls += 1
        try:
            async with asyncio.timeout(timeout):
                await self._travel(source, target)
                handler = self._plain.get(target)
                if handler is None:
                    raise Unreachable(f"nobody listens at {target}")
                reply = await asyncio.shield(asyncio.ensure_future(handler(source, method, path, body)))
                await self._travel(target, source)
                return reply
        except TimeoutError:
            raise NoAnswer(f"{target} did not answer in {timeout:g} s") from None

    def cut(self, source: str, target: str) -> None:
        """Messages from one to the other are lost from now on."""
        self._cut.add((source, target))

    def join(self, source: str, target: str) -> None:
        """They arrive again."""
        self._cut.discard((source, target))

    def clog(self, source: str, target: str, secs: float) -> None:
        """Messages from one to the other take so much longer."""
        self._clogged[(source, target)] = secs

    def heal(self) -> None:
        """All links work again."""
        self._cut.clear()
        self._clogged.clear()
        self.weather = Weather()

    async def call(self, source: str, target: str, path: str, body: bytes, timeout: float) -> bytes:
        """One call, as the caller sees it."""
        self.calls += 1
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(source, target, path, body)
        except TimeoutError:
            raise NoAnswer(f"{target} did not answer in {timeout:g} s") from None

    async def _exchange(self, source: str, target: str, path: str, body: bytes) -> bytes:
        await self._travel(source, target)
        handler = self._handlers.get(target)
        if handler is None:
            raise Unreachable(f"nobody listens at {target}")
        if self._rand.random() < self.weather.twice:
            again = asyncio.ensure_future(_quietly(handler, path, body))
            again.add_done_callback(lambda task: task.exception())
        reply: bytes | AimemError
        # Once it has arrived it is carried out, whether or not the caller still waits.
        work = asyncio.ensure_future(_quietly(handler, path, body))
        reply = await asyncio.shield(work)
        if self._handlers.get(target) != handler:
            raise Unreachable(f"{target} went down")
        await self._travel(target, source)
        if isinstance(reply, AimemError):
            raise reply
        return reply

    async def _travel(self, source: str, target: str) -> None:
        weather = self.weather
        secs = weather.delay + weather.jitter * self._rand.random() + self._clogged.get((source, target), 0.0)
        if self._rand.random() < weather.late:
            secs += self._rand.random() * 3
        await asyncio.sleep(secs)
        if (source, target) in self._cut or self._rand.random() < weather.loss:
            await asyncio.Event().wait()  # lost: only the caller's deadline ends this


async def _quietly(handler: Handler, path: str, body: bytes) -> bytes | AimemError:
    try:
        return await handler(path, body)
    except AimemError as error:
        return error
    except (asyncio.CancelledError, ConnectionError):
        return Unreachable("the node went down")


class SimulatedTransport:
    """The transport of one node."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name

    async def post(self, url: str, path: str, body: bytes, *, timeout: float, lane: str) -> bytes:
        return await self._network.call(self._name, url.removeprefix("sim://"), path, body, timeout)

    async def exchange(
        self, method: str, url: str, path: str, body: bytes, *, timeout: float, lane: str
    ) -> tuple[int, bytes]:
        return await self._network.exchange(self._name, url.removeprefix("sim://"), method, path, body, timeout)

    def address(self, url: str) -> str | None:
        return url.removeprefix("sim://")

    async def close(self) -> None:
        """Nothing is held."""
