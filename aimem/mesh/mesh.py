"""The mesh of one node: who its peers are, what is heard of them, and whether this node may do its part.

A caller's write has two phases. `asking` asks enough peers that one of them has heard of whatever was acknowledged
before; when the write is durable here, `spreading` pushes it and counts. `pulling` catches up with each peer,
`receiving` answers what they send. The rules of all that are in `core`; here they are wired together.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from aimem import __version__
from aimem.core.consensus import Ballot, Reply, reply_from_wire
from aimem.core.identity_words import Identity
from aimem.core.intent import Intent
from aimem.core.parking import electors_of
from aimem.core.quorum import STORES, UNREACHABLE, Met, NotMet, Policy, describe, majority
from aimem.core.record import Record
from aimem.core.taking import Taken
from aimem.core.upkeep import advance
from aimem.errors import AimemError, CatchingUp, ClockSkewed, Misconfigured
from aimem.limits import MESH_KEEP_POSITIONS_SECS
from aimem.mesh.asking import Asking
from aimem.mesh.carrying import carried
from aimem.mesh.in_flight import InFlight
from aimem.mesh.inquiry import Questions
from aimem.mesh.legacy import Legacy
from aimem.mesh.links import Links, PeerLink
from aimem.mesh.messages import ELECT, PROTOCOL, Envelope
from aimem.mesh.meters import MeshMeters
from aimem.mesh.peer import Peer
from aimem.mesh.pulling import Catchup
from aimem.mesh.pushing import PushLane
from aimem.mesh.readers import Readers
from aimem.mesh.receiving import Receiving
from aimem.mesh.settings import Clock, MeshSettings, Transport
from aimem.mesh.sharing import Witness, shares
from aimem.mesh.spreading import Spreading
from aimem.mesh.standing import Standing
from aimem.mesh.tail import Tail
from aimem.mesh.telling import described, racks_of, reachable, stores_of, stores_reachable, stores_told, warnings
from aimem.node.background import Background
from aimem.node.lane import Lane, Turn
from aimem.node.metrics import Metric
from aimem.store.base import Store

log = logging.getLogger(__name__)


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
        self._readers = Readers(store, lane)
        self._unswept = 0
        self.restamped = 0
        self._warned: set[str] = set()  # at the start nothing is known of the peers: it is logged as they answer
        self._last_kept: dict[str, int] = {}
        self.standing = Standing(store, lane, now, settings.tombstone_days, self._risen)
        self._in_flight = InFlight()
        self._tail = Tail(store)
        self.receiving = Receiving(
            store,
            lane,
            now,
            envelope=self.envelope,
            heard=self._heard,
            took=self._took,
            read=self._note_read,
            poked=self._poked,
            floor_for=self._readers.floor_for,
            carries_of=settings.carries_of,
            max_skew=settings.max_skew,
            keep_superseded=settings.keep_superseded,
            tail=self._tail,
        )
        self.legacy = Legacy(store, lane, self.receiving, settings, transport, now, self._took)
        self._links = Links(settings.peers, self._link)
        self._asking = Asking(store, self._links, self._take_in, settings.node, settings.timeout)
        self._spreading = Spreading(
            store,
            self._links,
            self.receiving.arriving,
            settings.node,
            settings.rack,
            lambda: self.policy,
            self._passed_on,
        )
        self.meters = MeshMeters(self._peers_described, self._quarantined, self._drifted)
        _check(self.policy)

    def _link(self, url: str) -> PeerLink:
        peer = Peer(url, self._store.start, self._transport, self.envelope, self._now, self._rand)
        catchup = Catchup(
            peer,
            self._store,
            self._take_in,
            lambda: self._came_back(link),
            self.standing.finished,
            lambda: self._shares(link),
            lambda: self.envelope().behind,
            lambda node: self._settings.carries_of(node) is not None,
            self._in_flight,
            self._tail,
            self._settings.catchup_secs,
            self._rand,
        )
        legacy = self.legacy.at(peer)

        def failed() -> None:
            catchup.poke()  # one message lost must not leave it out until the next interval
            legacy.look()

        peer.failed = failed
        peer.trusted = catchup.poke  # nor must a node that is behind, as it finds now, wait for it
        peer.restarted = catchup.poke
        timeout = self._settings.timeout
        link = PeerLink(peer, legacy, catchup, Questions(peer, timeout), Witness(peer, timeout))
        return link

    async def _shares(self, link: PeerLink) -> bool:
        """Whether a peer speaks for the store of this node: found out once for each of its starts."""
        identity = link.peer.identity
        if identity is not None and identity.start != link.looked_at:
            link.proven = identity.start if await shares(self._store, link.peer) else None
            link.looked_at = identity.start
        return link.shares

    async def _take_in(
        self, records: Sequence[Record | str], source: Envelope, progress: dict[str, int] | None
    ) -> Sequence[Taken]:
        return await self.receiving.take_in(records, source, progress)

    # Who is who.

    @property
    def policy(self) -> Policy:
        """The quorum as it is with what is known of the peers: N is never lowered but by addresses that are ours."""
        nodes = 1 + len(self._links.others)
        settings = self._settings
        writes = majority(nodes) if settings.writes is None else settings.writes
        if writes > 0:
            writes = max(writes, settings.racks)  # so many racks need as many nodes
        return Policy(nodes, writes, settings.racks, writes if settings.stores_count else 1)

    @property
    def alone(self) -> bool:
        """Whether this node has no peers."""
        return not self._links

    @property
    def peers(self) -> list[Peer]:
        """The peers by address, this very process left out."""
        return [link.peer for link in self._links.others]

    def envelope(self) -> Envelope:
        """Who this node is, now."""
        settings, store = self._settings, self._store
        return Envelope(
            settings.node,
            store.start,
            store.incarnation,
            self._now(),
            settings.rack,
            settings.zone,
            self._links.known,
            version=__version__,
            behind=any(not link.legacy.known and not link.shares for link in self._links.others)
            and self.standing.behind(self._met),
        )

    def _met(self) -> list[Envelope | None]:
        """Who was ever met at the addresses. One where nobody ever was holds up nothing: it may not be built yet."""
        met = (link for link in self._links.outside if (link.peer.identity is not None or link.met))
        return [link.peer.identity for link in met]

    async def start(self) -> None:
        """Begin: from here on own changes are pushed and peers are caught up with."""
        await self.standing.open()
        if self._links:
            await self.standing.join()
        await self.receiving.open()
        kept = await self._store.positions("push/")
        await self._readers.open()
        for link in self._links:
            link.met = self._position_of(link) in kept
            link.kept = kept.get(self._position_of(link), 0)
        await self._spreading.open()
        if self._links:  # without peers nobody reads it
            self._tail.open()
        for link in self._links:
            self._background.start(f"catchup {link.peer.url}", link.catchup.run)
            self._background.start(f"legacy {link.peer.url}", link.legacy.run)
        if self._links:
            self._background.start("mesh positions", self._keep_positions)
        self._background.start("mesh quarantine", self._retry_quarantined)

    async def close(self) -> None:
        """Let go of the peers. What runs behind was ended by its owner already."""
        await self._asking.close()
        for link in self._links:
            await link.witness.close()
        await self._keep_now()
        await self._transport.close()

    async def answer(self, path: str, body: bytes, identity: Identity | None = None) -> bytes:
        """The reply to a peer's message. `identity` is what its certificate or key says of it."""
        return await self.receiving.answer(path, body, identity)

    async def legacy_push(self, raw: Any, address: str, identity: Identity | None = None) -> dict[str, Any]:
        """The reply to a push of a node of the existing system."""
        return await self.legacy.push(raw, address, identity)

    async def legacy_since(self, params: Mapping[str, str], identity: Identity | None = None) -> dict[str, Any]:
        """The memories that such a node has not seen yet, by the stamp that it shows."""
        return await self.legacy.since(params, identity)

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
        if self._empty and self.peers and not self._caught_up():
            raise CatchingUp(
                "this node is new and has not read any peer's feed to its end yet",
                hint="write to another node meanwhile; aimem status --peers shows how far it is",
            )

    def _caught_up(self) -> bool:
        """Whether a peer's feed was read to its end. Those on the same store have none of their own: where nobody else
        was ever met, there is nothing to read."""
        outside = self._links.outside
        if len(outside) < len(self._links.others) and not any(link.peer.identity or link.met for link in outside):
            return True
        return any(link.caught_up for link in outside)

    # The two phases of a caller's write.

    async def order(self, intents: Sequence[Intent]) -> Turn:
        """See `Fleet.order`."""
        self._admit()
        return await self._asking.order(intents, self.policy)

    async def spread(self, writes: Sequence[Sequence[Record]], turn: Turn) -> list[Met | NotMet]:
        """See `Fleet.spread`."""
        policy = self.policy
        if policy.writes > reachable(self._settings.node, self._links):
            return [NotMet(1, policy.writes, UNREACHABLE) for _ in writes]
        if policy.stores > stores_reachable(self._store.incarnation, self._links):
            return [NotMet(1, policy.stores, STORES) for _ in writes]
        results = await self._spreading.spread(writes, turn, policy)
        for result in results:
            self.meters.acks.inc(result="met" if isinstance(result, Met) else "not_met")
            if isinstance(result, NotMet):
                self.meters.failures.inc(reason=result.reason)
            elif not turn.ordered:
                self.meters.unordered.inc()
        return results

    # What is heard.

    def _came_back(self, link: PeerLink) -> None:
        node = link.peer.node
        link.legacy.replaced()
        if link.push is None and node is not None and not link.shares:
            link.push = PushLane(
                link.peer,
                self._spreading.own_after,
                lambda: self._spreading.seen,
                link.kept,
                self._settings.timeout,
                lambda records: carried(self._store, records, self._settings.carries_of(link.peer.node or "")),
            )
            self._background.start(f"push {link.peer.url}", link.push.run)
        if link.push is not None:
            link.push.came_back()
        if node == self._settings.node and not link.peer.is_self:
            log.error("%s says that it is node %s, as this one: it is not counted", link.peer.url, node)
        for words in self.warnings():
            if words not in self._warned:
                self._warned.add(words)
                log.warning("%s", words)

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
        self._poke_beyond({source.node, *source.peers})

    def _passed_on(self) -> None:
        """Another node on this store wrote something, or took it in: it has told its own peers."""
        others = [link.peer.identity for link in self._links.sharing if link.peer.up]
        self._poke_beyond({node for other in others if other is not None for node in (other.node, *other.peers)})

    def _poke_beyond(self, near: set[str]) -> None:
        for link in self._links.outside:
            if link.push is not None and link.peer.up and link.peer.node not in near:
                link.push.poke()

    def _risen(self) -> None:
        """This store is behind no longer: peers that asked meanwhile were shown nothing, and may be behind themselves
        now that one of theirs is not."""
        for link in self._links:
            if link.push is not None and link.peer.up:
                link.push.poke()

    def _note_read(self, source: Envelope, seq: int) -> None:
        self._readers.note(source, seq)
        for link in self._links:
            if link.peer.node == source.node:
                link.peer.note_read(seq)

    async def consult(self, elector: str, question: str, step: str, ballot: Ballot, value: Any) -> Reply | None:
        """What an elector says; see `Fleet`."""
        fields = {"elector": elector, "question": question, "step": step, "ballot": str(ballot), "value": value}
        for peer in self.peers:
            if peer.identity is not None and peer.identity.incarnation == elector and peer.up:
                try:
                    told = await peer.call(ELECT, fields, lane="elect", timeout=self._settings.timeout)
                    return reply_from_wire(told["reply"]) if isinstance(told.get("reply"), dict) else None
                except AimemError as error:
                    log.info("elector %s: %s", peer.url, error.message)
        return None

    def latest(self) -> int:
        """See `Fleet.latest`."""
        return self.receiving.latest()

    def electors(self) -> tuple[str, ...]:
        """This store, and those of peers that were met, the reachable ones first."""
        met = sorted((link.peer for link in self._links.outside), key=lambda peer: not peer.up)
        stores = [(peer.identity.incarnation, peer.identity.rack) for peer in met if peer.identity is not None]
        return electors_of(self._store.incarnation, self._settings.rack, stores)

    def hears(self, start: str) -> bool | None:
        """See `Fleet.hears`."""
        known = [peer.up for peer in self.peers if peer.identity is not None and peer.identity.start == start]
        return any(known) if known else None

    def read_by_all(self) -> int:
        """Up to which `seq` every peer has read this store's feed: what is above must not be swept. A store that is
        behind sweeps nothing."""
        if self.envelope().behind:
            return 0
        return self._readers.by_all(map(_incarnation, self._readers_waited_for()))

    def unswept(self, until: int) -> None:
        """See `Fleet.unswept`."""
        self._unswept = until

    async def pass_by(self, until: int, floor: int) -> bool:
        """See `Fleet.pass_by`."""
        if self.envelope().behind:
            return False
        noted = await self._readers.pass_by(until, floor + 2 * self._settings.max_skew)
        if noted and self._store.shared:
            await asyncio.sleep(2 * MESH_KEEP_POSITIONS_SECS)  # until the other nodes on this store have read it there
        return True

    def _readers_waited_for(self) -> list[Peer]:
        """The peers that are to have read a tombstone before it goes. Those of the existing system never read any, and
        those on the same store need not."""
        return [link.peer for link in self._links.outside if not link.legacy.known]

    def _holds_up(self, peer: Peer) -> bool:
        return peer in self._readers_waited_for() and self._readers.read(_incarnation(peer)) < self._unswept

    # What is kept, and retried.

    async def _keep_positions(self) -> None:
        while True:
            await asyncio.sleep(MESH_KEEP_POSITIONS_SECS)
            await self._keep_now()
            if self._store.shared:  # other nodes note there too what they find out
                await self._readers.refresh()
                await self.standing.open()

    def _position_of(self, link: PeerLink) -> str:
        """Under which name it is kept how far a peer has the own feed: of a shared store each node has lanes of its
        own."""
        return f"push/{self._settings.node}/{link.peer.url}" if self._store.shared else f"push/{link.peer.url}"

    async def _keep_now(self) -> None:
        positions = {self._position_of(link): link.push.position for link in self._links.outside if link.push}
        positions |= self._readers.positions()
        moved = {name: seq for name, seq in positions.items() if self._last_kept.get(name) != seq}
        if changed := {**moved, **self._readers.gone()}:
            await self._lane.write([advance(changed)])
            self._last_kept |= moved
            self._readers.kept()

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
        started = True
        while True:
            await self._restamp()
            await self.receiving.retry(started=started)
            started = False
            await asyncio.sleep(self._settings.catchup_secs or 30.0)

    # What is told.

    def warnings(self) -> list[str]:
        """What about the setting an operator should know, in words."""
        return warnings(self.policy, self._settings.node, self._settings.rack, self._store.incarnation, self._links)

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
        up, policy = [link.peer for link in self._links if link.peer.counts and link.up], self.policy
        enough = policy.writes <= min(1 + len(up), reachable(self._settings.node, self._links))
        enough = enough and policy.stores <= len(stores_of(self._store.incarnation, up))
        if not enough or (policy.racks > 1 and policy.racks > racks_of(self._settings.rack, up)):
            found.append("quorum_short")
        return found

    @property
    def metrics(self) -> Sequence[Metric]:
        """All that the mesh counts."""
        return self.meters.all

    def _drifted(self) -> int:
        return sum(link.catchup.repair.drifted for link in self._links)

    def _quarantined(self) -> int:
        return len(self.receiving.aside)

    def _peers_described(self) -> list[Mapping[str, Any]]:
        time = asyncio.get_running_loop().time()
        return [described(link, time, holds_up=self._holds_up(link.peer)) for link in self._links]

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
            "stores": stores_told(self._settings.node, self._store.incarnation, self._links),
            "protocol": PROTOCOL,
            "count_legacy_acks": self._settings.count_legacy_acks,
            "legacy_skipped": self.legacy.taking.skipped,
            "behind": self.envelope().behind,
            "drifted": self._drifted(),
            "restamped": self.restamped,
            "quarantined": self._quarantined(),
            "max_skew_secs": self._settings.max_skew / 1e9,
            "clock_ahead_secs": max(0.0, (self._store.clock - self._now()) / 1e9),
        }


def _incarnation(peer: Peer) -> str:
    """The store behind a peer; that of one that was not met has no name."""
    return peer.identity.incarnation if peer.identity is not None else ""


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
