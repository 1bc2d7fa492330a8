"""The second phase of a caller's write: what was committed here goes out to every peer, and their answers are counted.

Everything of this node's own making is pushed, whether or not anybody waits for it; a round is there where somebody
does. What came in from peers is in their feeds, and is not pushed on. Peers on the same store have it already: they are
told of what a round waits for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence, Set

from aimem.core.kinds import TOUCH, VECTOR, kind_of
from aimem.core.quorum import UNREACHABLE, Failed, Met, NotMet, Policy, Round
from aimem.core.record import Record
from aimem.limits import MESH_BATCH_BYTES, MESH_BATCH_RECORDS, MESH_ITEMS_KEPT
from aimem.mesh.item import Item, ItemKey, Spread
from aimem.mesh.links import Links, PeerLink
from aimem.mesh.pushing import Page
from aimem.node.lane import Turn
from aimem.store.base import Change, Store


class Spreading:
    """See the module. `arriving` are the writes that are being merged from peers right now. `passed_on()` is told when
    another node on the same store wrote something, or took it in."""

    def __init__(
        self,
        store: Store,
        links: Links,
        arriving: Set[ItemKey],
        node: str,
        rack: str | None,
        policy: Callable[[], Policy],
        passed_on: Callable[[], None],
    ) -> None:
        self._store = store
        self._passed_on = passed_on
        self._links = links
        self._arriving = arriving
        self._node = node
        self._rack = rack
        self._policy = policy
        self._own_origins = {store.start}
        self._items: OrderedDict[ItemKey, Item] = OrderedDict()
        self.seen = store.head
        """The last `seq` that was heard of."""

    async def open(self) -> None:
        """Learn what is this store's own, and hear of what is committed from here on."""
        self._own_origins = {start for start, _ in await self._store.starts()}
        self.seen = self._store.head
        self._store.subscribe(self.committed)

    async def spread(self, writes: Sequence[Sequence[Record]], turn: Turn, policy: Policy) -> list[Met | NotMet]:
        """What the rounds of these writes, durable here, come to: each the records of one."""
        loop = asyncio.get_running_loop()
        peers = self._links.urls
        spreads = []
        for records in writes:
            round = Round(
                policy, self._node, peers, rack=self._rack, ordered=turn.ordered, store=self._store.incarnation
            )
            spreads.append(Spread(round, [self._item(record) for record in records if not kind_of(record.kind).local]))

        items = {id(item): item for spread in spreads for item in spread.items}
        for link in self._links.sharing:
            link.witness.tell(items.values())

        def time_is_up() -> None:
            for spread in spreads:
                spread.time_is_up()

        timer = loop.call_at(turn.deadline, time_is_up)
        try:
            results = list(await asyncio.gather(*(spread.done for spread in spreads)))
        finally:
            timer.cancel()
        return results

    def _item(self, record: Record) -> Item:
        """The item of a record that was just committed. What is repeated goes out anew: what a peer said of it then it
        may have lost with its disk since."""
        item = self._items.pop((record.ref, record.version), None)
        return item if item is not None else self._send(self._made(record, 0), self._needed())

    def _made(self, record: Record, seq: int) -> Item:
        return Item(record, seq, len(self._links.outside), self._forget_item)

    def _forget_item(self, item: Item) -> None:
        if self._items.get(item.key) is item:
            del self._items[item.key]

    def _needed(self) -> Set[PeerLink]:
        """The peers that a quorum is likely to be made of: they get what is new before the others."""
        policy = self._policy()
        up = [link for link in self._links.outside if link.push is not None and link.peer.up]
        if policy.racks == policy.stores == 1:
            up = sorted(up, key=lambda link: link.push.promise if link.push else (True, 0.0))[: policy.writes - 1]
        return set(up)

    def _send(self, item: Item, needed: Set[PeerLink]) -> Item:
        for link in self._links.outside:
            if link.legacy.active:
                link.legacy.lanes.push(item)
            elif link.push is not None:
                link.push.push(item, needed=link in needed)
            else:
                item.heard(link.peer.url, Failed(UNREACHABLE))
        return item

    def committed(self, changes: Sequence[Change]) -> None:
        """The store has committed a group: own records go out."""
        needed: Set[PeerLink] | None = None
        by_others = False
        for change in changes:
            self.seen = max(self.seen, change.seq)
            record = change.record
            if record is change.old or not self._links or (record.ref, record.version) in self._arriving:
                continue
            if record.kind == TOUCH or kind_of(record.kind).local:
                continue
            if record.version.origin != self._store.start and (self._store.shared or record.kind != VECTOR):
                by_others = True
            elif self._links.outside:
                item = self._made(record, change.seq)
                self._items[item.key] = item  # before it goes out: when no peer is up, all have spoken of it at once
                needed = self._needed() if needed is None else needed
                self._send(item, needed)
        while len(self._items) > MESH_ITEMS_KEPT:
            self._items.popitem(last=False)
        if by_others and self._store.shared:
            self._passed_on()

    async def own_after(self, after: int) -> Page:
        page = await self._store.changes(after, MESH_BATCH_RECORDS, MESH_BATCH_BYTES)
        own = [
            record
            for _, record in page.changes
            if record.version.origin in self._own_origins and record.kind != TOUCH and not kind_of(record.kind).local
        ]
        return own, page.cursor.seq if page.changes or page.more else self.seen
