"""Telling a receiver an event: one POST, signed, over a connection that is kept for the next one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from aimem import __version__
from aimem.core.events import event_id
from aimem.core.record import Record
from aimem.core.webhooks import Networks, payload, signatures
from aimem.errors import AimemError, NoAnswer
from aimem.limits import WEBHOOK_IDLE_SECS, WEBHOOK_SECS
from aimem.net.hook import HookLink
from aimem.node.subscribers import Subscribers

_HEADERS = {"user-agent": f"ai-memory/{__version__} (aimem)"}


class Delivering:
    """See the module. A subscription is looked up anew each time: it may have ended."""

    def __init__(self, subscribers: Subscribers, now: Callable[[], int], networks: Networks) -> None:
        self._subscribers = subscribers
        self._now = now
        self._networks = networks
        self._links: dict[str, list[tuple[float, HookLink]]] = {}
        self._context: ssl.SSLContext | None = None

    @property
    def idle(self) -> bool:
        """Whether no connection is kept."""
        return not self._links

    def close(self) -> None:
        """Let go of all connections."""
        for links in self._links.values():
            for _, link in links:
                link.close()
        self._links.clear()

    async def tell(self, subscription_id: str, event: Record) -> str | None:
        """Tell an event: why that failed, None when it did not."""
        subscription = self._subscribers.get(subscription_id)
        if subscription is None:
            return "the subscription is gone"
        now = self._now()
        body = payload(event.key, event.body, now)
        named = {"x-ai-memory-correlation-id": event_id(event.key)}
        headers = {**_HEADERS, **named, **signatures(body, subscription.body, now)}
        try:
            async with asyncio.timeout(WEBHOOK_SECS):
                status = await self._post(subscription_id, subscription.body["url"], body, headers)
        except TimeoutError:
            return f"no answer within {WEBHOOK_SECS:g} s"
        except AimemError as error:
            return error.message
        return None if 200 <= status < 300 else f"status {status}"

    async def _post(self, subscription_id: str, url: str, body: bytes, headers: dict[str, str]) -> int:
        while kept := self._links.get(subscription_id):
            _, link = kept.pop()
            if link.open:
                try:
                    return await self._send(link, subscription_id, body, headers)
                except NoAnswer:  # it was closed while nobody looked; nothing is lost by telling twice
                    continue
        if url.startswith("https:") and self._context is None:
            from aimem.net.client_tls import TlsFiles, context

            self._context = context(TlsFiles())
        link = await HookLink.reach(url, self._networks, self._context)
        return await self._send(link, subscription_id, body, headers)

    async def _send(self, link: HookLink, subscription_id: str, body: bytes, headers: dict[str, str]) -> int:
        status, _ = await link.send("POST", "", body, more=headers)
        if link.open:
            self._links.setdefault(subscription_id, []).append((_time(), link))
        return status

    def close_idle(self) -> None:
        """Let go of connections that were not used for a while, and of those to who has unsubscribed."""
        before = _time() - WEBHOOK_IDLE_SECS
        for subscription_id, links in list(self._links.items()):
            for since, link in links:
                if since < before or self._subscribers.get(subscription_id) is None:
                    link.close()
            links[:] = [each for each in links if each[1].open]
            if not links:
                del self._links[subscription_id]


def _time() -> float:
    return asyncio.get_running_loop().time()
