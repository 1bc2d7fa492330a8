"""Pending actions at work: this store as an elector proposes and learns what becomes of them.

The node where an action was parked proposes first, others after a random pause, so that proposals seldom cross; what
they come to is the same whoever proposes. An action waits as long as no majority of its electors can be reached.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from aimem.core.consensus import ACCEPT, FIRST, PROMISE, Accepted, Ballot, Proposal, Reply, elect
from aimem.core.deciding import (
    CANCELLED,
    REJECTED,
    Ballots,
    Outcome,
    ballots_of,
    compose,
    conclude,
    electors_of_pending,
    newest_of,
    refs_of,
    weigh,
)
from aimem.core.intent import Decision, Plan, Stamp, reading
from aimem.core.kinds import AGENT, DECISION, PENDING, VOTE, compound_key
from aimem.core.record import Record, Ref
from aimem.errors import AimemError
from aimem.limits import DECIDE_ATTEMPTS, DECIDE_CLOCK_SECS, DECIDE_PAUSE_SECS, DECIDE_RETRY_SECS
from aimem.node.lane import CallersLane, Fleet, Lane
from aimem.node.queue import OpenActions
from aimem.store.base import Change, Store

log = logging.getLogger(__name__)


class Deciding:
    """See the module. `lane` ends at the own disk: what an elector keeps goes there and nowhere else."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        callers: CallersLane,
        fleet: Fleet | None,
        now: Callable[[], int],
        rand: random.Random,
    ) -> None:
        self.open = OpenActions()
        self.loaded = asyncio.Event()
        """Set when `open` is what the store holds."""
        self.unreached: dict[str, tuple[str, ...]] = {}
        """Actions that wait for a majority of their electors, with those of them that said nothing."""
        self.halted: set[str] = set()
        """Actions of which an elector is closed, for they are being reopened, and that are not decided yet."""
        self._store = store
        self._lane = lane
        self._callers = callers
        self._fleet = fleet
        self._now = now
        self._rand = rand
        self._due: list[tuple[float, str]] = []
        self._ends: list[tuple[int, str]] = []
        """When actions are over time, by the clock (ns), which may be set: so it is looked at now and then."""
        self._ending: set[str] = set()
        self._uncounted: dict[str, set[str]] = {}
        """Of agents whose vote does not count, which actions it is about: it may count when they register."""
        self._woken = asyncio.Event()
        self._rounds: dict[str, Ballot] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # held by who waits for them
        self._learned: dict[str, asyncio.Event] = {}
        store.subscribe(self._changed)

    # What is due.

    async def run(self) -> None:
        """Take up what is open, now and as it comes."""
        await self.open.load(self._store)
        self.loaded.set()
        for each in self.open:
            self._watch(each.id, each.expires)
        while True:
            self._woken.clear()
            self._end_due()
            wait = self._due[0][0] - self._time() if self._due else DECIDE_CLOCK_SECS
            if self._ends:
                wait = min(wait, (self._ends[0][0] - self._now()) / 1e9)
            wait = min(wait, DECIDE_CLOCK_SECS)
            if wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
                except TimeoutError:
                    pass
                continue
            _, pending_id = heapq.heappop(self._due)
            await self._take_up(pending_id)

    def _end_due(self) -> None:
        """Look, after a pause, at what is over time by now."""
        while self._ends and self._ends[0][0] <= self._now():
            _, pending_id = heapq.heappop(self._ends)
            self._ending.discard(pending_id)
            if pending_id in self.open:
                self._schedule(pending_id, self.pause())

    async def _take_up(self, pending_id: str) -> None:
        try:
            if await self.settle(pending_id) is None and pending_id in self.unreached:
                self._schedule(pending_id, self._rand.uniform(*DECIDE_RETRY_SECS))
        except AimemError as error:
            log.warning("pending action %s is not decided yet: %s", pending_id, error.message)
            self._schedule(pending_id, DECIDE_RETRY_SECS[1])

    def _changed(self, changes: Sequence[Change]) -> None:
        self.open.changed(changes)
        for record in (change.record for change in changes):
            if record.kind == DECISION and (event := self._learned.pop(record.key, None)) is not None:
                event.set()
            elif record.kind == PENDING:
                self._watch(record.key, record.body.get("expires_at"))
            elif record.kind == VOTE and isinstance(pending_id := record.body.get("pending_id"), str):
                self._schedule(pending_id, self.pause())
            elif record.kind == AGENT:
                for each in self._uncounted.pop(record.key, ()):
                    self._schedule(each, self.pause())

    def _watch(self, pending_id: str, expires: Any) -> None:
        """Look at an action when it is over time, and soon where votes were there before it."""
        if self.open.has_votes(pending_id):
            self._schedule(pending_id, self.pause())
        self._ends_later(pending_id, expires)

    def _ends_later(self, pending_id: str, expires: Any) -> None:
        if isinstance(expires, int) and pending_id not in self._ending:
            self._ending.add(pending_id)
            heapq.heappush(self._ends, (expires, pending_id))
            self._woken.set()

    def pause(self) -> float:
        """How long (s) to wait before proposing, so that proposals seldom cross."""
        return self._rand.uniform(*DECIDE_PAUSE_SECS)

    def _schedule(self, pending_id: str, secs: float) -> None:
        heapq.heappush(self._due, (self._time() + secs, pending_id))
        self._woken.set()

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    # One action.

    async def settle(self, pending_id: str) -> Record | None:
        """Have an action decided, if its votes are enough and this store is one of its electors: the record of the
        decision, None while it is open."""
        async with self.alone(pending_id):
            for _ in range(DECIDE_ATTEMPTS):
                pending, decision = await self._store.get([Ref(PENDING, pending_id), Ref(DECISION, pending_id)])
                if decision is not None:
                    self._done(pending_id)
                    return decision
                electors = () if pending is None else electors_of_pending(pending)
                if pending is None or pending.deleted or (electors and self._store.incarnation not in electors):
                    return None
                votes = await self.votes_of(pending)
                outcome = await self._weighed(pending, votes)
                if outcome is None:
                    self.unreached.pop(pending_id, None)
                    self._ends_later(pending_id, pending.body.get("expires_at"))
                    return None
                if not electors:
                    return await self._end(pending, votes)
                proposal = await self._propose(pending, votes)
                if proposal.chosen or await self._is_decided(pending_id):
                    continue
                if proposal.closed:
                    self.halted.add(pending_id)
                if proposal.closed or not proposal.lost:
                    self.unreached[pending_id] = proposal.silent
                    return None
                await asyncio.sleep(self.pause())
        self._schedule(pending_id, self._rand.uniform(*DECIDE_RETRY_SECS))  # whoever was in the way may be gone by then
        return None

    async def learn(self, pending_id: str, secs: float) -> Record | None:
        """The decision about an action that others must make, when it comes within `secs`."""
        event = self._learned.setdefault(pending_id, asyncio.Event())
        (decision,) = await self._store.get([Ref(DECISION, pending_id)])
        if decision is None:
            try:
                async with asyncio.timeout(secs):
                    await event.wait()
            except TimeoutError:
                self._learned.pop(pending_id, None)
            (decision,) = await self._store.get([Ref(DECISION, pending_id)])
        return decision

    async def _is_decided(self, pending_id: str) -> bool:
        (decision,) = await self._store.get([Ref(DECISION, pending_id)])
        return decision is not None

    async def votes_of(self, pending: Record) -> list[Record]:
        """The votes on an action that this store holds."""
        return await self._store.under(VOTE, compound_key(pending.key))

    async def votes_of_open(self, pending: Record) -> list[Record]:
        """As `votes_of`; of most actions in the queue it is known that there are none."""
        if self.is_open(pending.key) and not self.open.has_votes(pending.key):
            return []
        return await self.votes_of(pending)

    def is_open(self, pending_id: str) -> bool:
        """Whether it is known of an action that nothing is decided yet."""
        return self.loaded.is_set() and pending_id in self.open

    async def ripe(self, pending: Record) -> bool:
        """Whether the votes on an action, or the time, come to anything."""
        return await self._weighed(pending, await self.votes_of(pending)) is not None

    async def _weighed(self, pending: Record, votes: Sequence[Record]) -> Outcome | None:
        def plan(stamp: Stamp) -> Plan:
            ballots = yield from ballots_of(pending, votes)
            return Decision((), (weigh(pending, ballots, stamp.now), ballots))

        voters = {str(each.body.get("voter")) for each in votes}
        for voter in voters:  # before it is looked who counts: they may register meanwhile
            self._uncounted.setdefault(voter, set()).add(pending.key)
        (found,) = await self._store.rehearse([plan])
        if isinstance(found.reply, AimemError):
            raise found.reply
        told: tuple[Outcome | None, Ballots] = found.reply
        outcome, ballots = told
        for voter in voters if outcome is not None else {*ballots.approvals, *ballots.rejections}:
            about = self._uncounted.get(voter, set())
            about.discard(pending.key)
            if not about:
                self._uncounted.pop(voter, None)
        return outcome

    async def _propose(self, pending: Record, votes: Sequence[Record]) -> Proposal:
        """One proposal from its ballot to the decision."""
        electors = electors_of_pending(pending)
        proposal, value = await self.attempt(pending.key, electors, lambda bound: self._value(pending, votes, bound))
        if proposal.chosen:
            await self._callers.decided().one(conclude(pending.key, value))
        return proposal

    async def attempt(
        self,
        question: str,
        electors: tuple[str, ...],
        choose: Callable[[Accepted | None], Awaitable[Any]],
        needed: int | None = None,
    ) -> tuple[Proposal, Any]:
        """One attempt to have a value chosen, and the value. `choose` gives it when enough have promised, from what
        binds; None where nothing is to be proposed."""
        last = self._rounds.get(question, FIRST)
        proposal = Proposal(electors, Ballot(last.round + 1, self._store.start), needed)
        self._rounds[question] = proposal.ballot
        for elector, reply in (await self.ask(electors, question, PROMISE, proposal.ballot)).items():
            proposal.promised(elector, reply)
        value = await choose(proposal.bound()) if proposal.ready else None
        if value is not None and self.timely(value):
            await self._have_accepted(question, proposal, value)
        self._rounds[question] = max(proposal.highest, self._rounds.get(question, FIRST))
        return proposal, value

    def timely(self, value: Any) -> bool:
        """Whether this store may take a value by now: who proposed it first may have had a clock far ahead. If so, it
        waits until this clock has come near, as any record does."""
        return self._fleet is None or newest_of(value) <= self._fleet.latest()

    async def _end(self, pending: Record, votes: Sequence[Record]) -> Record | None:
        """End an action that the existing system parked. It names no electors, and nothing that could be carried out,
        so no two nodes can carry it out twice: any node may write that it was rejected or taken back."""
        value = await self._lane.one(compose(pending, votes))
        if value is None or value["outcome"] not in (REJECTED, CANCELLED):
            return None
        await self._callers.decided().one(conclude(pending.key, value))
        (decision,) = await self._store.get([Ref(DECISION, pending.key)])
        return decision

    async def _value(self, pending: Record, votes: Sequence[Record], bound: Accepted | None) -> Any:
        """What to propose: what binds, else what the votes come to on what enough nodes hold by now. None where too few
        answer, or one of them knows that an operator has ended the action."""
        intent = compose(pending, votes)
        if self._fleet is not None and not self._fleet.alone:
            turn = await self._fleet.order([reading([Ref(DECISION, pending.key), *refs_of(pending)]), intent])
            if turn.asks and not turn.ordered:
                return None
        if await self._is_decided(pending.key):
            return None
        return bound.value if bound is not None else await self._lane.one(intent)

    async def _have_accepted(self, question: str, proposal: Proposal, value: Any) -> None:
        """Ask the other electors first: a value that they can't take, since this clock is far ahead of theirs and does
        not know it yet, must not bind this store, and by it all of them, until their clocks come near."""
        own = self._store.incarnation
        others = [each for each in proposal.electors if each != own]
        for elector, reply in (await self.ask(others, question, ACCEPT, proposal.ballot, value)).items():
            proposal.accepted(elector, reply)
        if own in proposal.electors and proposal.nearly_chosen:
            for elector, reply in (await self.ask([own], question, ACCEPT, proposal.ballot, value)).items():
                proposal.accepted(elector, reply)

    async def ask(
        self, electors: Sequence[str], question: str, step: str, ballot: Ballot, value: Any = None
    ) -> dict[str, Reply]:
        """The answers of the electors that could be reached."""
        replies = await asyncio.gather(*(self._ask(each, question, step, ballot, value) for each in electors))
        return {each: reply for each, reply in zip(electors, replies, strict=True) if reply is not None}

    async def _ask(self, elector: str, question: str, step: str, ballot: Ballot, value: Any) -> Reply | None:
        if elector == self._store.incarnation:
            own: Reply = await self._lane.one(elect(question, step, ballot, value))
            return own
        return None if self._fleet is None else await self._fleet.consult(elector, question, step, ballot, value)

    @asynccontextmanager
    async def alone(self, pending_id: str) -> AsyncIterator[None]:
        """One at a time about one action."""
        async with self._locks.setdefault(pending_id, asyncio.Lock()):
            yield

    def _done(self, pending_id: str) -> None:
        self.unreached.pop(pending_id, None)
        self.halted.discard(pending_id)
        self._rounds.pop(pending_id, None)
