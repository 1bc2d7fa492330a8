"""The one way from a node to its store's writes: use cases and background work alike go through here.

`Lane` ends at the own disk: for what nobody asked for, and for what peers sent. The callers' way goes through
`CallersLane.of`: whoever it is, its own reach and the policies in force judge every record that is written, the fleet
is asked before, and the answer comes when the write is on enough nodes. There is no other way for a caller's write.

What the store says about the disk is noted as a condition of the node: set by the write that met it, cleared by the
first write that gets through.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from aimem.core.consensus import Ballot, Reply
from aimem.core.events import Subscriber, told
from aimem.core.governing import Speaker, governed
from aimem.core.identity_words import Identity
from aimem.core.intent import Intent
from aimem.core.moving import unless_moved
from aimem.core.quorum import Met, NotMet
from aimem.core.record import Record, Ref
from aimem.core.version import parse_version
from aimem.core.writes import Answer
from aimem.errors import AimemError, Behind, DiskFull, QuorumNotMet, StorageFailed, VersionConflict
from aimem.node.caller import Caller
from aimem.node.conditions import DISK_FULL, STORAGE_FAILED, Conditions
from aimem.node.metrics import Metric
from aimem.store.base import Outcome, Store, Written


class Turn(NamedTuple):
    """A caller's write between its two phases: whether enough nodes were asked that its version is above whatever was
    acknowledged, and until when (loop time) its round may last. `asks`: asking could order it at all."""

    ordered: bool
    deadline: float
    asks: bool = True


class Fleet(Protocol):
    """The other nodes, as a write needs them."""

    @property
    def alone(self) -> bool:
        """Whether there is nobody else."""

    async def start(self) -> None:
        """Begin to talk to them."""

    async def close(self) -> None:
        """Let go of them, while the store still takes writes. What runs behind has been ended already."""

    async def order(self, intents: Sequence[Intent]) -> Turn:
        """Take in whatever is newer elsewhere under what the intents read.

        Raises:
            ClockSkewed, CatchingUp: this node must not take a caller's write now.
        """

    async def spread(self, writes: Sequence[Sequence[Record]], turn: Turn) -> list[Met | NotMet]:
        """What comes of writes that are durable here: each the records of one."""

    async def answer(self, path: str, body: bytes, identity: Identity | None = None) -> bytes:
        """The reply to another node's message. `identity` is what its certificate or key says of it."""

    async def legacy_push(self, raw: Any, address: str, identity: Identity | None = None) -> dict[str, Any]:
        """The reply to a push of a node of the existing system that speaks from a network address."""

    async def legacy_since(self, params: Mapping[str, str], identity: Identity | None = None) -> dict[str, Any]:
        """The memories that such a node has not seen yet, by the stamp that it shows."""

    def conditions(self) -> list[str]:
        """Stable codes of what keeps this node from doing its part: see aimem-mesh(7)."""

    @property
    def metrics(self) -> Sequence[Metric]:
        """All that is counted of them."""

    async def consult(self, elector: str, question: str, step: str, ballot: Ballot, value: Any) -> Reply | None:
        """What an elector, a peer's store, says (see `core.consensus`); None where it can't be reached."""

    def latest(self) -> int:
        """The highest time (ns) of a version that this node takes by now."""

    def electors(self, lost: Collection[str] = ()) -> tuple[str, ...]:
        """The stores that decide on what is parked here: this one's, and its peers' as far as they were met, without
        those that are `lost`."""

    async def ask_all(self, refs: Sequence[Ref]) -> tuple[str, ...]:
        """Take in whatever is newer at any node that answers under these addresses; the peers that do not answer, or
        bring what can't be taken in."""

    def hears(self, start: str) -> bool | None:
        """Whether the process of this start is a peer's and answers; None where no peer is known by it."""

    def read_by_all(self) -> int:
        """Up to which position every peer has read the own feed."""

    def unswept(self, until: int) -> None:
        """Told after each sweep: up to which position tombstones are old enough to go, and were not read by all."""

    async def pass_by(self, until: int, floor: int) -> bool:
        """Tombstones up to position `until`, stored before `floor` (ns), are about to be swept: note durably who of
        those that ever read this feed has not read them. False when this node may sweep nothing at all."""

    def describe(self) -> dict[str, Any]:
        """The fleet as `status` shows it."""


class Lane:
    """Writes to the store, and watches what comes of it."""

    def __init__(self, store: Store, conditions: Conditions, now: Callable[[], int]) -> None:
        self._store = store
        self._conditions = conditions
        self._now = now

    async def write(self, intents: Sequence[Intent], *, conditional: bool = False) -> list[Outcome]:
        """As `Store.write`: one outcome per intent, durable when it returns. `conditional`: the caller named the
        version that it builds on."""
        try:
            outcomes = await self._store.write(intents)
        except DiskFull as error:
            self._conditions.set(DISK_FULL, error.message, self._now())
            raise
        except StorageFailed as error:
            self._conditions.set(STORAGE_FAILED, error.message, self._now())
            raise
        if self._conditions.codes():
            self._conditions.clear(DISK_FULL)
            self._conditions.clear(STORAGE_FAILED)
        return outcomes

    async def one(self, intent: Intent, *, conditional: bool = False) -> Any:
        """The reply of one intent.

        Raises:
            AimemError: whatever it was refused with, or the store's trouble.
        """
        (outcome,) = await self.write([intent], conditional=conditional)
        if isinstance(outcome, AimemError):
            raise outcome
        return outcome.reply


class CallersLane:
    """Where callers' writes begin: a lane for each."""

    def __init__(
        self,
        store: Store,
        conditions: Conditions,
        now: Callable[[], int],
        fleet: Fleet | None = None,
        subscribers: Callable[[], Sequence[Subscriber]] = tuple,
    ) -> None:
        self._parts = store, conditions, now
        self._store = store
        self._fleet = fleet
        self._subscribers = subscribers

    def of(self, caller: Caller) -> Lane:
        """The way of one caller's writes.

        Raises:
            Denied: it may not speak for the agent that it names.
        """
        return _QuorumLane(*self._parts, self._fleet, self._subscribers, caller.speaker(self._electors()))

    def decided(self) -> Lane:
        """The way of what has had its leave, by a decision or when it was first written: no policy judges it again."""
        return _QuorumLane(*self._parts, self._fleet, self._subscribers, None)

    def _electors(self) -> tuple[str, ...]:
        return (self._store.incarnation,) if self._fleet is None else self._fleet.electors()


class _QuorumLane(Lane):
    """The way of one caller's writes. Without a fleet it ends at the own disk, as the other."""

    def __init__(
        self,
        store: Store,
        conditions: Conditions,
        now: Callable[[], int],
        fleet: Fleet | None,
        subscribers: Callable[[], Sequence[Subscriber]],
        who: Speaker | None,
    ) -> None:
        super().__init__(store, conditions, now)
        self._fleet = fleet
        self._subscribers = subscribers
        self._who = who

    async def write(self, intents: Sequence[Intent], *, conditional: bool = False) -> list[Outcome]:
        """As `Lane.write`, and acknowledged by the quorum: all intents share one round trip of each phase.

        Raises:
            QuorumNotMet: fewer nodes hold one of the writes than must. They are durable here and keep spreading;
                `outcomes` are those of all.
        """
        if self._who is not None:
            intents = [governed(intent, self._who) for intent in intents]
        if self._subscribers():
            agent = None if self._who is None else self._who.agent_id
            intents = [told(intent, self._subscribers, agent) for intent in intents]
        intents = [unless_moved(intent) for intent in intents]
        if self._fleet is None or self._fleet.alone or not intents:
            return await super().write(intents)
        turn = await self._fleet.order(intents)
        outcomes = [_named_ahead(outcome) for outcome in await super().write(intents)]
        written = [await self._records(outcome) for outcome in outcomes]
        spread = [index for index, records in enumerate(written) if records]
        results = await self._fleet.spread([written[index] for index in spread], turn)
        missed: NotMet | None = None
        for index, result in zip(spread, results, strict=True):
            outcome = outcomes[index]
            assert isinstance(outcome, Written)
            if isinstance(result, Met):
                overtaken = conditional and result.newer is not None
                outcomes[index] = _overtaken(result) if overtaken else _acknowledged(outcome, result, turn)
            else:
                missed = missed or result
        if missed is not None:
            raise _shortfall(missed, outcomes)
        return outcomes

    async def _records(self, outcome: Outcome) -> Sequence[Record]:
        """What a write spreads: its records, or for a repeat those that the first time wrote, as they stand now."""
        if isinstance(outcome, AimemError):
            return ()
        if isinstance(outcome.reply, Answer) and outcome.reply.replayed:
            refs = [Ref(*each) for each in outcome.reply.wrote]
            return [record for record in await self._store.get(refs) if record is not None]
        return outcome.records


def quorum_of(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """The quorum fields of a reply to many writes: the fewest acknowledgements that any of them has."""
    return fewest(*(outcome.quorum for outcome in outcomes if isinstance(outcome, Written)))


def fewest(*fields: dict[str, Any]) -> dict[str, Any]:
    """Of several quorum fields, those with the fewest acknowledgements; unordered when any is."""
    told = [each for each in fields if each]
    least: dict[str, Any] = min(told, key=lambda each: int(each["quorum_acks"]), default={})
    return {**least, "ordered": False} if any("ordered" in each for each in told) else least


def _acknowledged(outcome: Written, met: Met, turn: Turn) -> Written:
    fields: dict[str, Any] = {"quorum_acks": met.acks}
    if met.racks > 1:
        fields["quorum_racks"] = met.racks
    if met.stores is not None:
        fields["quorum_stores"] = met.stores
    if not turn.ordered:
        fields["ordered"] = False
    reply = outcome.reply
    if isinstance(reply, Answer):
        reply = reply._replace(body={**reply.body, **fields})
    return outcome._replace(reply=reply, quorum=fields, holders=met.holders)


def _overtaken(met: Met) -> VersionConflict:
    """A conditional write that met a newer one elsewhere: both built on the same version, and the other stands."""
    return VersionConflict(
        "another write to the same memory was made at the same time, and stands",
        hint="read it again and repeat the change on what stands now",
        extra={"current": met.newer},
    )


def _shortfall(missed: NotMet, outcomes: list[Outcome]) -> QuorumNotMet:
    error = QuorumNotMet(
        "quorum_not_met",
        hint=f"{missed.got} of {missed.needed} hold it ({missed.reason}); it is kept here and keeps spreading: "
        "repeat it with the same idempotency key",
        extra={"got": missed.got, "needed": missed.needed, "reason": missed.reason},
    )
    error.outcomes = outcomes
    return error


def _named_ahead(outcome: Outcome) -> Outcome:
    """A conflict with a version that is newer than what stands here is no conflict: this node is behind."""
    if isinstance(outcome, VersionConflict):
        expected, current = outcome.extra.get("expected"), outcome.extra.get("current")
        if expected and current and parse_version(expected) > parse_version(current):
            return Behind(
                f"this node holds version {current} and has not heard of {expected}, nor found it among its peers",
                hint="try again, or on the node that gave you that version",
            )
    return outcome
