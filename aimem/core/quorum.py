"""Quorum rounds: when a write counts as acknowledged, and why it does not. No network here, and no clock.

A round is told what happens (the local commit, each peer's outcome, that the time is up) and says what has come of it.
It counts distinct nodes, self included: two addresses that lead to one node count once, and an address that leads back
to this very process never counts. An address that nothing was heard from can't have acknowledged anything. Where
several nodes speak for one store, each of them counts, and the result says on how many stores the write lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

UNREACHABLE, TIMEOUT, REFUSED = "unreachable", "timeout", "refused"
SUPERSEDED, CLOCK_SKEW, RACKS, STORES = "superseded", "clock_skew", "racks", "stores"
_TELLING = (SUPERSEDED, CLOCK_SKEW, REFUSED, TIMEOUT, UNREACHABLE)
"""Reasons of a shortfall, the one that tells most first."""


def majority(nodes: int) -> int:
    """The least number of which any two sets among `nodes` share a member."""
    return nodes // 2 + 1


class Policy(NamedTuple):
    """`nodes` is N: this one and its configured peers, less addresses that proved to be this very process; `writes`
    is W, self included; `racks` is R, in how many racks the acknowledgements must lie, and `stores` on how many
    distinct stores: 1 where W counts nodes only, W where it counts stores."""

    nodes: int
    writes: int
    racks: int = 1
    stores: int = 1

    @property
    def reads(self) -> int:
        """How many nodes, self included, must have been asked before a write so that one of them holds whatever was
        acknowledged before it: any N - W + 1 of N meet any W."""
        return self.nodes - self.writes + 1

    @property
    def asks(self) -> bool:
        """Whether asking before a write can order it: not where only one node need hold a write, and needless where
        every node must."""
        return 1 < self.writes < self.nodes


def describe(policy: Policy) -> str:
    """The policy in words: what it survives, and what it does not promise."""
    nodes, writes, racks, stores = policy
    if nodes == 1:
        return "one node, W=1: survives no loss of this node"
    words = f"W={writes} of N={nodes}: survives the loss of {writes - 1}"
    if stores > 1:
        words = f"W={writes} distinct stores among N={nodes} nodes: survives the loss of {writes - 1} stores"
    if writes == 1:
        words += "; acknowledged before any peer has it"
    elif writes < majority(nodes):
        half = nodes == 2 * writes
        words += f"; not a majority, {'both halves of an even split' if half else 'parts of a split fleet'} accept"
    elif writes == nodes:
        words += "; no write while any node is away"
    return words + (f"; in at least {racks} racks" if racks > 1 else "")


def fits_in_one_rack(policy: Policy, own: str | None, racks: Sequence[str | None]) -> bool:
    """True when W could be met by nodes of one rack alone, while some peer is known to be in another. `racks` are
    those of the peers."""
    known = [rack for rack in (own, *racks) if rack is not None]
    return own is not None and policy.racks == 1 and len(set(known)) > 1 and known.count(own) >= policy.writes


def fits_in_one_store(policy: Policy, own: str, stores: Sequence[str | None]) -> bool:
    """True when W could be met by nodes of one store alone, so that the loss of that store could lose a write. `stores`
    are those of the peers, None for one that was not met."""
    known = [own, *(store for store in stores if store is not None)]
    return policy.stores == 1 < policy.writes <= max(map(known.count, known))


class Applied(NamedTuple):
    """The peer holds what was written, durably. `node` is who it is, `rack` where it stands, `store` the store that it
    speaks for: None for one of its own."""

    node: str
    rack: str | None = None
    store: str | None = None


class Superseded(NamedTuple):
    """The peer holds a newer version than was written."""

    node: str
    version: str
    rack: str | None = None
    store: str | None = None


class Failed(NamedTuple):
    """No acknowledgement, and why."""

    reason: str


Outcome = Applied | Superseded | Failed


class Met(NamedTuple):
    """Acknowledged: by `acks` nodes in `racks` known racks. `newer` is a version that stands above the write
    somewhere, if one was met. `stores` is on how many stores it lies: None where each node has its own. `holders` are
    the nodes that acknowledged so far, this one included."""

    acks: int
    racks: int
    newer: str | None = None
    stores: int | None = None
    holders: tuple[str, ...] = ()


class NotMet(NamedTuple):
    """Not acknowledged: `got` of `needed`, and the reason that tells most. Where the reason is `racks` or `stores`,
    both count those. `newer` is a version that stands above the write somewhere, if one was met."""

    got: int
    needed: int
    reason: str
    newer: str | None = None


class Round:
    """One write on its way to W nodes. `peers` are the addresses that it is sent to, `this` is the own node's id,
    `store` the own store.

    An ordered round asked enough nodes before it wrote: whatever is newer overlapped it in time, and holds the write's
    place as well as the write itself would. In an unordered one a newer version may be older news.
    """

    __slots__ = ("_committed", "_hopeful", "_outcomes", "_over", "ordered", "peers", "policy", "rack", "store", "this")

    def __init__(
        self, policy: Policy, this: str, peers: Sequence[str], *, rack: str | None, ordered: bool, store: str = ""
    ) -> None:
        self.policy = policy
        self.this = this
        self.peers = tuple(peers)
        self.rack = rack
        self.store = store
        self.ordered = ordered
        self._outcomes: dict[str, Outcome] = {}
        self._hopeful = 0  # addresses that acknowledged: at least as many as nodes did
        self._committed = False
        self._over = False

    def committed(self) -> None:
        """The write is durable here."""
        self._committed = True

    def heard(self, peer: str, outcome: Outcome) -> None:
        """What came of one address. The first acknowledgement from it stands."""
        held = self._outcomes.get(peer)
        if peer in self.peers and (held is None or not self._acknowledges(held)):
            self._outcomes[peer] = outcome
            self._hopeful += self._acknowledges(outcome)

    def time_is_up(self) -> None:
        """Nothing more is waited for."""
        self._over = True

    def result(self) -> Met | NotMet | None:
        """What has come of the round; None while that is open."""
        waiting = not self._over and len(self._outcomes) < len(self.peers)
        if waiting and self._hopeful + 1 < self.policy.writes:
            return None
        acks = self._acks()
        racks = {rack for rack in (self.rack, *(each.rack for each in acks.values())) if rack is not None}
        stores = {self.store, *(each.store or each.node for each in acks.values())}
        got = self._committed + len(acks)
        enough = self._committed and got >= self.policy.writes
        short_of_racks = self.policy.racks > max(1, len(racks))
        short_of_stores = self.policy.stores > len(stores)
        newer = self._newer()
        if enough and not short_of_racks and not short_of_stores:
            holders = (self.this, *sorted(acks))
            return Met(got, len(racks), newer, None if len(stores) == got else len(stores), holders)
        if waiting:
            return None
        if enough and short_of_racks:
            return NotMet(len(racks), self.policy.racks, RACKS, newer)
        if enough:
            return NotMet(len(stores), self.policy.stores, STORES, newer)
        return NotMet(got, self.policy.writes, self._reason(), newer)

    def _newer(self) -> str | None:
        return max((each.version for each in self._outcomes.values() if isinstance(each, Superseded)), default=None)

    def _acknowledges(self, outcome: Outcome) -> bool:
        return isinstance(outcome, Applied) or (isinstance(outcome, Superseded) and self.ordered)

    def _acks(self) -> dict[str, Applied | Superseded]:
        """The nodes other than this one that acknowledged."""
        found = (each for each in self._outcomes.values() if not isinstance(each, Failed) and self._acknowledges(each))
        return {each.node: each for each in found if each.node != self.this}

    def _reason(self) -> str:
        reasons = {SUPERSEDED for each in self._outcomes.values() if isinstance(each, Superseded) and not self.ordered}
        reasons |= {each.reason for each in self._outcomes.values() if isinstance(each, Failed)}
        if len(self._outcomes) < len(self.peers):
            reasons.add(TIMEOUT)
        return next((reason for reason in _TELLING if reason in reasons), UNREACHABLE)
