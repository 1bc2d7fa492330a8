"""The push lane to a node of the existing system: our feed, from where it got to, in pushes of their shape.

What it is known to hold (it sent it, or acknowledged it without skipping anything) is not sent again. One that skips
something of a push is asked item by item. How far it got is kept with the store, so nothing is lost by a restart; a
round waits for the items of its own page only. What they have no words for is passed over, and counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from aimem.core.automatic import deleted_by_user, effect_of, is_archived
from aimem.core.intent import Intent
from aimem.core.kinds import (
    AGENT,
    DEAD_LETTER,
    DECISION,
    EMBEDDING,
    EVENT,
    IDEMPOTENCY,
    LINK,
    MEMORY,
    PENDING,
    POLICY,
    STANDARD,
    SUPERSEDED,
    TOUCH,
    VECTOR,
    VOTE,
    kind_of,
)
from aimem.core.legacy import bare, rows
from aimem.core.legacy.message import all_taken, push_body
from aimem.core.legacy.values import ORIGIN
from aimem.core.links import is_valid
from aimem.core.quorum import REFUSED, UNREACHABLE, Applied, Failed, Outcome
from aimem.core.record import Record, Ref
from aimem.core.upkeep import advance
from aimem.core.version import Version
from aimem.errors import AimemError
from aimem.limits import LEGACY_BATCH_BYTES, LEGACY_BATCH_RECORDS
from aimem.mesh.item import Item
from aimem.mesh.legacy_pulling import Fetch
from aimem.mesh.peer import reason_of
from aimem.mesh.settings import Clock
from aimem.node.lane import Lane
from aimem.store.base import Change, Store

log = logging.getLogger(__name__)

PUSH = "/api/v1/sync/push"
_OURS_ALONE = (IDEMPOTENCY, EVENT, DEAD_LETTER, VECTOR, EMBEDDING, TOUCH, SUPERSEDED)
"""Kinds that tell them nothing: they lack nothing without them."""


class Told(NamedTuple):
    """What one record says to them: an item of one of their lists; or no `name`, where they hold it (`held`) or have
    no words for it."""

    record: Record
    name: str = ""
    item: Any = None
    held: bool = False


class LegacyPush:
    """See the module. `counts` tells whether its acknowledgement counts towards W."""

    def __init__(self, url: str, sender: str, fetch: Fetch, store: Store, lane: Lane, now: Clock, counts: bool) -> None:
        self._url = url
        self._sender = sender
        self._fetch = fetch
        self._store = store
        self._lane = lane
        self._now = now
        self._counts = counts
        self._items: dict[Ref, list[Item]] = {}
        self._again: dict[Ref, None] = {}
        self._wake = asyncio.Event()
        self.open = False
        self.position = 0
        self.sent_bytes = 0
        self.refused = 0
        """Items that it skipped, since the start."""
        self.unsaid = 0
        """Records that they have no words for, since the start."""
        store.subscribe(self._committed)

    def _committed(self, changes: Sequence[Change]) -> None:
        self._wake.set()

    @property
    def name(self) -> str:
        """Under which the position is kept."""
        return f"legacy/{self._url}"

    @property
    def waiting(self) -> int:
        """Rounds that wait for it."""
        return sum(map(len, self._items.values()))

    def push(self, item: Item) -> None:
        """A round waits for what becomes of a record that was just committed. One that the lane has passed already is
        sent once more: what the peer said of it then it may have lost with its disk."""
        if not self.open:
            item.heard(self._url, Failed(UNREACHABLE))
            return
        self._items.setdefault(item.record.ref, []).append(item)
        if item.seq <= self.position:
            self._again[item.record.ref] = None
        self._wake.set()

    def again(self, refs: Sequence[Ref]) -> None:
        """The peer shows these in an older version than stands here."""
        self._again.update(dict.fromkeys(refs))
        self._wake.set()

    async def run(self) -> None:
        """Send, until it fails. Raises: AimemError: the peer does not answer, or the store takes no writes."""
        self.position = await self._store.progress(self.name)
        self.open = True
        try:
            while True:
                self._wake.clear()
                while await self._turn():
                    pass
                await self._wake.wait()
        except AimemError as error:
            self._lose(reason_of(error))
            raise
        finally:
            self.open = False
            self._lose(UNREACHABLE)

    async def forget(self) -> None:
        """Whoever answers there next has nothing yet. Raises: AimemError: the store takes no writes."""
        await self._lane.write([advance({self.name: -1})])

    def _lose(self, reason: str) -> None:
        items, self._items = self._items, {}
        for item in (each for waiting in items.values() for each in waiting):
            item.heard(self._url, Failed(reason))

    async def _turn(self) -> bool:
        """Send one page of the feed, and what the peer shows too old. Whether there may be more."""
        page = await self._store.changes(self.position, LEGACY_BATCH_RECORDS, LEGACY_BATCH_BYTES)
        refs = list(self._again)[:LEGACY_BATCH_RECORDS]
        overtaken = set(refs)
        records = [record for _, record in page.changes if not kind_of(record.kind).local]
        records += [each for each in await self._store.get(refs) if each is not None]
        told = [await self._told(each, repeated=each.ref in overtaken) for each in records]
        await self._send(told)
        for ref in refs:
            self._again.pop(ref, None)
        if any(each.name for each in told) or page.more:
            await self._lane.write([advance({self.name: page.cursor.seq})])
        self.position = page.cursor.seq
        return bool(page.more or self._again or (page.changes and records))

    # What to say.

    async def _told(self, record: Record, *, repeated: bool) -> Told:
        if record.kind == MEMORY:
            return await self._memory(record, repeated=repeated)
        if record.kind == LINK:
            said = not record.deleted and is_valid(record, self._now())
            return Told(record, "links", rows.link_row(record)) if said else Told(record)
        if record.kind in (STANDARD, POLICY):
            return await self._standard(record)
        if record.kind in (PENDING, DECISION):
            return await self._pending(record)
        if record.kind == AGENT and not record.deleted:
            theirs = record.version.origin == ORIGIN  # then it came as a memory, which they are told of as one
            return Told(record, held=True) if theirs else Told(record, "memories", rows.agent_row(record))
        return Told(record, held=record.kind in _OURS_ALONE)

    async def _memory(self, record: Record, *, repeated: bool) -> Told:
        if record.deleted:
            return Told(record, "deletions", record.key) if deleted_by_user(record) else Told(record, held=True)
        if is_archived(record):
            user = not record.body["archived"].get("auto")
            return Told(record, "archives", record.key) if user else Told(record, held=True)
        (known,) = await self._store.get([bare.holds_ref(self._url, record.ref)])
        if (bare.held_version(known) == record.version and not repeated) or effect_of(record).expires <= self._now():
            return Told(record, held=True)
        (holder,) = await self._store.memories([record.key])
        if holder is None or holder.record.key != record.key:
            return Told(record, held=True)  # hidden: they hold one row for each pair
        policy = await self._policy(record)
        return Told(record, "memories", rows.memory_row(record, policy))

    async def _policy(self, record: Record) -> Record | None:
        """The policy that goes inside a memory, since it is the standard of its namespace."""
        namespace = record.body["namespace"]
        standard, policy = await self._store.get([Ref(STANDARD, namespace), Ref(POLICY, namespace)])
        if standard is None or standard.deleted or standard.body.get("memory_id") != record.key:
            return None
        return policy

    async def _standard(self, record: Record) -> Told:
        if record.deleted:
            clears = record.kind == STANDARD
            return Told(record, "namespace_meta_clears", record.key) if clears else Told(record)
        standard, policy = await self._store.get([Ref(STANDARD, record.key), Ref(POLICY, record.key)])
        memory_id = None if standard is None or standard.deleted else standard.body.get("memory_id")
        if standard is None or memory_id is None:
            return Told(record)
        if record.kind == STANDARD:
            return Told(record, "namespace_meta", rows.standard_row(standard))
        (text,) = await self._store.get([Ref(MEMORY, memory_id)])
        if text is None or text.deleted or is_archived(text):
            return Told(record)
        return Told(record, "memories", rows.memory_row(text, policy))

    async def _pending(self, record: Record) -> Told:
        """A parked action with how it ended. What they parked and told us themselves is theirs to spread."""
        parked, decision = await self._store.get([Ref(PENDING, record.key), Ref(DECISION, record.key)])
        if parked is None or parked.deleted or record.version.origin == ORIGIN:
            return Told(record, held=parked is not None)
        votes = [
            each async for batch in self._store.scan(VOTE) for _, each in batch if each.body["pending_id"] == record.key
        ]
        return Told(record, "pendings", rows.pending_row(parked, decision, votes))

    # Saying it.

    async def _send(self, told: Sequence[Told]) -> None:
        """Deletes and archives first: a row that takes over a pair must not go with the one that had it."""
        first = [each for each in told if each.name in ("deletions", "archives")]
        then = [each for each in told if each.name and each not in first]
        for each in told:
            if not each.name:
                self.unsaid += not each.held
                self._heard(each, each.held)
        await self._items_of(first)
        await self._items_of(then)

    async def _items_of(self, told: Sequence[Told]) -> None:
        if not told:
            return
        if await self._accepted(told):
            for each in told:
                self._heard(each, True)
            await self._lane.write([note for each in told for note in self._notes(each)])
        elif len(told) > 1:
            for each in told:
                await self._items_of([each])
        else:
            (one,) = told
            repaired = one.name == "memories" and await self._renamed(one)
            if not repaired:
                self.refused += 1
                log.warning("%s skips %s %s", self._url, one.record.kind, one.record.key)
            self._heard(one, repaired)

    async def _accepted(self, told: Sequence[Told], *, dry_run: bool = False) -> bool:
        lists: dict[str, list[Any]] = {}
        for each in told:
            lists.setdefault(each.name, []).append(each.item)
        body = json.dumps(push_body(self._sender, lists, dry_run=dry_run), ensure_ascii=False).encode()
        self.sent_bytes += len(body)
        status, content = await self._fetch("POST", PUSH, body)
        if status != 200:
            if status in (400, 413, 422):  # one of them may be the cause
                return False
            raise AimemError(f"{self._url} takes no push: status {status}")
        try:
            return all_taken(json.loads(content), len(told))
        except ValueError:
            return False

    async def _renamed(self, one: Told) -> bool:
        """A row whose id they hold under another title is skipped, for ever: it has to be taken away and put in anew,
        with its links and, where it is one, as the standard. Not where the row itself breaks a rule of theirs."""
        if not await self._accepted([one], dry_run=True):
            return False
        memory_id, namespace = one.item["id"], one.item["namespace"]
        away = Told(one.record, "deletions", memory_id)
        if not await self._accepted([away]) or not await self._accepted([one]):
            return False
        await self._lane.write(self._notes(one))
        links = [Told(each, "links", rows.link_row(each)) for each in await self._store.links([memory_id])]
        for link in links:
            await self._accepted([link])
        (standard,) = await self._store.get([Ref(STANDARD, namespace)])
        if standard is not None and not standard.deleted and standard.body.get("memory_id") == memory_id:
            await self._accepted([Told(standard, "namespace_meta", rows.standard_row(standard))])
        return True

    def _notes(self, told: Told) -> list[Intent]:
        record = told.record
        if record.kind not in (MEMORY, STANDARD, POLICY):
            return []
        version: Version | None = None if record.deleted else record.version
        return [bare.note(self._url, record.ref, version)]

    def _heard(self, told: Told, held: bool) -> None:
        """Tell the rounds that wait for this record, or for one that it has overtaken."""
        waiting = self._items.pop(told.record.ref, [])
        outcome: Outcome = Applied(self._url) if held and self._counts else Failed(REFUSED)
        for item in waiting:
            if item.record.version <= told.record.version:
                item.heard(self._url, outcome)
            else:
                self._items.setdefault(item.record.ref, []).append(item)
