"""One address where a node of the existing system may answer: found out, pushed to and read from, until it goes away
or one of ours answers there instead.

It is known by what its health says: the service of that name without our product's. That is asked only where a message
of ours was not understood, so whatever answers our messages is a node of ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from aimem.errors import AimemError
from aimem.limits import LEGACY_CALL_SECS
from aimem.mesh.legacy_pulling import LegacyPull
from aimem.mesh.legacy_pushing import LegacyPush
from aimem.mesh.legacy_taking import LegacyTaking, Sender
from aimem.mesh.messages import PREFIX
from aimem.mesh.peer import Peer
from aimem.mesh.settings import Clock, MeshSettings, Transport
from aimem.node.lane import Lane
from aimem.store.base import Store

log = logging.getLogger(__name__)

HEALTH = "/api/v1/health"


class _Replaced(Exception):
    """One of ours answers there now."""


class LegacyPeer:
    """See the module. `active` while a node of the existing system answers at the address of `peer`."""

    def __init__(
        self,
        peer: Peer,
        store: Store,
        lane: Lane,
        taking: LegacyTaking,
        settings: MeshSettings,
        transport: Transport,
        now: Clock,
    ) -> None:
        self._peer = peer
        self._store = store
        self._transport = transport
        self._asked = asyncio.Event()
        self._replaced = asyncio.Event()
        self.counts = settings.count_legacy_acks
        self.active = False
        self.known = False
        """Whether the last that was found there is of the existing system: it may be away now."""
        self.version: str | None = None
        self.error: str | None = None
        self.lanes = LegacyPush(peer.url, f"host:{settings.node}"[:128], self._push, store, lane, now, self.counts)
        self.reading = LegacyPull(Sender(peer.url), self._pull, taking, self.lanes.again, settings.catchup_secs)

    @property
    def url(self) -> str:
        """Its address, which is its name here."""
        return self._peer.url

    @property
    def address(self) -> str | None:
        """The network address that it has now."""
        return self._transport.address(self.url)

    def look(self) -> None:
        """A message of ours was not answered: see who is there."""
        if not self.active:
            self._asked.set()

    def replaced(self) -> None:
        """One of ours answered."""
        self.known = False
        self._replaced.set()

    async def run(self) -> None:
        """Talk to it while it is there, for ever."""
        self.known = self.known or await self._store.progress(self.lanes.name) > 0
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._replaced.clear()
            try:
                if await self._is_there():
                    await self._talk()
            except _Replaced:
                log.warning("%s is a node of ours now", self.url)
                await self.lanes.forget()
            except AimemError as error:
                self.error = error.message
                log.info("%s, of the existing system: %s", self.url, error.message)
            finally:
                self.active = False

    async def _is_there(self) -> bool:
        status, content = await self._call("GET", HEALTH, b"", lane="pull")
        try:
            told = json.loads(content) if status == 200 else None
        except ValueError:
            return False
        if not isinstance(told, dict) or told.get("service") != "ai-memory" or "product" in told:
            return False
        self.version = str(told.get("version", ""))
        return True

    async def _talk(self) -> None:
        self.active, self.known, self.error = True, True, None
        log.warning("%s is a node of the existing system (%s): it is pushed to and read from", self.url, self.version)
        new = not await self._store.progress(self.lanes.name)
        if new:
            await self.reading.everything()  # what it holds already need not be sent to it
        tasks = [asyncio.ensure_future(each) for each in (self.lanes.run(), self._read(new), self._until_replaced())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, was_read: bool) -> None:
        if not was_read:
            await self.reading.everything()
        await self.reading.run()

    async def _until_replaced(self) -> None:
        await self._replaced.wait()
        raise _Replaced(f"a node of ours answers at {self.url} now")

    async def _push(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return await self._call(method, path, body, lane="push")

    async def _pull(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return await self._call(method, path, body, lane="pull")

    async def _call(self, method: str, path: str, body: bytes, *, lane: str) -> tuple[int, bytes]:
        status, content = await self._transport.exchange(
            method, self.url, path, body, timeout=LEGACY_CALL_SECS, lane=f"legacy {lane}"
        )
        if path.startswith(PREFIX) and b'"product":"aimem"' in content[-64:]:
            self._peer.heard_from()
            raise _Replaced(f"a node of ours answers at {self.url} now")
        return status, content

    def described(self, time: float) -> dict[str, Any]:
        """What `status` shows in place of a node's own word."""
        ended = self.reading.ended_at
        return {
            "state": "up",
            "legacy": True,
            "counts": self.counts,
            "version": self.version,
            "lag_rows": 0,
            "lag_secs": None if ended is None else round(time - ended, 3),
            "last_heard_secs": None if ended is None else round(time - ended, 3),
            "push_waiting": self.lanes.waiting,
            "push_gap": max(0, self._store.head - self.lanes.position),
            "caught_up": self.reading.finished.is_set(),
            "pushed_bytes": self.lanes.sent_bytes,
            "skipped": self.lanes.refused,
            "unsaid": self.lanes.unsaid,
            "error": self.error,
        }
