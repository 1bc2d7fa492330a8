"""The mesh of one node: who its peers are, what is heard of them, and whether this node may do its part.

A caller's write has two phases. `asking` asks enough peers that one of them has heard of whatever was acknowledged
before; when the write is durable here, `spreading` pushes it and counts. `pulling` catches up with each peer,
`receiving` answers what they send. The rules of all that are in `core`; here they are wired together.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aimem import __version__
from aimem.core.consensus import Ballot, Reply
from aimem.core.identity_words import Identity
from aimem.core.intent import Intent
from aimem.core.quorum import STORES, UNREACHABLE, Met, NotMet, Policy, describe
from aimem.core.record import Record, Ref
from aimem.core.taking import Taken
from aimem.errors import AimemError
from aimem.mesh.admitting import Admission
from aimem.mesh.asking import Asking
from aimem.mesh.carrying import carried
from aimem.mesh.electing import consult, electors
from aimem.mesh.in_flight import InFlight
from aimem.mesh.inquiry import Questions
from aimem.mesh.keeping import Positions
from aimem.mesh.legacy import Legacy
from aimem.mesh.links import Links, PeerLink
from aimem.mesh.messages import PROTOCOL, Envelope
from aimem.mesh.meters import MeshMeters
from aimem.mesh.neighbours import Neighbours
from aimem.mesh.peer import Peer
from aimem.mesh.pulling import Catchup
from aimem.mesh.pushing import PushLane
from aimem.mesh.readers import Readers
from aimem.mesh.receiving import Receiving
from aimem.mesh.settings import Clock, MeshSettings, Transport, check
from aimem.mesh.sharing import Witness, shares
from aimem.mesh.spreading import Spreading
from aimem.mesh.standing import Standing
from aimem.mesh.sweeping import Sweeping
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
        self._readers = Readers(store, lane)
        self._warned: set[str] = set()  # at the start nothing is known of the peers: it is logged as they answer
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
        self._neighbours = Neighbours(store, settings.node, settings.fleet, self._links, self._warn)
        self._admission = Admission(store, self._links, now, settings.max_skew)
        self._positions = Positions(store, lane, self._links, self._readers, settings.node, self._refresh)
        self._sweeping = Sweeping(store, self._links, self._readers, lambda: self.envelope().behind, settings.max_skew)
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
        self.meters = MeshMeters(
            self._peers_described, self._quarantined, self._drifted, lambda: len(self._neighbours.strangers)
        )
        check(self.policy)

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
        return self._settings.policy(1 + len(self._links.others))

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
        await self._positions.open()
        await self._spreading.open()
        if self._links:  # without peers nobody reads it
            self._tail.open()
        for link in self._links:
            self._background.start(f"catchup {link.peer.url}", link.catchup.run)
            self._background.start(f"legacy {link.peer.url}", link.legacy.run)
        if self._links:
            self._background.start("mesh positions", self._positions.run)
        self._background.start("mesh quarantine", self._retry_quarantined)
        await self._neighbours.look()
        self._background.start("mesh neighbours", self._neighbours.run)

    async def close(self) -> None:
        """Let go of the peers. What runs behind was ended by its owner already."""
        await self._asking.close()
        for link in self._links:
            await link.witness.close()
        with suppress(AimemError):  # of a store that can't be written now: peers are told again what they hold
            await self._positions.keep()
        await self._neighbours.leave()
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

    # The two phases of a caller's write.

    async def order(self, intents: Sequence[Intent]) -> Turn:
        """See `Fleet.order`."""
        self._admission.check()
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
        self._warn()

    def _warn(self) -> None:
        """Log what was not logged yet."""
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

    # What else a node asks of its fleet: see `Fleet`.

    async def consult(self, elector: str, question: str, step: str, ballot: Ballot, value: Any) -> Reply | None:
        """What an elector says."""
        return await consult(self._links, elector, question, step, ballot, value, self._settings.timeout)

    def latest(self) -> int:
        """See `Fleet.latest`."""
        return self.receiving.latest()

    async def ask_all(self, refs: Sequence[Ref]) -> tuple[str, ...]:
        """See `Fleet.ask_all`."""
        answered = await self._asking.everybody(refs)
        return tuple(link.peer.url for link in self._links.outside if link.peer.node not in answered)

    def electors(self, lost: Collection[str] = ()) -> tuple[str, ...]:
        """This store, and those of peers that were met, the reachable ones first."""
        return electors(self._store, self._settings.rack, self._links, lost)

    def hears(self, start: str) -> bool | None:
        """Whether the process of this start is a peer's and answers; None where no peer is known by it."""
        known = [peer.up for peer in self.peers if peer.identity is not None and peer.identity.start == start]
        return any(known) if known else None

    def read_by_all(self) -> int:
        """Up to which `seq` every peer has read this store's feed."""
        return self._sweeping.read_by_all()

    def unswept(self, until: int) -> None:
        """Told after each sweep: up to which `seq` tombstones are old enough to go, and were not read by all."""
        self._sweeping.unswept = until

    async def pass_by(self, until: int, floor: int) -> bool:
        """Tombstones are about to be swept that not all have read: note who. False when none may be swept."""
        return await self._sweeping.pass_by(until, floor)

    async def _refresh(self) -> None:
        """Take in what other nodes on this store found out and noted there."""
        if self._store.shared:
            await self._readers.refresh()
            await self.standing.open()

    async def _retry_quarantined(self) -> None:
        started = True
        while True:
            await self._admission.restamp()
            await self.receiving.retry(started=started)
            started = False
            await asyncio.sleep(self._settings.catchup_secs or 30.0)

    # What is told.

    def warnings(self) -> list[str]:
        """What about the setting an operator should know, in words."""
        told = warnings(self.policy, self._settings.node, self._settings.rack, self._store.incarnation, self._links)
        return [*told, *self._neighbours.warnings()]

    def conditions(self) -> list[str]:
        """What keeps this node from doing its part, as stable codes."""
        if not self._links:
            return []
        found = []
        try:
            self._admission.check()
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
        return [described(link, time, holds_up=self._sweeping.held_up_by(link.peer)) for link in self._links]

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
            "stores": stores_told(self._settings.node, self._store.incarnation, self._links)
            | {"others": self._neighbours.others},
            "protocol": PROTOCOL,
            "count_legacy_acks": self._settings.count_legacy_acks,
            "legacy_skipped": self.legacy.taking.skipped,
            "behind": self.envelope().behind,
            "drifted": self._drifted(),
            "restamped": self._admission.restamped,
            "quarantined": self._quarantined(),
            "max_skew_secs": self._settings.max_skew / 1e9,
            "clock_ahead_secs": max(0.0, (self._store.clock - self._now()) / 1e9),
        }
