"""One peer as this node knows it: its address, who answered there, whether it is up, and how far its clock is off.

Every message to it goes through `call`, so what is known is as fresh as the last one. A peer that fails is left alone
for a pause that doubles, with jitter; one that speaks to us is tried again at once.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aimem.errors import AimemError, NoAnswer, Unreachable
from aimem.limits import MESH_BACKOFF_SECS, MESH_CALL_SECS
from aimem.mesh.messages import HELLO, Envelope, decode, encode, envelope_of
from aimem.mesh.settings import Clock, Transport


class Peer:
    """See the module. `url` is its name in all that is told of it, `start` the id of this very process."""

    def __init__(
        self,
        url: str,
        start: str,
        transport: Transport,
        envelope: Callable[[], Envelope],
        now: Clock,
        rand: random.Random,
    ) -> None:
        self.url = url
        self.identity: Envelope | None = None
        self.offset: int | None = None
        """How far (ns) its clock is ahead of ours, as far as the last message tells."""
        self.error: str | None = None
        self.is_self = False
        self.read = 0
        """How far it has read our feed, by its own word."""
        self.read_at = 0.0
        self.back = asyncio.Event()
        """Set when it may be tried again."""
        self.failed: Callable[[], None] = lambda: None
        """Called when a message to it has failed."""
        self.trusted: Callable[[], None] = lambda: None
        """Called when it is behind no longer: now this node may be, until it has read its feed."""
        self.changed: Callable[[], None] = lambda: None
        """Called when another node than before answers there."""
        self.restarted: Callable[[], None] = lambda: None
        """Called when another process than before answers there."""
        self._start = start
        self._transport = transport
        self._envelope = envelope
        self._now = now
        self._rand = rand
        self._failures = 0
        self._retry_at = 0.0
        self.heard_at: float | None = None
        self.sent: Counter[str] = Counter()
        """Bytes of messages sent, by lane."""

    @property
    def node(self) -> str | None:
        """The node id of who answered last."""
        return self.identity.node if self.identity is not None else None

    @property
    def up(self) -> bool:
        """False after a failure, until it answers again."""
        return self._failures == 0

    @property
    def counts(self) -> bool:
        """Whether messages go there: not when it is this very process."""
        return not self.is_self

    async def call(
        self,
        path: str,
        fields: dict[str, Any],
        *,
        lane: str,
        lists: Mapping[str, Sequence[bytes]] | None = None,
        timeout: float = MESH_CALL_SECS,
    ) -> dict[str, Any]:
        """The reply to one message; members of `lists` are encoded already.

        Raises:
            AimemError: no answer, or none that could be understood; noted here already.
        """
        sent = self._now()
        try:
            body = encode(self._envelope(), fields, lists)
            self.sent[lane] += len(body)
            reply = decode(await self._transport.post(self.url, path, body, timeout=timeout, lane=lane))
            envelope = envelope_of(reply)
        except AimemError as error:
            self._failed(error)
            raise
        self._met(envelope, sent, self._now())
        return reply

    def agrees(self, skew: int) -> bool:
        """Whether its clock and ours were at most `skew` (ns) apart when it answered last."""
        return self.offset is not None and abs(self.offset) <= skew

    async def hello(self) -> None:
        """Learn who is there. Raises as `call`."""
        await self.call(HELLO, {}, lane="pull")

    def heard_from(self) -> None:
        """It spoke to us: try it now."""
        if not self.up:
            self._retry_at = 0.0
            self.back.set()

    async def may_try(self) -> None:
        """Return when the pause after the last failure is over, or the peer was heard from."""
        pause = self._retry_at - asyncio.get_running_loop().time()
        if pause > 0:
            self.back.clear()
            try:
                async with asyncio.timeout(pause):
                    await self.back.wait()
            except TimeoutError:
                return

    def note_read(self, seq: int) -> None:
        """It showed that it has read our feed up to `seq`."""
        if seq != self.read:
            self.read, self.read_at = seq, asyncio.get_running_loop().time()

    def _met(self, envelope: Envelope, sent: int, received: int) -> None:
        before, known = (self.node, self.is_self), self.identity
        self.is_self = envelope.start == self._start
        if self.identity is not None and self.identity.behind and not envelope.behind:
            self.trusted()
        self.identity = envelope
        if (envelope.node, self.is_self) != before:
            self.changed()
        if known is not None and known.start != envelope.start:
            self.restarted()
        self.offset = envelope.clock - (sent + received) // 2
        self.heard_at = asyncio.get_running_loop().time()
        self._failures = 0
        self.error = None

    def _failed(self, error: AimemError) -> None:
        first, longest = MESH_BACKOFF_SECS
        pause = min(longest, first * 2 ** min(self._failures, 16))
        self._failures += 1
        self._retry_at = asyncio.get_running_loop().time() + pause * (0.5 + self._rand.random() / 2)
        self.error = error.message
        self.failed()


def reason_of(error: AimemError) -> str:
    """Why a push that ended with `error` is no acknowledgement."""
    if isinstance(error, NoAnswer):
        return "timeout"
    return "unreachable" if isinstance(error, Unreachable) else "refused"
