"""What other nodes may read here: answers to questions, the feed, bodies, and digests to compare.

All is read from one committed state. A peer that may carry some namespaces only sees these, and nothing that covers
all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from aimem.core.asking import newer, question_from_wire
from aimem.core.digest import BUCKETS
from aimem.core.feed import Cursor, betrays_the_past, parse_cursor, resolve
from aimem.core.kinds import kind_of
from aimem.core.record import Record, Ref, is_text
from aimem.core.taking import outlived
from aimem.errors import AimemError, Denied, Invalid
from aimem.limits import MESH_BATCH_BYTES, MESH_BATCH_RECORDS, MESH_BUCKETS_COMPARED, MESH_PAGE_HEADS, MESH_QUESTIONS
from aimem.mesh.carrying import Carries, carried
from aimem.mesh.messages import DIGEST, Envelope, encode, list_of, record_bytes
from aimem.mesh.repair import heads_of
from aimem.mesh.settings import Clock
from aimem.mesh.tail import Tail, encoded_head
from aimem.store.base import Store

log = logging.getLogger(__name__)

_QUESTIONS_OF_AN_INTENT = 8  # so that a store can tell from their number how long it will take


class Showing:
    """See the module. `envelope()` says who this node is; `read(source, seq)` is told how far one has read the feed."""

    def __init__(
        self,
        store: Store,
        now: Clock,
        *,
        envelope: Callable[[], Envelope],
        read: Callable[[Envelope, int], None],
        carries_of: Callable[[str], Carries | None],
        tail: Tail,
    ) -> None:
        self._store = store
        self._now = now
        self._envelope = envelope
        self._read = read
        self._carries_of = carries_of
        self._tail = tail

    async def asked(self, message: dict[str, Any], sender: Envelope) -> bytes:
        asked = [question_from_wire(each) for each in list_of(message, "questions", MESH_QUESTIONS)]
        parts = [
            newer(asked[at : at + _QUESTIONS_OF_AN_INTENT]) for at in range(0, len(asked), _QUESTIONS_OF_AN_INTENT)
        ]
        found = await self._store.rehearse(parts)
        for part in found:
            if isinstance(part.reply, AimemError):
                raise part.reply
        records = list({each.ref: each for part in found for each in part.reply}.values())
        encoded = [record_bytes(each) for each in await self._may_have(records, sender)]
        return encode(self._envelope(), {}, {"records": encoded})

    async def _may_have(self, records: Sequence[Record], sender: Envelope) -> list[Record]:
        allowed = await carried(self._store, records, self._carries_of(sender.node))
        return [record for record, may in zip(records, allowed, strict=True) if may]

    async def feed(self, message: dict[str, Any], sender: Envelope) -> bytes:
        shown = message.get("cursor")
        after = 0
        if shown is not None:
            if not isinstance(shown, str):
                raise Invalid("not a message of the mesh: cursor must be text")
            cursor = parse_cursor(shown)
            await self._store.hear()  # another node on this store may have served that cursor a moment ago
            starts = await self._store.starts()
            if betrays_the_past(cursor, incarnation=self._store.incarnation, starts=starts, head=self._store.head):
                log.error("%s has read this feed further than it goes: this store was restored or copied", sender.node)
                await self._store.renew_incarnation()
            after = resolve(cursor, starts=starts, head=self._store.head)
        if self._envelope().behind and not sender.behind:
            here = shown or str(Cursor(self._store.incarnation, self._store.start, 0))
            return encode(self._envelope(), {"heads": [], "cursor": here, "more": False, "head": self._store.head})
        self._read(sender, after)
        narrowed = self._carries_of(sender.node) is not None
        heads = None if narrowed or self._store.shared else self._tail.after(after)
        cursor, more = Cursor(self._store.incarnation, self._store.start, self._tail.seq), False
        if heads is None:
            heads, cursor, more = await self._page(after, sender)
        fields = {
            "cursor": str(cursor),
            "more": more,
            "head": self._store.head,
            "floor": self._store.floor,
            **({} if narrowed else {"digest": self._store.digest.root()}),
        }
        return encode(self._envelope(), fields, {"heads": heads})

    async def _page(self, after: int, sender: Envelope) -> tuple[list[bytes], Cursor, bool]:
        """Heads of a page of the feed, encoded, where it ends, and whether there is more."""
        page = await self._store.changes(after, MESH_PAGE_HEADS, 4 * MESH_BATCH_BYTES)
        heads = [
            encoded_head(record)
            for record in await self._may_have([record for _, record in page.changes], sender)
            if not kind_of(record.kind).local and not outlived(record, self._now())
        ]
        return heads, page.cursor, page.more

    async def held(self, message: dict[str, Any], sender: Envelope) -> bytes:
        """Which addresses are held here. What the sender may not have counts as held: it is to conclude nothing."""
        refs = _refs(message, MESH_PAGE_HEADS)
        found = await self._store.get(refs)
        gone = {ref for ref, record in zip(refs, found, strict=True) if record is None}
        narrowed = self._carries_of(sender.node) is not None
        return encode(self._envelope(), {"held": [narrowed or ref not in gone for ref in refs]})

    async def compared(self, path: str, message: dict[str, Any], sender: Envelope) -> bytes:
        """Sums of buckets, or the heads of some. They cover everything, so they are not for a narrowed peer."""
        if self._carries_of(sender.node) is not None:
            raise Denied(f"{sender.node} may carry some namespaces only, and a digest covers all")
        if path == DIGEST:
            return encode(self._envelope(), {"buckets": [f"{total:064x}" for total in self._store.digest.sums]})
        buckets = list_of(message, "buckets", MESH_BUCKETS_COMPARED)
        if not all(type(each) is int and 0 <= each < BUCKETS for each in buckets):
            raise Invalid(f"not a message of the mesh: a bucket is a number from 0 to {BUCKETS - 1}")
        found = await heads_of(self._store, buckets)
        return encode(self._envelope(), {"heads": [[*ref, *head] for ref, head in found.items()]})

    async def fetch(self, message: dict[str, Any], sender: Envelope) -> bytes:
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
        return encode(self._envelope(), {"answered": answered}, {"records": found})


def _refs(message: dict[str, Any], most: int) -> list[Ref]:
    refs = []
    for each in list_of(message, "refs", most):
        match each:
            case [str(kind), str(key)] if is_text(kind + key) and not kind_of(kind).local:
                refs.append(Ref(kind, key))
            case _:
                raise Invalid("not an address of a record")
    return refs
