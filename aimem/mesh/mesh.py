"""The mesh of one node: its peers, and the two phases of every caller's write.

First it asks: enough peers that one of them has heard of whatever was acknowledged before, for anything newer under
what the write reads. Then, when the write is durable here, it pushes and counts. The rules of both are in
`core.asking` and `core.quorum`; this file moves messages between them and the peers.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from aimem import __version__
from aimem.core.asking import Question, question_to_wire, questions
from aimem.core.identity_words import Identity
from aimem.core.intent import Intent
from aimem.core.kinds import TOUCH, VECTOR, kind_of
from aimem.core.pairs import Pair
from aimem.core.quorum import (
    UNREACHABLE,
    Failed,
    Met,
    NotMet,
    Policy,
    Round,
    describe,
    fits_in_one_rack,
    majority,
)
from aimem.core.record import Record, Ref
from aimem.core.upkeep import advance
from aimem.errors import AimemError, CatchingUp, ClockSkewed, Misconfigured
from aimem.limits import (
    MESH_BATCH_BYTES,
    MESH_BATCH_RECORDS,
    MESH_ITEMS_KEPT,
    MESH_KEEP_POSITIONS_SECS,
    MESH_QUESTIONS,
    MESH_READ_SHARE,
)
from aimem.mesh.batched import Batched
from aimem.mesh.carrying import carried
from aimem.mesh.item import Item, ItemKey, Spread
from aimem.mesh.messages import ASK, PROTOCOL, Envelope, list_of, records_of
from aimem.mesh.meters import MeshMeters
from aimem.mesh.peer import Peer
from aimem.mesh.pulling import Catchup
from aimem.mesh.pushing import Page, PushLane
from aimem.mesh.receiving import Receiving
from aimem.mesh.settings import Clock, MeshSettings, Transport
from aimem.mesh.standing import Standing
from aimem.node.background import Background
from aimem.node.lane import Lane, Turn
from aimem.node.metrics import Metric
from aimem.store.base import Change, Rehearsed, Store

log = logging.getLogger(__name__)

_ASKS_MAX = 3  # rounds of questions before one write: what the answers bring may raise new ones, hardly ever twice


class _Link:
    """All that belongs to one peer."""

    def __init__(self, peer: Peer, catchup: Catchup, ask: Batched[Sequence[Question], list[Record]]) -> None:
        self.peer = peer
        self.catchup = catchup
        self.ask = ask
        self.push: PushLane | None = None  # made when it is known who answers there
        self.kept = 0
        self.met = False


class Mesh:
    """Made over an open store; `start` begins to talk to the peers. Use from one event loop."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        settings: MeshSettings,
        transport: Transport,
        now: Clock,
        background: Background,
        rand: random.Random | None = None,
    ) -> None:
        self._store = store
        self._lane = lane
        self._settings = settings
        self._transport = transport
        self._now = now
        self._background = background
        self._rand = rand or random.Random()
        self._empty = store.head == 0
        self._seen = store.head
        self._own_origins = {store.start}
        self._items: OrderedDict[ItemKey, Item] = OrderedDict()
        self._rehearse: Batched[Intent, Rehearsed] = Batched(store.rehearse, MESH_QUESTIONS)
        self._readers: dict[str, int] = {}
        self.restamped = 0
        self._last_kept: dict[str, int] = {}
        self.standing = Standing(store, lane, now, settings.tombstone_days)
        self._links: list[_Link] = []
        self._links = [self._link(url) for url in settings.peers]
        self.receiving = Receiving(
            store,
            lane,
            now,
            envelope=self.envelope,
            heard=self._heard,
            took=self._took,
            read=self._note_read,
            poked=self._poked,
            bound=lambda source: source.behind or source.incarnation not in self._readers,
            carries_of=settings.carries_of,
            max_skew=settings.max_skew,
            keep_superseded=settings.keep_superseded,
        )
        self.meters = MeshMeters(self._peers_described, self._quarantined, self._drifted)
        _check(self.policy)

    def _link(self, url: str) -> _Link:
        peer = Peer(url, self._transport, self.envelope, self._now, self._rand)

        async def ask(batch: Sequence[Sequence[Question]]) -> list[list[Record]]:
            return await self._ask(peer, batch)

        async def take_in(records: Sequence[Record | str], source: Envelope, progress: dict[str, int] | None) -> None:
            await self.receiving.take_in(records, source, progress)

        catchup = Catchup(
            peer,
            self._store,
            take_in,
            lambda: self._came_back(link),
            self.standing.finished,
            lambda: self.envelope().behind,
            lambda node: self._settings.carries_of(node) is not None,
            self._settings.catchup_secs,
            self._rand,
        )
        peer.failed = catchup.poke  # one message lost must not leave it out until the next interval
        link = _Link(peer, catchup, Batched(ask, MESH_QUESTIONS // 8))
        return link

    # Who is who.

    @property
    def policy(self) -> Policy:
        """The quorum as it is with what is known of the peers: N is never lowered but by addresses that are ours."""
        nodes = 1 + sum(link.peer.counts for link in self._links)
        settings = self._settings
        writes = majority(nodes) if settings.writes is None else settings.writes
        return Policy(nodes, writes, settings.racks)

    @property
    def alone(self) -> bool:
        """Whether this node has no peers."""
        return not self._links

    @property
    def peers(self) -> list[Peer]:
        """The peers by address, this very process left out."""
        return [link.peer for link in self._links if link.peer.counts]

    def envelope(self) -> Envelope:
        """Who this node is, now."""
        settings, store = self._settings, self._store
        known = tuple(sorted({link.peer.node for link in self._links if link.peer.node and link.peer.counts}))
        return Envelope(
            settings.node,
            store.start,
            store.incarnation,
            self._now(),
            settings.rack,
            settings.zone,
            known,
            version=__version__,
            behind=bool(self._links) and self.standing.behind(self._met()),
        )

    def _met(self) -> list[Envelope | None]:
        """Who was ever met at the addresses. One where nobody ever was holds up nothing: it may not be built yet."""
        met = (link for link in self._links if link.peer.counts and (link.peer.identity is not None or link.met))
        return [link.peer.identity for link in met]

    async def start(self) -> None:
        """Begin: from here on own changes are pushed and peers are caught up with."""
        self._own_origins = {start for start, _ in await self._store.starts()}
        await self.standing.open()
        await self.receiving.open()
        kept = await self._store.positions("push/")
        reads = await self._store.positions("read/")
        self._readers = {name.removeprefix("read/"): seq for name, seq in reads.items()}
        for link in self._links:
            link.met = f"push/{link.peer.url}" in kept
            link.kept = kept.get(f"push/{link.peer.url}", 0)
        self._seen = self._store.head
        self._store.subscribe(self._committed)
        for link in self._links:
            self._background.start(f"catchup {link.peer.url}", link.catchup.run)
        if self._links:
            self._background.start("mesh positions", self._keep_positions)
        self._background.start("mesh quarantine", self._retry_quarantined)

    async def close(self) -> None:
        """Let go of the peers. What runs behind was ended by its owner already."""
        await self._rehearse.close()
        for link in self._links:
            await link.ask.close()
        await self._keep_now()
        await self._transport.close()

    async def answer(self, path: str, body: bytes, identity: Identity | None = None) -> bytes:
        """The reply to a peer's message. `identity` is what its certificate or key says of it."""
        return await self.receiving.answer(path, body, identity)

    # The first phase: ask.

    def _admit(self) -> None:
        """Raises: ClockSkewed, CatchingUp: this node must not take a client's write now."""
        skew = self._settings.max_skew
        offsets = [peer.offset for peer in self.peers if peer.up and peer.offset is not None]
        off = [offset for offset in offsets if abs(offset) > skew]
        if offsets and 2 * len(off) > len(offsets):
            raise ClockSkewed(
                f"this node's clock is {-off[0] / 1e9:+.1f} s off those of most peers, more than {skew / 1e9:g} s",
                hint="set the clock right (chronyc tracking tells); writes are taken again by themselves",
            )
        if self._links and self._store.clock > self._now() + skew:
            raise ClockSkewed(
                f"this store holds versions {(self._store.clock - self._now()) / 1e9:.1f} s ahead of this node's clock",
                hint="set the clock right, or wait until it has passed them",
            )
        if self._empty and self.peers and not any(link.catchup.finished.is_set() for link in self._links):
            raise CatchingUp(
                "this node is new and has not read any peer's feed to its end yet",
                hint="write to another node meanwhile; aimem status --peers shows how far it is",
            )

    async def order(self, intents: Sequence[Intent]) -> Turn:
        """Before a write: take in whatever is newer among the peers under what the intents read.

        Raises:
            ClockSkewed, CatchingUp: this node must not take a client's write now.
        """
        self._admit()
        began = asyncio.get_running_loop().time()
        policy = self.policy
        if not policy.asks:
            return Turn(policy.writes >= policy.nodes, began + self._settings.timeout)
        until = began + self._settings.timeout * MESH_READ_SHARE
        asked: set[Ref | Pair] = set()
        ordered = True
        for _ in range(_ASKS_MAX):
            rehearsed = await asyncio.gather(*(self._rehearse(intent) for intent in intents))
            raised = questions(read for each in rehearsed for read in each.reads)
            fresh = [question for about, question in raised.items() if about not in asked]
            if not fresh:
                break
            asked |= raised.keys()
            ordered, brought = await self._ask_peers(fresh, policy.reads - 1, until)
            if not brought or not ordered:
                break
        return Turn(ordered, began + self._settings.timeout)

    async def _ask_peers(self, asked: Sequence[Question], needed: int, until: float) -> tuple[bool, bool]:
        """Whether `needed` distinct peers answered in time, and whether any had something newer."""
        links = [link for link in self._links if link.peer.counts and link.peer.up]
        tasks = {asyncio.ensure_future(link.ask(asked)): link for link in links}
        for task in tasks:
            task.add_done_callback(_forget)  # late answers are not awaited
        pending = set(tasks)
        answered: set[str] = set()
        brought = False
        while pending and len(answered) < needed:
            done, pending = await asyncio.wait(
                pending,
                timeout=max(0.0, until - asyncio.get_running_loop().time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                break
            for task in done:
                source = tasks[task].peer.identity
                if task.exception() is not None or source is None or source.node == self._settings.node:
                    continue
                answered.add(source.node)
                if records := task.result():
                    brought = True
                    await self.receiving.take_in(records, source)
        return len(answered) >= needed, brought

    async def _ask(self, peer: Peer, batch: Sequence[Sequence[Question]]) -> list[list[Record]]:
        """One message with the questions of many writes; whoever asked gets all answers, merging is idempotent."""
        flat = list(dict.fromkeys(question for asked in batch for question in asked))
        found: list[Record] = []
        for at in range(0, len(flat), MESH_QUESTIONS):
            wire = [question_to_wire(question) for question in flat[at : at + MESH_QUESTIONS]]
            reply = await peer.call(ASK, {"questions": wire}, lane="ask", timeout=self._settings.timeout)
            records = records_of(list_of(reply, "records", 4 * MESH_QUESTIONS))
            found += [each for each in records if isinstance(each, Record)]
        return [found for _ in batch]

    # The second phase: push and count.

    async def spread(self, writes: Sequence[Sequence[Record]], turn: Turn) -> list[Met | NotMet]:
        """What the rounds of these writes, durable here, come to: each the records of one."""
        policy, loop = self.policy, asyncio.get_running_loop()
        peers = tuple(peer.url for peer in self.peers)
        if policy.writes > self._reachable():
            return [NotMet(1, policy.writes, UNREACHABLE) for _ in writes]
        spreads = []
        for records in writes:
            round = Round(policy, self._settings.node, peers, rack=self._settings.rack, ordered=turn.ordered)
            spreads.append(Spread(round, [self._item(record) for record in records if not kind_of(record.kind).local]))

        def time_is_up() -> None:
            for spread in spreads:
                spread.time_is_up()

        timer = loop.call_at(turn.deadline, time_is_up)
        try:
            results = list(await asyncio.gather(*(spread.done for spread in spreads)))
        finally:
            timer.cancel()
        for result in results:
            self.meters.acks.inc(result="met" if isinstance(result, Met) else "not_met")
            if isinstance(result, NotMet):
                self.meters.failures.inc(reason=result.reason)
            elif not turn.ordered:
                self.meters.unordered.inc()
        return results

    def _reachable(self) -> int:
        """How many distinct nodes there can be, by what is known of who answers where."""
        known = {peer.node for peer in self.peers if peer.node is not None and peer.node != self._settings.node}
        return 1 + len(known) + sum(peer.node is None for peer in self.peers)

    def _item(self, record: Record) -> Item:
        """The item of a record that was just committed. What is repeated goes out anew: what a peer said of it then it
        may have lost with its disk since."""
        item = self._items.pop((record.ref, record.version), None)
        return item if item is not None else self._send(self._made(record, 0))

    def _made(self, record: Record, seq: int) -> Item:
        return Item(record, seq, sum(link.peer.counts for link in self._links), self._forget_item)

    def _forget_item(self, item: Item) -> None:
        if self._items.get(item.key) is item:
            del self._items[item.key]

    def _send(self, item: Item) -> Item:
        for link in self._links:
            if not link.peer.counts:
                continue
            if link.push is not None:
                link.push.push(item)
            else:
                item.heard(link.peer.url, Failed(UNREACHABLE))
        return item

    def _committed(self, changes: Sequence[Change]) -> None:
        """The store has committed a group: own records go out."""
        for change in changes:
            self._seen = max(self._seen, change.seq)
            record = change.record
            if record is change.old or not self._links or (record.ref, record.version) in self.receiving.arriving:
                continue
            own = record.version.origin == self._store.start and record.kind != TOUCH
            if (own and not kind_of(record.kind).local) or record.kind == VECTOR:
                item = self._send(self._made(record, change.seq))
                self._items[item.key] = item
        while len(self._items) > MESH_ITEMS_KEPT:
            self._items.popitem(last=False)

    async def _own_after(self, after: int) -> Page:
        page = await self._store.changes(after, MESH_BATCH_RECORDS, MESH_BATCH_BYTES)
        own = [
            record
            for _, record in page.changes
            if record.version.origin in self._own_origins and record.kind != TOUCH and not kind_of(record.kind).local
        ]
        return own, page.cursor.seq if page.changes or page.more else self._seen

    # What is heard.

    def _came_back(self, link: _Link) -> None:
        node = link.peer.node
        if link.push is None and node is not None:
            link.push = PushLane(
                link.peer,
                self._own_after,
                lambda: self._seen,
                link.kept,
                self._settings.timeout,
                lambda records: carried(self._store, records, self._settings.carries_of(link.peer.node or "")),
            )
            self._background.start(f"push {link.peer.url}", link.push.run)
        if link.push is not None:
            link.push.came_back()
        if node == self._settings.node and not link.peer.is_self:
            log.error("%s says that it is node %s, as this one: it is not counted", link.peer.url, node)

    def _heard(self, sender: Envelope) -> None:
        for link in self._links:
            if link.peer.node in (None, sender.node):
                link.peer.heard_from()

    def _poked(self, node: str) -> None:
        for link in self._links:
            if link.peer.node in (None, node):
                link.catchup.poke()

    def _took(self, source: Envelope) -> None:
        """Something new came in: those of our peers that can't have it from its source are told to fetch it."""
        near = {source.node, self._settings.node, *source.peers}
        for link in self._links:
            if link.push is not None and link.peer.up and link.peer.node not in near:
                link.push.poke()

    def _note_read(self, source: Envelope, seq: int) -> None:
        self._readers[source.incarnation] = seq
        for link in self._links:
            if link.peer.node == source.node:
                link.peer.note_read(seq)

    def read_by_all(self) -> int:
        """Up to which `seq` every peer has read this store's feed: what is above must not be swept. A store that is
        behind sweeps nothing."""
        if self.envelope().behind:
            return 0
        incarnations = [peer.identity.incarnation if peer.identity is not None else "" for peer in self.peers]
        return min((self._readers.get(each, 0) for each in incarnations), default=self._store.head)

    # What is kept, and retried.

    async def _keep_positions(self) -> None:
        while True:
            await asyncio.sleep(MESH_KEEP_POSITIONS_SECS)
            await self._keep_now()

    async def _keep_now(self) -> None:
        positions = {f"push/{link.peer.url}": link.push.position for link in self._links if link.push is not None}
        positions |= {f"read/{node}": seq for node, seq in self._readers.items()}
        moved = {name: seq for name, seq in positions.items() if self._last_kept.get(name) != seq}
        if moved:
            await self._lane.write([advance(moved)])
            self._last_kept |= moved

    async def _restamp(self) -> None:
        """When most peers agree with this node's clock and its store is far ahead of it, the store was wrong.

        They are asked now: what they said before may be about the clock as it was before it was set back."""
        skew = self._settings.max_skew
        if self._store.clock <= self._now() + 2 * skew:
            return
        peers = self.peers
        said = await asyncio.gather(*(peer.hello() for peer in peers), return_exceptions=True)
        right = [peer for peer, failed in zip(peers, said, strict=True) if failed is None and peer.agrees(skew)]
        limit = self._now() + 2 * skew
        if self._store.clock > limit and 2 * len(right) > len(peers):
            self.restamped += await self._store.restamp(limit)
            log.error("%d records were written under a clock that ran ahead: they have new versions", self.restamped)

    async def _retry_quarantined(self) -> None:
        while True:
            await self._restamp()
            await self.receiving.retry()
            await asyncio.sleep(self._settings.catchup_secs or 30.0)

    # What is told.

    def warnings(self) -> list[str]:
        """What about the setting an operator should know, in words."""
        told = []
        policy = self.policy
        racks = [peer.identity.rack if peer.identity else None for peer in self.peers]
        if fits_in_one_rack(policy, self._settings.rack, racks):
            told.append(f"W={policy.writes} can be met inside rack {self._settings.rack}: see --quorum-racks")
        if policy.writes > self._reachable():
            told.append(f"W={policy.writes} can't be met: the addresses lead to {self._reachable()} nodes only")
        seen: dict[str, str] = {self._settings.node: "this node"}
        for link in self._links:
            if link.peer.is_self:
                told.append(f"{link.peer.url} is this very node: not counted")
            elif link.peer.node in seen:
                told.append(f"{link.peer.url} is the same node as {seen[link.peer.node or '']}: counted once")
            elif link.peer.node is not None:
                seen[link.peer.node] = link.peer.url
        return told

    def conditions(self) -> list[str]:
        """What keeps this node from doing its part, as stable codes."""
        if not self._links:
            return []
        found = []
        try:
            self._admit()
        except AimemError as error:
            found.append(error.code)
        if self.envelope().behind:
            found.append("behind")
        if self.policy.writes > 1 + sum(peer.up for peer in self.peers) or self.policy.writes > self._reachable():
            found.append("quorum_short")
        return found

    @property
    def metrics(self) -> Sequence[Metric]:
        """All that the mesh counts."""
        return self.meters.all

    def _drifted(self) -> int:
        return sum(link.catchup.repair.drifted for link in self._links)

    def _quarantined(self) -> int:
        return self.receiving.quarantined + self.standing.aside

    def _peers_described(self) -> list[Mapping[str, Any]]:
        time = asyncio.get_running_loop().time()
        return [_described(link, time) for link in self._links]

    def describe(self) -> dict[str, Any]:
        """The mesh as `status` shows it."""
        policy = self.policy
        return {
            "node": self._settings.node,
            "rack": self._settings.rack,
            "zone": self._settings.zone,
            "quorum": {
                "writes": policy.writes,
                "nodes": policy.nodes,
                "racks": policy.racks,
                "words": describe(policy),
                "warnings": self.warnings(),
            },
            "peers": self._peers_described(),
            "protocol": PROTOCOL,
            "behind": self.envelope().behind,
            "drifted": self._drifted(),
            "restamped": self.restamped,
            "quarantined": self._quarantined(),
            "max_skew_secs": self._settings.max_skew / 1e9,
            "clock_ahead_secs": max(0.0, (self._store.clock - self._now()) / 1e9),
        }


def _described(link: _Link, time: float) -> dict[str, Any]:
    peer, push = link.peer, link.push
    identity = peer.identity
    state = (
        "self"
        if peer.is_self
        else "unknown"
        if identity is None and peer.error is None
        else "up"
        if peer.up
        else "down"
    )
    return {
        "url": peer.url,
        "state": state,
        "node": peer.node,
        "rack": identity.rack if identity else None,
        "zone": identity.zone if identity else None,
        "version": identity.version if identity else None,
        "protocol": identity.protocol if identity else None,
        "clock_offset_secs": None if peer.offset is None else round(peer.offset / 1e9, 3),
        "last_heard_secs": None if peer.heard_at is None else round(time - peer.heard_at, 3),
        "lag_rows": link.catchup.lag,
        "lag_secs": None if link.catchup.ended_at is None else round(time - link.catchup.ended_at, 3),
        "push_waiting": push.waiting if push is not None else 0,
        "push_gap": push.gap if push is not None else 0,
        "caught_up": link.catchup.finished.is_set(),
        "pushed_bytes": peer.sent["push"],
        "error": peer.error,
    }


def _forget(task: asyncio.Future[Any]) -> None:
    """A late answer is not awaited; what it raised is told by the peer's state."""
    if not task.cancelled():
        task.exception()


def _check(policy: Policy) -> None:
    """Raises: Misconfigured: the quorum can't be met with these peers."""
    if policy.writes < 0:
        raise Misconfigured(f"--quorum-writes is {policy.writes}; it can't be negative")
    if policy.writes > policy.nodes:
        raise Misconfigured(
            f"--quorum-writes {policy.writes} can't be met by {policy.nodes} nodes (this one and its peers)",
            hint=f"a majority is {majority(policy.nodes)}",
        )
    if policy.racks < 1:
        raise Misconfigured("--quorum-racks must be at least 1")
