"""A node: the use cases over one store, wired together. Each is in a file of its own; this one only opens and closes.

Whoever gives a node to the world (HTTP, the command line on a file) calls these methods with what the caller sent, and
prints what they return. Refusals are `AimemError`s. `reach` is what the caller of a read sees, None for everything;
that of a write is in its `Caller`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from aimem.core.identity_words import Identity
from aimem.core.reach import Reach
from aimem.core.writes import Answer
from aimem.errors import AimemError, Moved
from aimem.limits import DECISION_PATIENCE_SECS, EMBED_PATIENCE_SECS
from aimem.node.agents import Agents
from aimem.node.archiving import Archiving
from aimem.node.background import Background
from aimem.node.caller import Caller
from aimem.node.capabilities import SECOND
from aimem.node.conditions import MOVED, Conditions
from aimem.node.contradicting import Contradicting
from aimem.node.courier import Courier
from aimem.node.deciding import Deciding
from aimem.node.describing import Describing
from aimem.node.duplicates import Duplicates
from aimem.node.entities import Entities
from aimem.node.fencing import Fence
from aimem.node.granting import Granting
from aimem.node.graph import Graph
from aimem.node.housekeeping import Housekeeping
from aimem.node.lane import CallersLane, Fleet, Lane
from aimem.node.linking import Linking
from aimem.node.messages import Messages
from aimem.node.metrics import Meters, Metric
from aimem.node.moving import Moving
from aimem.node.parameters import Parameters
from aimem.node.pending import Pending
from aimem.node.positions import Positions
from aimem.node.quarantining import Quarantining
from aimem.node.reading import Reading
from aimem.node.recalling import Recalling
from aimem.node.reopening import Reopening
from aimem.node.retiring import Retiring
from aimem.node.ruling import Ruling
from aimem.node.sessions import Sessions
from aimem.node.settings import SEMANTIC, NodeSettings
from aimem.node.subscribers import Subscribers
from aimem.node.subscriptions import Subscriptions
from aimem.node.touching import Touching
from aimem.node.writing import Writing
from aimem.store.base import SearchingStore, Store

if TYPE_CHECKING:
    from aimem.node.meaning import Meaning
    from aimem.store.postgres.inspection import Inspection
    from aimem.store.postgres.url import Target

log = logging.getLogger(__name__)

MakeFleet = Callable[[Store, Lane, Background], Fleet]
"""Makes the fleet of a node over its open store, from the lane for what peers send and the owner of background work."""


class Node:
    """Made by `open`. Use from one event loop."""

    def __init__(
        self,
        store: Store,
        settings: NodeSettings,
        now: Callable[[], int],
        make_fleet: MakeFleet | None = None,
        rand: random.Random | None = None,
        server: Inspection | None = None,
    ) -> None:
        rand = rand or random.SystemRandom()
        self._store = store
        self._server = server
        self._meters = Meters()
        self._background = Background(self._meters)
        conditions = Conditions()
        lane = Lane(store, conditions, now)
        self.fleet: Fleet | None = make_fleet(store, lane, self._background) if make_fleet is not None else None
        self.subscribers = Subscribers(store)
        callers = CallersLane(store, conditions, now, self.fleet, lambda: self.subscribers.listening)
        self.courier = Courier(
            store,
            lane,
            self.subscribers,
            self.fleet,
            self._meters,
            now,
            networks=settings.webhook_networks,
            give_up_secs=settings.webhook_give_up_secs,
            rand=rand,
        )

        def fenced(refusal: Moved | None) -> None:
            if refusal is None:
                conditions.clear(MOVED)
            else:
                conditions.set(MOVED, refusal.message, now())

        self._fence = Fence(store, fenced)
        self._meaning = self._make_meaning(lane, conditions, settings, now) if settings.tier == SEMANTIC else None
        self.touching = Touching(store, lane, self._meters, settings.ttl)
        self.housekeeping = Housekeeping(store, lane, conditions, self._meters, settings, now, self.fleet)
        self._writing = Writing(
            store,
            callers,
            self.touching,
            self._meters,
            settings.ttl,
            now,
            keep_superseded=settings.archive_superseded,
        )
        self._reading = Reading(store, self.touching, now)
        self.positions = Positions(store)
        self._duplicates = Duplicates(store, self._meaning, now)
        self._graph = Graph(store, now)
        self._entities = Entities(store, callers)
        self._contradicting = Contradicting(store, self.touching, now)
        self._messages = Messages(store, callers, self._writing, self._reading, now, rand)
        self._subscriptions = Subscriptions(store, callers, self.courier, settings.webhook_networks)
        self._agents = Agents(store, callers)
        self._granting = Granting(store, callers, require_identity=settings.require_identity)
        self._ruling = Ruling(store, callers)
        self._sessions = Sessions(store, self.touching, self._ruling, now)
        self.deciding = Deciding(store, lane, callers, self.fleet, now, rand)
        self._pending = Pending(store, callers, self.deciding, DECISION_PATIENCE_SECS)
        self._reopening = Reopening(store, lane, callers, self.deciding, self.fleet)
        self._linking = Linking(store, callers)
        self._archiving = Archiving(store, callers, self.housekeeping, settings.ttl, now)
        self._retiring = Retiring(store, callers, self.housekeeping, keep=settings.archive_on_gc, now=now)
        self._quarantining = Quarantining(store, lane, callers)
        self._moving = Moving(store, callers, self._reading.shown, now, by_hand=settings.by_hand)
        self._recalling = Recalling(store, self.touching, self._meters, now, self._meaning)
        self._describing = Describing(
            store,
            settings,
            conditions,
            self._meters,
            self._meaning,
            now,
            self._ruling,
            self.deciding,
            self.subscribers,
            self.fleet,
            server,
        )

    def _make_meaning(
        self, lane: Lane, conditions: Conditions, settings: NodeSettings, now: Callable[[], int]
    ) -> Meaning:
        from aimem.node.meaning import Meaning  # native libraries, which the keyword tier must not need

        patience = 0.0 if self.fleet is None or self.fleet.alone else EMBED_PATIENCE_SECS
        return Meaning(
            self._store,
            lane,
            conditions,
            self._meters,
            self._background,
            settings.model,
            now,
            patience=patience,
            memory_max=settings.memory_max,
        )

    @classmethod
    async def open(
        cls,
        settings: NodeSettings,
        *,
        store: Store | None = None,
        now: Callable[[], int] = time.time_ns,
        make_fleet: MakeFleet | None = None,
        rand: random.Random | None = None,
    ) -> Node:
        """Open the database that `settings` name (or take the `store` that is given), join the fleet if there is one,
        and start what runs behind. Returns when recall by words can be answered; recall by meaning follows.

        Raises:
            AimemError: the database or the model can't be used; which, and what to do, is said.
        """
        server = None
        if store is None and settings.shared is not None:
            store, server = await _open_shared(settings.shared, settings, now)
        elif store is None:
            from aimem.store.sqlite.store import open_sqlite

            store = await open_sqlite(settings.db, now=now, allow_network_fs=settings.allow_network_fs)
        try:
            node = cls(store, settings, now, make_fleet, rand, server)
            await node._fence.open()
            if node._meaning is not None:
                await node._meaning.open()
            await node.subscribers.load()
            await node._granting.load()
            if node.fleet is not None:
                await node.fleet.start()
        except BaseException:
            await store.close()
            raise
        node._background.start("touches", node.touching.run)
        node._background.start("housekeeping", node.housekeeping.run)
        node._background.start("deciding", node.deciding.run)
        node._background.start("webhooks", node.courier.run)
        node._background.start("webhook-notes", node.courier.note)
        return node

    def store_warnings(self) -> list[str]:
        """What about the server of a shared store an operator should know."""
        return [] if self._server is None else self.store_made() + self._server.warnings()

    def store_made(self) -> list[str]:
        """That there was no shared store where this node looked for it; nothing where there was."""
        return [] if self._server is None else self._server.made()

    async def close(self) -> None:
        """End what runs behind, write the touches that are gathered, let go of the store. Idempotent."""
        await self._background.close()
        if self._meaning is not None:
            await self._meaning.close()
        try:
            await self.touching.fold()
        except AimemError as error:
            log.warning("gathered touches are lost: %s", error)
        try:
            await self.courier.close()
        except AimemError as error:
            log.warning("webhooks told last are told again after the next start: %s", error)
        if self.fleet is not None:
            await self.fleet.close()
        await self._store.close()

    async def outdated(self) -> None:
        """Wait until all that this node keeps in memory is of a past that its store has lost: then another one is to be
        opened in its place. For ever where that can't be."""
        if isinstance(self._store, SearchingStore):
            await self._store.rewound()
        else:
            await asyncio.Event().wait()

    async def create(self, raw: object, caller: Caller) -> Answer:
        """Store one memory."""
        return await self._writing.create(raw, caller)

    async def bulk(self, raw: object, caller: Caller) -> Answer:
        """Store many memories."""
        return await self._writing.bulk(raw, caller)

    async def update(self, memory_id: str, raw: object, caller: Caller) -> Answer:
        """Change the named fields of a memory."""
        return await self._writing.update(memory_id, raw, caller)

    async def delete(self, memory_id: str, raw: object | None, caller: Caller) -> Answer:
        """Delete a memory."""
        return await self._writing.delete(memory_id, raw, caller)

    async def promote(self, memory_id: str, caller: Caller, raw: object | None = None) -> Answer:
        """Make a memory long-lived."""
        return await self._writing.promote(memory_id, raw, caller)

    def reach(self, identity: Identity | None) -> Reach | None:
        """What the caller with a line sees; None for everything."""
        return self._granting.reach(identity)

    async def grant(self, memory_id: str, raw: object, caller: Caller) -> Answer:
        """Let an agent read a memory."""
        return await self._granting.grant(memory_id, raw, caller)

    async def revoke(self, memory_id: str, raw: object, caller: Caller) -> Answer:
        """Take that back."""
        return await self._granting.revoke(memory_id, raw, caller)

    async def get(self, memory_id: str, reach: Reach | None = None) -> dict[str, Any]:
        """One memory."""
        return await self._reading.get(memory_id, reach)

    async def list(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """A page of memories."""
        return await self._reading.list(params, reach)

    async def search(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """Memories that hold all words of a query."""
        return await self._reading.search(params, reach)

    async def recall(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """Memories that answer a question."""
        return await self._recalling.recall(params, caller)

    async def namespaces(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """Namespaces and their sizes."""
        return await self._reading.namespaces(params, reach)

    async def taxonomy(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """Namespaces as a tree."""
        return await self._reading.taxonomy(params, reach)

    async def graph_query(self, raw: object, reach: Reach | None = None) -> dict[str, Any]:
        """What links lead to."""
        return await self._graph.query(raw, reach)

    async def graph_timeline(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """The links of a memory by time."""
        return await self._graph.timeline(params, reach)

    async def lineage(self, memory_id: str, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """What a memory was made of, or what was made of it."""
        return await self._graph.lineage(memory_id, params, reach)

    async def register_entity(self, raw: object, caller: Caller) -> Answer:
        """Make an entity, or name it."""
        return await self._entities.register(raw, caller)

    async def entity_by_alias(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """The entity of a name."""
        return await self._entities.by_alias(params, reach)

    async def contradictions(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """Memories that may contradict each other."""
        return await self._contradicting.listed(params, reach)

    async def start_session(self, raw: object, caller: Caller) -> dict[str, Any]:
        """What an agent is told when it begins."""
        return await self._sessions.start(raw, caller)

    async def check_duplicate(self, raw: object, reach: Reach | None = None) -> dict[str, Any]:
        """Whether a text is there already."""
        return await self._duplicates.check(raw, reach)

    async def register_agent(self, raw: object, caller: Caller) -> Answer:
        """Register an agent."""
        return await self._agents.register(raw, caller)

    async def agents(self, params: Parameters) -> dict[str, Any]:
        """All agents."""
        return await self._agents.listed(params)

    async def notify(self, raw: object, caller: Caller) -> Answer:
        """Send a message to an agent."""
        return await self._messages.notify(raw, caller)

    async def inbox(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """The messages of an agent."""
        return await self._messages.inbox(params, caller)

    async def mark_read(self, memory_id: str, params: Parameters, caller: Caller) -> Answer:
        """Mark a message as read."""
        return await self._messages.mark_read(memory_id, params, caller)

    async def subscribe(self, raw: object, caller: Caller) -> Answer:
        """Ask to be told of events."""
        return await self._subscriptions.add(raw, caller)

    async def subscriptions(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """Who is told of what."""
        return await self._subscriptions.listed(params, caller)

    async def unsubscribe(self, params: Parameters, caller: Caller) -> Answer:
        """End a subscription."""
        return await self._subscriptions.remove(params, caller)

    async def dead_letters(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """Events that were given up."""
        return await self._subscriptions.dead_letters(params, caller)

    async def replay(self, raw: object, caller: Caller) -> Answer:
        """Tell dead letters again."""
        return await self._subscriptions.replay(raw, caller)

    async def pending(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """Actions that wait for leave, or did."""
        return await self._pending.listed(params, caller)

    async def pending_action(self, pending_id: str, caller: Caller) -> dict[str, Any]:
        """One of them."""
        return await self._pending.get(pending_id, caller)

    async def approve(self, pending_id: str, caller: Caller) -> Answer:
        """Vote for an action."""
        return await self._pending.approve(pending_id, caller)

    async def reject(self, pending_id: str, caller: Caller) -> Answer:
        """Vote against an action."""
        return await self._pending.reject(pending_id, caller)

    async def reopen(self, pending_id: str, raw: object | None, caller: Caller) -> Answer:
        """End the wait of a pending action whose electors are gone for good."""
        return await self._reopening.reopen(pending_id, raw, caller)

    async def cancel(self, pending_id: str, caller: Caller) -> Answer:
        """Take an action back."""
        return await self._pending.cancel(pending_id, caller)

    async def standard(self, namespace: str | None, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """The standard of a namespace, with or without those above it."""
        return await self._ruling.shown(namespace, params, reach)

    async def set_standard(self, raw: object, caller: Caller, namespace: str | None = None) -> Answer:
        """Set the standard of a namespace, its policy, or both."""
        return await self._ruling.set(raw, caller, namespace)

    async def clear_standard(self, namespace: str | None, caller: Caller) -> Answer:
        """Take the standard and the policy of a namespace away."""
        return await self._ruling.clear(namespace, caller)

    async def explain(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """What an agent may do in a namespace, and why."""
        return await self._ruling.explained(params, caller)

    async def stats(self, reach: Reach | None = None) -> dict[str, Any]:
        """Figures of the whole store."""
        return await self._reading.stats(reach)

    async def changes(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """A page of the change feed."""
        return await self._reading.changes(params, reach)

    async def link(self, raw: object, caller: Caller) -> Answer:
        """Link two memories."""
        return await self._linking.create(raw, caller)

    async def unlink(self, raw: object, caller: Caller) -> Answer:
        """Remove links between two memories."""
        return await self._linking.remove(raw, caller)

    async def invalidate_link(self, raw: object, caller: Caller) -> Answer:
        """Say that a link no longer holds."""
        return await self._linking.invalidate(raw, caller)

    async def links(self, memory_id: str, reach: Reach | None = None) -> dict[str, Any]:
        """The links of a memory."""
        return await self._linking.listed(memory_id, reach)

    async def archive(self, raw: object, caller: Caller) -> Answer:
        """Set memories aside."""
        return await self._archiving.add(raw, caller)

    async def archived(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """A page of the archive."""
        return await self._archiving.listed(params, reach)

    async def restore(self, archive_id: str, caller: Caller, raw: object | None = None) -> Answer:
        """Take a memory back from the archive."""
        return await self._archiving.restore(archive_id, raw, caller)

    async def purge(self, params: Parameters, caller: Caller) -> Answer:
        """Remove from the archive for good."""
        return await self._archiving.purge(params, caller)

    async def archive_stats(self, reach: Reach | None = None) -> dict[str, Any]:
        """Figures of the archive."""
        return await self._archiving.stats(reach)

    async def forget(self, params: Parameters, caller: Caller) -> Answer:
        """Retire all memories that fit."""
        return await self._retiring.forget(params, caller)

    async def consolidate(self, raw: object, caller: Caller) -> Answer:
        """Make one memory of several."""
        return await self._retiring.consolidate(raw, caller)

    async def gc(self, caller: Caller) -> Answer:
        """End what has expired."""
        return await self._retiring.gc(caller)

    async def quarantine(self, params: Parameters, reach: Reach | None = None) -> dict[str, Any]:
        """What is kept aside."""
        return await self._quarantining.listed(params, reach)

    async def rescue(self, raw: object, caller: Caller) -> Answer:
        """Write what is kept aside anew."""
        return await self._quarantining.rescue(raw, caller)

    async def drop_quarantined(self, raw: object, caller: Caller) -> Answer:
        """Forget what is kept aside."""
        return await self._quarantining.drop(raw, caller)

    def export_lines(self, reach: Reach | None = None, *, secrets: bool = False) -> AsyncIterator[bytes]:
        """All that is held, a row a line."""
        return self._moving.export_lines(reach, secrets=secrets)

    def export_object(self, reach: Reach | None = None) -> AsyncIterator[bytes]:
        """Live memories and links as one JSON object."""
        return self._moving.export_object(reach)

    async def import_object(self, raw: object, caller: Caller) -> Answer:
        """Rows of an export, as one object."""
        return await self._moving.import_object(raw, caller)

    async def import_lines(self, stream: AsyncIterable[bytes], caller: Caller) -> Answer:
        """Rows of an export, a line each."""
        return await self._moving.import_lines(stream, caller)

    def digest(self) -> dict[str, Any]:
        """The state digest."""
        return self._describing.digest()

    def health(self) -> dict[str, Any]:
        """How the node is, in constant time."""
        return self._describing.health()

    async def status(self) -> dict[str, Any]:
        """What an operator asks first."""
        return await self._describing.status()

    async def capabilities(self, shape: str = SECOND) -> dict[str, Any]:
        """What this node can do, in a shape that the client knows."""
        return await self._describing.capabilities(shape)

    def metrics(self) -> Sequence[Metric]:
        """All that is counted."""
        return self._meters.all if self.fleet is None else (*self._meters.all, *self.fleet.metrics)

    async def check(self) -> Sequence[str]:
        """Compare all that derives from records with the records, while nobody writes. Empty when all is well."""
        wrong = await self._store.check()
        return wrong + (await self._meaning.searching.check() if self._meaning is not None else [])


async def _open_shared(target: Target, settings: NodeSettings, now: Callable[[], int]) -> tuple[Store, Inspection]:
    """The store in a database of a server that was found fit for it, with the replicas that reads may go to."""
    from aimem.store.postgres.clock import ServersClock
    from aimem.store.postgres.inspection import examine, no_store  # the driver, which a node with a file must not need
    from aimem.store.postgres.opening import open_store
    from aimem.store.postgres.replicas import Replicas

    replicas = Replicas(settings.replicas, settings.read_lag_secs)
    own = now.own if isinstance(now, ServersClock) else now
    server = await examine(target, now=own, replicas=replicas, fleet=settings.fleet)
    if server.no_store and not settings.fills:
        raise no_store(target)
    store = await open_store(target, now=now, replicas=replicas, fleet=settings.fleet)
    await store.hear()  # of the server's time too, before anything is stamped
    server.connections = store.connections
    return store, server
