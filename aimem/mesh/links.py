"""All that belongs to one peer of this node, in one place, and what follows from who answers at all the addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from aimem.mesh.inquiry import Questions
from aimem.mesh.legacy_peer import LegacyPeer
from aimem.mesh.peer import Peer
from aimem.mesh.pulling import Catchup
from aimem.mesh.pushing import PushLane
from aimem.mesh.sharing import Witness


class PeerLink:
    """A peer, catching up with it, asking it, and pushing to it. `kept` is how far it had the own feed when this
    process started, `met` whether it was ever met. `proven` is the start of it that proved to share this node's store,
    `looked_at` the last one of which that was found out."""

    def __init__(self, peer: Peer, legacy: LegacyPeer, catchup: Catchup, ask: Questions, witness: Witness) -> None:
        self.peer = peer
        self.legacy = legacy
        self.catchup = catchup
        self.ask = ask
        self.witness = witness
        self.proven: str | None = None
        self.looked_at: str | None = None
        self.push: PushLane | None = None  # made when it is known who answers there
        self.kept = 0
        self.met = False

    @property
    def shares(self) -> bool:
        """Whether who answered there last speaks for the store of this node."""
        return self.proven is not None and self.peer.identity is not None and self.peer.identity.start == self.proven

    @property
    def caught_up(self) -> bool:
        """Whether all that it holds was read once since the start."""
        return self.catchup.finished.is_set() or self.legacy.reading.finished.is_set()

    @property
    def can_acknowledge(self) -> bool:
        """Whether what answers there may count towards W."""
        return self.legacy.counts if self.legacy.active else True

    @property
    def up(self) -> bool:
        """Whether it would count now: it answers, and may."""
        return self.legacy.counts if self.legacy.active else self.peer.up


class Links:
    """All peers of a node. What every write wants to know of them is worked out when somebody else answers at an
    address, not with every write."""

    def __init__(self, urls: Sequence[str], make: Callable[[str], PeerLink]) -> None:
        self._all = [make(url) for url in urls]
        for link in self._all:
            link.peer.changed = self._work_out
        self._work_out()

    def __iter__(self) -> Iterator[PeerLink]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def outside(self) -> list[PeerLink]:
        """The others, less those that speak for the store of this node."""
        return [link for link in self.others if not link.shares]

    @property
    def sharing(self) -> list[PeerLink]:
        """Those that speak for the store of this node."""
        return [link for link in self.others if link.shares]

    def _work_out(self) -> None:
        self.others = [link for link in self._all if link.peer.counts]
        """Those that do not lead back to this very process."""
        peers = [link.peer for link in self.others]
        self.urls = tuple(peer.url for peer in peers)
        """Where those are found."""
        self.known = tuple(sorted({peer.node for peer in peers if peer.node}))
        """The node ids of who answered there."""
