"""Delivery: events go from the store to their receivers, and what became of them goes back.

The node that wrote an event last has it in hand. What a receiver was told is noted soon after, many events at a time; a
crash in between tells them again. When a node falls silent, another takes its events over by writing them anew, after a
random pause, so that one goes first. No task, thread or connection waits while there is nothing to tell.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from aimem.core.kinds import EVENT, SUBSCRIPTION
from aimem.core.record import Record, Ref
from aimem.core.telling import GivenUp, ended, taken_over, waiting_for
from aimem.core.webhooks import Networks
from aimem.limits import (
    CHANGES_BYTES_MAX,
    CHANGES_LIMIT_MAX,
    WEBHOOK_GIVE_UP_SECS,
    WEBHOOK_NOTE_EVENTS,
    WEBHOOK_NOTE_SECS,
    WEBHOOK_ORPHAN_SECS,
    WEBHOOK_QUEUE_MAX,
    WEBHOOK_SENDING_MAX,
    WEBHOOK_TAKE_OVER_SECS,
)
from aimem.node.background import wait
from aimem.node.delivering import Delivering
from aimem.node.lane import Fleet, Lane
from aimem.node.metrics import Meters
from aimem.node.receiver import Receiver
from aimem.node.subscribers import Subscribers
from aimem.store.base import Change, Store

log = logging.getLogger(__name__)

_POSITION = "webhooks"  # everything before it in the feed was told
_CARE_SECS = 0.2


class Courier:
    """See the module. `lane` ends at the own disk."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        subscribers: Subscribers,
        fleet: Fleet | None,
        meters: Meters,
        now: Callable[[], int],
        *,
        networks: Networks = (),
        give_up_secs: float = WEBHOOK_GIVE_UP_SECS,
        rand: random.Random | None = None,
    ) -> None:
        self._store = store
        self._lane = lane
        self._subscribers = subscribers
        self._fleet = fleet
        self._meters = meters
        self._now = now
        self._delivering = Delivering(subscribers, now, networks)
        self._give_up = give_up_secs
        self._rand = rand or random.Random()
        self._receivers: dict[str, Receiver] = {}
        self._ends: dict[str, dict[str, GivenUp | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: dict[str, float] = {}  # when the events of a start that is gone are taken over
        self._heard = 0
        self._loaded = False
        self._something = asyncio.Event()
        self._to_note = asyncio.Event()
        store.subscribe(self._changed)
        meters.gauge("ai_memory_subscriptions_active", "Subscriptions.", lambda: len(subscribers))
        meters.gauge("aimem_webhook_waiting", "Events in memory that wait to be told, by receiver.", self._waiting)

    def receiver(self, subscription_id: str) -> Receiver | None:
        """How the receiver of a subscription fares, as far as this node has to do with it."""
        return self._receivers.get(subscription_id)

    def subscription(self, subscription_id: str) -> Record | None:
        """A live subscription."""
        return self._subscribers.get(subscription_id)

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return len(self._subscribers)

    async def close(self) -> None:
        """Let go of all connections, and note what was told. What waits goes on after the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._delivering.close()
        while self._ends:
            await self._note_some()

    # What waits.

    async def run(self) -> None:
        """Take up what waits, and look after it from then on."""
        await self._read(await self._store.progress(_POSITION))
        self._loaded = True
        while True:
            await self._something.wait()
            waiting = False
            for receiver in list(self._receivers.values()):
                if len(receiver) or receiver.missed is not None:
                    waiting = True
                    await self._care_for(receiver)
            self._delivering.close_idle()
            await self._take_over()
            if not waiting and self._delivering.idle:
                self._something.clear()
            await asyncio.sleep(_CARE_SECS)

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._heard = max(self._heard, change.seq)
            if change.record.kind == EVENT:
                self._learn(change.record, change.seq, change.old)

    def _learn(self, event: Record, seq: int, old: Record | None = None) -> None:
        waiting = waiting_for(event)
        if old is not None:
            # Of what another node on this store changed it is not known who waited before.
            for each in waiting_for(old) if "to" in old.body else [*self._receivers]:
                if each not in waiting and each in self._receivers:
                    self._receivers[each].drop(event.key)
        told = self._ends.get(event.key, {})
        for each in waiting:
            if each not in told:
                receiver = self._receivers.get(each)
                if receiver is None:
                    receiver = Receiver(each, self._store.start, self._rand, self._give_up)
                    self._receivers[each] = receiver
                receiver.offer(event, seq)
                self._something.set()
                if event.version.origin == self._store.start:
                    self._wake(receiver)

    async def _read(self, after: int, receiver: Receiver | None = None) -> None:
        """Learn of what waits behind a place in the feed: all of it, or a page of what one receiver has missed."""
        while True:
            if receiver is not None:
                receiver.missed = None
            page = await self._store.changes(after, CHANGES_LIMIT_MAX, CHANGES_BYTES_MAX, (EVENT,))
            for seq, event in page.changes:
                if receiver is None:
                    self._learn(event, seq)
                elif receiver.id in waiting_for(event) and receiver.id not in self._ends.get(event.key, {}):
                    await self._offer_in_order(receiver, event, seq)
            after = page.cursor.seq
            if receiver is not None and page.more:
                receiver.missed = after if receiver.missed is None else min(after, receiver.missed)
            if receiver is None:
                self._heard = max(self._heard, after)
            if receiver is not None or not page.more:
                return

    async def _offer_in_order(self, receiver: Receiver, event: Record, seq: int) -> None:
        """Offer an event that was read late, with the older ones of its subject: they may stand behind it in the
        feed."""
        for each in await self._store.under(EVENT, event.key.partition("/")[0]):
            if each.key < event.key and receiver.id in waiting_for(each):
                receiver.offer(each, seq)
        receiver.offer(event, seq)

    async def _care_for(self, receiver: Receiver) -> None:
        if self._subscribers.get(receiver.id) is None:
            (held,) = await self._store.get([Ref(SUBSCRIPTION, receiver.id)])
            if held is not None and held.deleted:  # nobody listens any more
                self._note_all(receiver.id, dict.fromkeys(receiver.mine()))
            if not len(receiver) and not receiver.workers:
                del self._receivers[receiver.id]
            return
        self._note_all(receiver.id, receiver.hopeless(self._time(), self._now()))
        if receiver.missed is not None and len(receiver) < WEBHOOK_QUEUE_MAX // 2:
            await self._read(receiver.missed, receiver)
        self._wake(receiver)

    def _note_all(self, subscription_id: str, ends: dict[str, GivenUp | None] | dict[str, GivenUp]) -> None:
        for key, how in ends.items():
            self._note(key, subscription_id, how)

    # Telling.

    def _wake(self, receiver: Receiver) -> None:
        if receiver.workers < receiver.lanes and len(self._tasks) < WEBHOOK_SENDING_MAX:
            if self._subscribers.get(receiver.id) is None:
                return
            event = receiver.next(self._time())
            if event is not None:
                receiver.workers += 1
                task = asyncio.create_task(self._work(receiver, event), name="aimem-webhook")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _work(self, receiver: Receiver, event: Record | None) -> None:
        try:
            while event is not None:
                reason = await self._delivering.tell(receiver.id, event)
                how = receiver.heard(event.key, reason, self._time())
                (self._meters.webhooks if reason is None else self._meters.webhook_failures).inc()
                if not isinstance(how, bool):
                    self._note(event.key, receiver.id, how)
                event = receiver.next(self._time())
        finally:
            receiver.workers -= 1

    # What came of it.

    def _note(self, key: str, subscription_id: str, how: GivenUp | None) -> None:
        self._ends.setdefault(key, {})[subscription_id] = how
        self._to_note.set()

    async def note(self) -> None:
        """Write down what was told and given up, from now on."""
        while True:
            await wait(self._to_note, None)
            await asyncio.sleep(WEBHOOK_NOTE_SECS)
            self._to_note.clear()
            try:
                while self._ends:
                    await self._note_some()
            except BaseException:
                self._to_note.set()
                raise

    async def _note_some(self) -> None:
        batch = {key: dict(self._ends[key]) for key in list(self._ends)[:WEBHOOK_NOTE_EVENTS]}
        whole = self._loaded and len(batch) == len(
            self._ends
        )  # else what is noted later would never be looked at again
        dead = await self._lane.one(ended(batch, {_POSITION: self._place()} if whole else None))
        self._meters.dead_letters.inc(dead)
        for key, ends in batch.items():
            left = {each: how for each, how in self._ends[key].items() if each not in ends}
            if left:
                self._ends[key] = left
            else:
                del self._ends[key]

    def _place(self) -> int:
        """Up to where in the feed nothing waits."""
        places = [each.lowest for each in self._receivers.values()]
        return min([self._heard + 1, *(place for place in places if place is not None)]) - 1

    # Others' events.

    async def _take_over(self) -> None:
        """Take in hand the events of process starts that are gone: those of this store at once, others' after a while
        of silence."""
        held: dict[str, set[str]] = {}
        for receiver in self._receivers.values():
            for event, _ in receiver:
                if event.version.origin != self._store.start:
                    held.setdefault(event.version.origin, set()).add(event.key)
        own = {start for start, _ in await self._store.starts()} if held else set()
        for origin, keys in held.items():
            hears = None if self._fleet is None else self._fleet.hears(origin)
            if hears:
                self._silent.pop(origin, None)
                continue
            pause = WEBHOOK_ORPHAN_SECS if hears is None else self._rand.uniform(*WEBHOOK_TAKE_OVER_SECS)
            due = self._silent.setdefault(origin, self._time() + (0.0 if origin in own else pause))
            if due <= self._time():
                batch = sorted(keys)[:CHANGES_LIMIT_MAX]
                log.info("taking over %d events of a node that is gone", len(batch))
                await self._lane.one(taken_over(batch, origin))
        self._silent = {origin: due for origin, due in self._silent.items() if origin in held}

    def _waiting(self) -> float:
        return sum(map(len, self._receivers.values()))

    def _time(self) -> float:
        return asyncio.get_running_loop().time()
