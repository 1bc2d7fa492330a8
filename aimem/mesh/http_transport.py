"""Messages between nodes over HTTP: a few kept connections per peer, one for each lane.

Lanes are apart so that a page of a feed never stands before a question, nor a question before a push.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable

from aimem.errors import AimemError, Denied, NoAnswer, Unreachable
from aimem.net.client import Address
from aimem.net.link import Link

MakeContext = Callable[[str], ssl.SSLContext | None]
"""The TLS context for a peer's URL; None for a plain one."""


class HttpTransport:
    """A `Transport`. `context_of` is asked for each new connection, so that reloaded files are used from then on, and
    `key` for each message: the API key that peers want, where they do."""

    def __init__(self, context_of: MakeContext, key: Callable[[], str | None] = lambda: None) -> None:
        self._context_of = context_of
        self._key = key
        self._links: dict[tuple[str, str], Link] = {}
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}

    async def post(self, url: str, path: str, body: bytes, *, timeout: float, lane: str) -> bytes:
        """See `Transport.post`."""
        status, content = await self.exchange("POST", url, path, body, timeout=timeout, lane=lane)
        if status == 200:
            return content
        raise _refused(url, status, content)

    async def exchange(
        self, method: str, url: str, path: str, body: bytes, *, timeout: float, lane: str
    ) -> tuple[int, bytes]:
        """See `Transport.exchange`."""
        key = (url, lane)
        turn = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout(timeout), turn:
                link = self._links.get(key)
                if link is None or not link.open:
                    link = self._links[key] = await Link.connect(Address.parse(url), self._context_of(url))
                return await link.send(method, path, body, self._key())
        except TimeoutError:
            raise NoAnswer(f"{url} did not answer within {timeout:g} s") from None

    def address(self, url: str) -> str | None:
        """See `Transport.address`."""
        return next((link.address for (to, _), link in self._links.items() if to == url and link.open), None)

    def drop(self) -> None:
        """Close all connections; the next messages make new ones."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    async def close(self) -> None:
        """Let go of all connections."""
        self.drop()


def _refused(url: str, status: int, content: bytes) -> AimemError:
    try:
        told = json.loads(content)
        words = str(told["error"]) if isinstance(told, dict) and "error" in told else ""
    except ValueError:
        words = ""
    message = f"{url} refused: {words or f'status {status}'}"
    if status in (401, 403):
        return Denied(message)
    return Unreachable(message) if status in (404, 405, 503) else AimemError(message)
