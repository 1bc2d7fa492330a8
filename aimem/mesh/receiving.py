"""What other nodes ask and send: each message is answered here, whoever carried it.

What may be read here is for `showing`. Records are judged one by one and merged in one write, so a batch costs one
fsync, and the answer says of each what became of it only when that is durable.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aimem.core.consensus import ACCEPT, Reply, elect, parse_ballot
from aimem.core.deciding import newest_of
from aimem.core.identity_words import Identity
from aimem.core.intent import Intent
from aimem.core.kinds import kind_of
from aimem.core.record import Record, Ref
from aimem.core.taking import APPLIED, NOT_CARRIED, REFUSED, UNUSABLE, Taken, flaw, outlived, take
from aimem.core.upkeep import advance
from aimem.errors import AimemError, ClockSkewed, Denied, Invalid, NoRoute, NotFound
from aimem.limits import MESH_BATCH_RECORDS
from aimem.mesh.aside import Aside
from aimem.mesh.carrying import Carries, carried
from aimem.mesh.messages import (
    ASK,
    DIGEST,
    ELECT,
    FEED,
    FETCH,
    HEADS,
    HELD,
    HELLO,
    POKE,
    RECORDS,
    WITNESS,
    Envelope,
    decode,
    encode,
    envelope_of,
    list_of,
    records_of,
)
from aimem.mesh.settings import Clock
from aimem.mesh.sharing import has_open, witnessed
from aimem.mesh.showing import Showing
from aimem.mesh.tail import Tail
from aimem.node.fencing import Fence
from aimem.node.lane import Lane
from aimem.store.base import Outcome, Store, Written

log = logging.getLogger(__name__)


class Receiving:
    """See the module. `envelope()` says who this node is; `heard(envelope)` is told of everybody who speaks to it,
    `took(source)` when something new came in from a node, and `read(source, seq)` how far one has read the feed.
    `floor_for(source)` is the floor (ns) that binds what comes from there, 0 where none does."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        now: Clock,
        *,
        envelope: Callable[[], Envelope],
        heard: Callable[[Envelope], None],
        took: Callable[[Envelope], None],
        read: Callable[[Envelope, int], None],
        poked: Callable[[str], None],
        floor_for: Callable[[Envelope], Awaitable[int]],
        carries_of: Callable[[str], Carries | None],
        max_skew: int,
        keep_superseded: bool,
        tail: Tail,
    ) -> None:
        self._store = store
        self._lane = lane
        self._now = now
        self._envelope = envelope
        self._heard = heard
        self._took = took
        self._poked = poked
        self._floor_for = floor_for
        self._carries_of = carries_of
        self._ahead_max = 2 * max_skew
        self._keep_superseded = keep_superseded
        self._fence = Fence(store)
        self._showing = Showing(store, now, envelope=envelope, read=read, carries_of=carries_of, tail=tail)
        self.arriving: set[tuple[Ref, Any]] = set()
        """What is being merged right now: it is in its sender's feed, and need not be pushed from here."""
        self.aside = Aside(store, now, self._ahead_max)
        self.received = 0

    def latest(self) -> int:
        """The highest time (ns) of a version that is taken by now."""
        return self._now() + self._ahead_max

    async def open(self) -> None:
        """Learn what the store keeps of others."""
        await self.aside.open()
        await self._fence.open()

    async def answer(self, path: str, body: bytes, identity: Identity | None = None) -> bytes:
        """The reply to a message. `identity` is what the sender's certificate or key says of it.

        Raises:
            Denied: it says that it is a node whose certificate it does not have.
            AimemError: it is no message, or can't be answered now.
        """
        message = decode(body)
        sender = envelope_of(message)
        if identity is not None and identity.node not in (None, sender.node):
            raise Denied(
                f"this certificate is that of node {identity.node}, not of {sender.node}",
                hint="name the node with --node as its line in the allowlist does",
            )
        self._heard(sender)
        if path == HELLO:
            return encode(self._envelope(), {"shares": True} if await has_open(self._store, sender) else {})
        if path == ASK:
            return await self._showing.asked(message, sender)
        if path == RECORDS:
            records = records_of(list_of(message, "records", MESH_BATCH_RECORDS))
            self._check_fence(records)
            taken = await self.take_in(records, sender)
            return encode(self._envelope(), {"results": [each.to_wire() for each in taken]})
        if path == FEED:
            return await self._showing.feed(message, sender)
        if path == FETCH:
            return await self._showing.fetch(message, sender)
        if path in (DIGEST, HEADS):
            return await self._showing.compared(path, message, sender)
        if path == HELD:
            return await self._showing.held(message, sender)
        if path == POKE:
            self._poked(sender.node)
            return encode(self._envelope(), {})
        if path == ELECT:
            return await self._elected(message)
        if path == WITNESS:
            return encode(self._envelope(), {"seen": await witnessed(self._store, message, sender, self.latest())})
        raise NoRoute(f"no message goes to {path}")

    def _check_fence(self, records: Sequence[Record | str]) -> None:
        """Raises `Moved` where the fleet has moved away: what a caller writes at a node that has not heard of that yet
        must not be acknowledged from here, for nobody may read this store again. It is still fetched when catching up.
        """
        refusal = self._fence.refusal
        if refusal is not None and any(isinstance(each, Record) and kind_of(each.kind).digested for each in records):
            raise refusal

    async def _elected(self, message: dict[str, Any]) -> bytes:
        """What this store says as an elector: for itself only, not for one that it was a copy of."""
        match message:
            case {"elector": str(elector), "question": str(question), "step": str(step), **rest}:
                if elector != self._store.incarnation:
                    raise NotFound(f"this store is {self._store.incarnation}, not {elector}")
                value = rest.get("value")
                if step == ACCEPT and (ahead := newest_of(value) - self.latest()) > 0:
                    raise ClockSkewed(f"the value lies {ahead / 1e9:.1f} s beyond what this node's clock lets it take")
                intent = elect(question, step, parse_ballot(rest.get("ballot")), value)
                reply: Reply = await self._lane.one(intent)
                return encode(self._envelope(), {"reply": reply.to_wire()})
        raise Invalid("not a message of the mesh: it asks no elector")

    async def take_in(
        self, records: Sequence[Record | str], source: Envelope, progress: dict[str, int] | None = None
    ) -> list[Taken]:
        """Merge what came from `source`, together with positions to keep. What became of each, when that is durable.

        Raises:
            AimemError: the store takes no writes.
        """
        now = self._now()
        floor = await self._floor_for(source)
        real = [each for each in records if isinstance(each, Record)]
        allowed = await carried(self._store, real, self._carries_of(source.node))
        barred = {id(each) for each, may in zip(real, allowed, strict=True) if not may}
        judged = [self._judged(each, now, barred) for each in records]
        wanted = [each for each, verdict in zip(records, judged, strict=True) if verdict is None]
        intents: list[Intent] = [take(each, keep_all=self._keep_superseded, floor=floor) for each in wanted]  # type: ignore[arg-type]
        intents += self.aside.dropped_by(source.node, real)
        arriving = {(each.ref, each.version) for each in real}
        self.arriving |= arriving
        try:
            outcomes = await self._lane.write(intents) if intents else []
        finally:
            self.arriving -= arriving
        told = iter(outcomes)
        results = [_taken(next(told)) if verdict is None else verdict for verdict in judged]
        await self._conclude(records, results, source, progress)
        self.received += len(wanted)
        if any(isinstance(outcome, Written) and outcome.records for outcome in outcomes[: len(wanted)]):
            self._took(source)
        return results

    def _judged(self, each: Record | str, now: int, barred: set[int]) -> Taken | None:
        """What becomes of a record before the store is asked; None when that decides."""
        if isinstance(each, str):
            return Taken(REFUSED, reason=each)
        reason = NOT_CARRIED if id(each) in barred else flaw(each, now=now, ahead_max=self._ahead_max)
        if reason is not None:
            return Taken(REFUSED, reason=reason)
        return Taken(APPLIED) if outlived(each, now) else None

    async def _conclude(
        self,
        records: Sequence[Record | str],
        results: Sequence[Taken],
        source: Envelope,
        progress: dict[str, int] | None,
    ) -> None:
        """Keep aside what was refused, in one write with the cursor: a page goes on without it, and nothing is skipped
        silently."""
        refused = [
            (each, result.reason or "")
            for each, result in zip(records, results, strict=True)
            if isinstance(each, Record) and result.outcome == REFUSED
        ]
        if last := [*self.aside.keep(refused, source.node), *([advance(progress)] if progress else [])]:
            await self._lane.write(last)
        if unreadable := sum(isinstance(each, str) for each in records):
            log.error("%s sent %d records that can't be read as records", source.node, unreadable)

    async def retry(self, *, started: bool) -> int:
        """Take what was kept aside and may be held by now. How many were tried."""
        due = await self.aside.due(started=started)
        for record, peer in due:
            await self.take_in([record], Envelope(peer, "", "", 0))
        return len(due)


def _taken(outcome: Outcome) -> Taken:
    """What became of a record that the store was asked to take."""
    if isinstance(outcome, AimemError):
        return Taken(REFUSED, reason=f"{UNUSABLE}: {outcome.message}")
    taken: Taken = outcome.reply
    return taken
