"""What other nodes ask and send: each message is answered here, whoever carried it.

Questions and feeds are read from one committed state. Records are judged one by one and merged in one write, so a batch
costs one fsync, and the answer says of each what became of it only when that is durable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from aimem.core.asking import newer, question_from_wire
from aimem.core.feed import Cursor, betrays_the_past, parse_cursor
from aimem.core.identity_words import Identity
from aimem.core.intent import Intent
from aimem.core.kinds import QUARANTINE, compound_key, kind_of
from aimem.core.record import Record, Ref, from_wire
from aimem.core.taking import (
    APPLIED,
    CLOCK_SKEW,
    NOT_CARRIED,
    REFUSED,
    RESEED,
    Taken,
    flaw,
    outlived,
    quarantine,
    release,
    take,
)
from aimem.core.upkeep import advance
from aimem.errors import AimemError, Denied, Invalid, NoRoute
from aimem.limits import MESH_BATCH_BYTES, MESH_BATCH_RECORDS, MESH_BUCKETS_COMPARED, MESH_PAGE_HEADS, MESH_QUESTIONS
from aimem.mesh.carrying import Carries, carried
from aimem.mesh.messages import (
    ASK,
    DIGEST,
    FEED,
    FETCH,
    HEADS,
    HELD,
    HELLO,
    POKE,
    RECORDS,
    Envelope,
    decode,
    encode,
    envelope_of,
    list_of,
    record_bytes,
    records_of,
)
from aimem.mesh.repair import head_of, heads_of
from aimem.mesh.settings import Clock
from aimem.node.lane import Lane
from aimem.store.base import Store, Written

log = logging.getLogger(__name__)


class Receiving:
    """See the module. `envelope()` says who this node is; `heard(envelope)` is told of everybody who speaks to it,
    `took(source)` when something new came in from a node, and `read(source, seq)` how far one has read the feed.
    `bound(source)` tells whether the floor of this store binds what comes from there."""

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
        bound: Callable[[Envelope], bool],
        carries_of: Callable[[str], Carries | None],
        max_skew: int,
        keep_superseded: bool,
    ) -> None:
        self._store = store
        self._lane = lane
        self._now = now
        self._envelope = envelope
        self._heard = heard
        self._took = took
        self._read = read
        self._poked = poked
        self._bound = bound
        self._carries_of = carries_of
        self._ahead_max = 2 * max_skew
        self._keep_superseded = keep_superseded
        self.arriving: set[tuple[Ref, Any]] = set()
        """What is being merged right now: it is in its sender's feed, and need not be pushed from here."""
        self._aside: set[str] = set()
        self.quarantined = 0
        self.received = 0

    async def open(self) -> None:
        """Learn what is kept aside."""
        self._aside = {kept.key async for batch in self._store.scan(QUARANTINE) for _, kept in batch}

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
            return encode(self._envelope(), {})
        if path == ASK:
            return await self._asked(message, sender)
        if path == RECORDS:
            taken = await self.take_in(records_of(list_of(message, "records", MESH_BATCH_RECORDS)), sender)
            return encode(self._envelope(), {"results": [each.to_wire() for each in taken]})
        if path == FEED:
            return await self._feed(message, sender)
        if path == FETCH:
            return await self._fetch(message, sender)
        if path == DIGEST:
            return encode(self._envelope(), {"buckets": [f"{total:064x}" for total in self._store.digest.sums]})
        if path == HEADS:
            buckets = [each for each in list_of(message, "buckets", MESH_BUCKETS_COMPARED) if isinstance(each, int)]
            found = await heads_of(self._store, buckets)
            return encode(self._envelope(), {"heads": [[*ref, *head] for ref, head in found.items()]})
        if path == HELD:
            return await self._held(message)
        if path == POKE:
            self._poked(sender.node)
            return encode(self._envelope(), {})
        raise NoRoute(f"no message goes to {path}")

    async def take_in(
        self, records: Sequence[Record | str], source: Envelope, progress: dict[str, int] | None = None
    ) -> list[Taken]:
        """Merge what came from `source`, together with positions to keep. What became of each, when that is durable.

        Raises:
            AimemError: the store takes no writes.
        """
        now = self._now()
        floor = self._store.floor if self._bound(source) else 0
        real = [each for each in records if isinstance(each, Record)]
        allowed = await carried(self._store, real, self._carries_of(source.node))
        barred = {id(each) for each, may in zip(real, allowed, strict=True) if not may}
        results: list[Taken | None] = []
        intents: list[Intent] = []
        places: list[int] = []
        aside: list[Intent] = []
        for each in records:
            reason = each if isinstance(each, str) else flaw(each, now=now, ahead_max=self._ahead_max)
            if id(each) in barred:
                reason = NOT_CARRIED
            if isinstance(each, str) or reason is not None:
                results.append(Taken(REFUSED, reason=reason))
                if isinstance(each, Record):
                    aside.append(quarantine(each, source.node, reason or ""))
            elif outlived(each, now):
                results.append(Taken(APPLIED))
            else:
                places.append(len(results))
                intents.append(take(each, keep_all=self._keep_superseded, floor=floor))
                results.append(None)
        intents += self._released(records, source)
        arriving = {(each.ref, each.version) for each in records if isinstance(each, Record)}
        self.arriving |= arriving
        try:
            positions = [advance(progress)] if progress else []
            outcomes = await self._lane.write([*intents, *aside, *positions])
        finally:
            self.arriving -= arriving
        fresh = False
        for place, outcome in zip(places, outcomes, strict=False):
            if isinstance(outcome, Written):
                results[place] = outcome.reply
                fresh = fresh or bool(outcome.records)
            else:
                results[place] = Taken(REFUSED, reason=outcome.code)
        late = [
            quarantine(record, source.node, RESEED)
            for record, result in zip(records, results, strict=True)
            if isinstance(record, Record) and result is not None and result.reason == RESEED
        ]
        if late:
            await self._lane.write(late)
            aside += late
        if aside:
            self.quarantined += len(aside)
            self._aside |= {compound_key(source.node, *each.ref) for each in records if isinstance(each, Record)}
            log.warning("%d records of %s were kept aside: see aimem quarantine", len(aside), source.node)
        self.received += len(intents)
        if fresh:
            self._took(source)
        return [each for each in results if each is not None]

    def _released(self, records: Sequence[Record | str], source: Envelope) -> list[Intent]:
        """What is kept aside of a node under an address for which it now sends something else: it has dropped that."""
        if not self._aside:
            return []
        keys = {compound_key(source.node, *each.ref): each for each in records if isinstance(each, Record)}
        ahead = self._now() + self._ahead_max
        found = {key for key, record in keys.items() if key in self._aside and record.version.time <= ahead}
        self._aside -= found
        return [release(key) for key in found]

    async def retry(self) -> int:
        """Take what was kept aside and can be held by now: a clock that was ahead, a value that an older release did
        not know. How many that were."""
        taken = 0
        async for batch in self._store.scan(QUARANTINE):
            for _, kept in batch:
                record, source = from_wire(kept.body["record"]), kept.body["peer"]
                if flaw(record, now=self._now(), ahead_max=self._ahead_max) is not None:
                    continue
                if kept.body["reason"] != CLOCK_SKEW and not kept.body["reason"].startswith("malformed"):
                    continue
                await self.take_in([record], Envelope(source, "", "", 0))
                await self._lane.write([release(kept.key)])
                taken += 1
        return taken

    async def _asked(self, message: dict[str, Any], sender: Envelope) -> bytes:
        asked = [question_from_wire(each) for each in list_of(message, "questions", MESH_QUESTIONS)]
        (found,) = await self._store.rehearse([newer(asked)])
        if isinstance(found.reply, AimemError):
            raise found.reply
        return encode(self._envelope(), {}, [record_bytes(each) for each in await self._may_have(found.reply, sender)])

    async def _may_have(self, records: Sequence[Record], sender: Envelope) -> list[Record]:
        allowed = await carried(self._store, records, self._carries_of(sender.node))
        return [record for record, may in zip(records, allowed, strict=True) if may]

    async def _feed(self, message: dict[str, Any], sender: Envelope) -> bytes:
        shown = message.get("cursor")
        after = 0
        if shown is not None:
            cursor = parse_cursor(shown)
            starts = await self._store.starts()
            if betrays_the_past(cursor, incarnation=self._store.incarnation, starts=starts, head=self._store.head):
                log.error("%s has read this feed further than it goes: this store was restored or copied", sender.node)
                await self._store.renew_incarnation()
            after = await self._store.resolve_cursor(cursor)
        if self._envelope().behind and not sender.behind:
            here = shown or str(Cursor(self._store.incarnation, self._store.start, 0))
            return encode(self._envelope(), {"heads": [], "cursor": here, "more": False, "head": self._store.head})
        self._read(sender, after)
        page = await self._store.changes(after, MESH_PAGE_HEADS, 4 * MESH_BATCH_BYTES)
        heads = [
            [record.kind, record.key, *head_of(record)]
            for record in await self._may_have([record for _, record in page.changes], sender)
            if not kind_of(record.kind).local and not outlived(record, self._now())
        ]
        fields = {
            "heads": heads,
            "cursor": str(page.cursor),
            "more": page.more,
            "head": self._store.head,
            "floor": self._store.floor,
            **({} if self._carries_of(sender.node) else {"digest": self._store.digest.root()}),
        }
        return encode(self._envelope(), fields)

    async def _held(self, message: dict[str, Any]) -> bytes:
        refs = _refs(message, MESH_PAGE_HEADS)
        held = [record is not None for record in await self._store.get(refs)]
        return encode(self._envelope(), {"held": held})

    async def _fetch(self, message: dict[str, Any], sender: Envelope) -> bytes:
        refs = _refs(message, MESH_BATCH_RECORDS)
        found: list[bytes] = []
        size = answered = 0
        held = await self._store.get(refs)
        shown = {each.ref for each in await self._may_have([each for each in held if each is not None], sender)}
        for record in held:
            data = record_bytes(record) if record is not None and record.ref in shown else b""
            if found and size + len(data) > MESH_BATCH_BYTES:
                break
            answered += 1
            size += len(data)
            if data:
                found.append(data)
        return encode(self._envelope(), {"answered": answered}, found)


def _refs(message: dict[str, Any], most: int) -> list[Ref]:
    refs = []
    for each in list_of(message, "refs", most):
        match each:
            case [str(kind), str(key)] if not kind_of(kind).local:
                refs.append(Ref(kind, key))
            case _:
                raise Invalid("not an address of a record")
    return refs
