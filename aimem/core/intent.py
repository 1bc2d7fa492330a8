"""Intents: every write of the program, as a pure computation that a store carries out inside its transaction.

An intent is a generator function of a `Stamp`. It yields what it wants to read (a `Read`), is resumed with the answer,
and returns a `Decision`: the records to write and the reply. It raises an `AimemError` to refuse, and then nothing is
written. A store may run many intents in one transaction; each sees what those before it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol

from aimem.core.pairs import Pair, PairState
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.errors import AimemError


class Get(NamedTuple):
    """Read the record under an address. Answer: `Record | None`, tombstones included."""

    ref: Ref


class Look(NamedTuple):
    """Read the record under an address for a rule that is in force as far as this store has heard. Answer: as `Get`,
    but no peer is asked for a newer one, and a record of a resident kind (see `kinds`) costs no search."""

    ref: Ref


class Chain(NamedTuple):
    """Read all that has a say in a namespace, as far as this store has heard. Answer: what `policy.standing_over`
    gives; a store may keep it until a rule changes, since every write reads it."""

    namespace: str


class Holding(NamedTuple):
    """Read who holds a pair. Answer: `PairState`."""

    pair: Pair


class Touches(NamedTuple):
    """Read all touch records of a memory. Answer: `list[Record]`."""

    memory_id: str


class Links(NamedTuple):
    """Read the live links from or to a memory. Answer: `list[Record]`."""

    memory_id: str


Read = Get | Look | Chain | Holding | Touches | Links


class Stamp(Protocol):
    """What a store lends to an intent."""

    now: int
    """Wall-clock time of the group in ns since the epoch, for expiry: never for order."""
    incarnation: str
    """The store's incarnation, under which it counts its own touches."""

    def version(self) -> Version:
        """A new version, above everything this store has seen."""


class Decision(NamedTuple):
    """What an intent comes to. `progress` are named positions (such as how far embedding has read the feed) that are
    kept in the same transaction; a negative one forgets the name."""

    records: Sequence[Record]
    reply: Any = None
    progress: dict[str, int] | None = None


Plan = Generator[Read, Any, Decision]
Intent = Callable[[Stamp], Plan]


def decide(intent: Intent, stamp: Stamp, answer: Callable[[Read], Any]) -> Decision:
    """Carry an intent to its decision, with `answer` for what it reads. What it raises is its refusal."""
    plan = intent(stamp)
    try:
        read = next(plan)
        while True:
            read = plan.send(answer(read))
    except StopIteration as done:
        decision: Decision = done.value
        return decision


class Rehearsed(NamedTuple):
    """What an intent would come to: what it read, each with the answer, and its reply or refusal."""

    reads: tuple[tuple[Read, Any], ...]
    reply: Any


def rehearse(intent: Intent, stamp: Stamp, answer: Callable[[Read], Any]) -> Rehearsed:
    """Carry an intent to its decision without writing anything: what it read on the way, and its reply or refusal."""
    reads: list[tuple[Read, Any]] = []

    def noted(read: Read) -> Any:
        reads.append((read, answer(read)))
        return reads[-1][1]

    try:
        reply = decide(intent, stamp, noted).reply
    except AimemError as refusal:
        reply = refusal
    return Rehearsed(tuple(reads), reply)


def reading(refs: Sequence[Ref]) -> Intent:
    """An intent that only reads these addresses."""

    def plan(stamp: Stamp) -> Plan:
        for ref in refs:
            yield from get(*ref)
        return Decision(())

    return plan


def get(kind: str, key: str) -> Generator[Read, Any, Record | None]:
    """`yield from get(...)`: the record under an address, typed."""
    found: Record | None = yield Get(Ref(kind, key))
    return found


def look(kind: str, key: str) -> Generator[Read, Any, Record | None]:
    """`yield from look(...)`: the live record under an address as this store has it, typed."""
    found: Record | None = yield Look(Ref(kind, key))
    return None if found is None or found.deleted else found


def holding(pair: Pair) -> Generator[Read, Any, PairState]:
    """`yield from holding(...)`: who holds a pair, typed."""
    state: PairState = yield Holding(pair)
    return state


def touches(memory_id: str) -> Generator[Read, Any, list[Record]]:
    """`yield from touches(...)`: the touch records of a memory, typed."""
    found: list[Record] = yield Touches(memory_id)
    return found
