"""All that belongs to one peer of this node, in one place."""

from __future__ import annotations

from collections.abc import Sequence

from aimem.core.asking import Question
from aimem.core.record import Record
from aimem.mesh.batched import Batched
from aimem.mesh.legacy_peer import LegacyPeer
from aimem.mesh.peer import Peer
from aimem.mesh.pulling import Catchup
from aimem.mesh.pushing import PushLane


class PeerLink:
    """A peer, catching up with it, asking it, and pushing to it. `kept` is how far it had the own feed when this
    process started, `met` whether it was ever met."""

    def __init__(
        self, peer: Peer, legacy: LegacyPeer, catchup: Catchup, ask: Batched[Sequence[Question], list[Record]]
    ) -> None:
        self.peer = peer
        self.legacy = legacy
        self.catchup = catchup
        self.ask = ask
        self.push: PushLane | None = None  # made when it is known who answers there
        self.kept = 0
        self.met = False

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
