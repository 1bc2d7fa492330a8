"""What the mesh counts. The names that begin with `ai_memory_replication` are those that the existing system planned;
`peer` is the address that the operator gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aimem.node.metrics import Counter, Gauge, Metric, Sample, Watched

Peers = Callable[[], list[Mapping[str, Any]]]
"""The peers as `status` shows them."""

_GAUGES = {
    "aimem_peer_up": ("Whether a peer answered the last message.", lambda peer: float(peer["state"] == "up")),
    "aimem_peer_lag_rows": ("Rows of a peer's feed that were not read yet.", lambda peer: peer["lag_rows"]),
    "aimem_peer_lag_seconds": ("Since a peer's feed was read to its end.", lambda peer: peer["lag_secs"]),
    "aimem_peer_push_waiting": ("Records on their way to a peer.", lambda peer: peer["push_waiting"]),
    "aimem_peer_push_gap": ("Places of the feed that a peer has not got yet.", lambda peer: peer["push_gap"]),
    "aimem_peer_holds_up_sweeping": (
        "Whether old tombstones wait for a peer to read them.",
        lambda peer: float(peer["holds_up_sweeping"]),
    ),
    "aimem_peer_legacy": ("Whether a peer is of the existing system.", lambda peer: float(peer["legacy"])),
    "ai_memory_replication_clock_skew_seconds": (
        "How far a peer's clock is ahead of this node's.",
        lambda peer: peer["clock_offset_secs"],
    ),
}


class PeerGauge(Gauge):
    """A number per peer."""

    def __init__(self, name: str, help: str, peers: Peers, read: Callable[[Mapping[str, Any]], float | None]) -> None:
        super().__init__(name, help, lambda: None)
        self._peers, self._of = peers, read

    def samples(self) -> Iterator[Sample]:
        """A line for each peer that has something to say."""
        for peer in self._peers():
            if (value := self._of(peer)) is not None:
                yield Sample("", (("peer", str(peer["url"])),), value)


class PeerCounter(PeerGauge):
    """A count per peer that something else keeps."""

    kind = "counter"


class MeshMeters:
    """Made over what `status` shows of the peers."""

    def __init__(
        self,
        peers: Peers,
        quarantined: Callable[[], float],
        drifted: Callable[[], float],
        strangers: Callable[[], float],
    ) -> None:
        self.acks = Counter("ai_memory_replication_quorum_ack_total", "Writes by how their round ended.", ("result",))
        self.failures = Counter("ai_memory_replication_quorum_failures_total", "Rounds not met.", ("reason",))
        self.unordered = Counter("aimem_unordered_writes_total", "Writes acknowledged though too few peers were asked.")
        self.all: list[Metric] = [
            self.acks,
            self.failures,
            self.unordered,
            Gauge("aimem_quarantined", "Records that are kept aside.", quarantined),
            Gauge("aimem_store_strangers", "Nodes on the same shared store that no peer knows.", strangers),
            Watched("ai_memory_replication_id_drift_total", "Records found to drift, and repaired.", drifted),
            PeerCounter(
                "aimem_peer_pushed_bytes_total", "Bytes pushed to a peer.", peers, lambda peer: peer["pushed_bytes"]
            ),
            PeerCounter(
                "aimem_peer_legacy_skipped_total",
                "Items that a peer of the existing system did not take.",
                peers,
                lambda peer: peer.get("skipped"),
            ),
            *(PeerGauge(name, help, peers, read) for name, (help, read) in _GAUGES.items()),
        ]
