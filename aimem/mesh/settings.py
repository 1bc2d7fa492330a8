"""What the mesh can be told, and the transport that it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aimem.core.quorum import Policy, majority
from aimem.core.timestamp import SECOND_NS
from aimem.errors import Misconfigured


def everything(node: str) -> Callable[[str], bool] | None:
    """Where no list narrows a peer, it may carry all."""
    return None


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """`node` is this node's stable id. `writes` is W; None for a majority of this node and its peers.

    `catchup_secs` of 0: only when poked. `max_skew` in ns. `stores_count`: W counts distinct stores, not nodes."""

    node: str
    peers: tuple[str, ...] = ()
    writes: int | None = None
    timeout: float = 2.0
    racks: int = 1
    stores_count: bool = False
    rack: str | None = None
    zone: str | None = None
    catchup_secs: float = 30.0
    max_skew: int = 30 * SECOND_NS
    tombstone_days: int = 30
    keep_superseded: bool = False
    count_legacy_acks: bool = False
    """Whether the acknowledgement of a node of the existing system, which does not sync its disk, counts towards W."""
    fleet: str | None = None
    """What the fleet is called, where it has a name."""
    carries_of: Callable[[str], Callable[[str], bool] | None] = everything
    """By node id: which namespaces it may carry, None for all."""

    def policy(self, nodes: int) -> Policy:
        """The quorum among so many nodes, this one included."""
        writes = majority(nodes) if self.writes is None else self.writes
        if writes > 0:
            writes = max(writes, self.racks)  # so many racks need as many nodes
        return Policy(nodes, writes, self.racks, writes if self.stores_count else 1)


class Transport(Protocol):
    """How messages reach a peer."""

    async def post(self, url: str, path: str, body: bytes, *, timeout: float, lane: str) -> bytes:
        """The body of the peer's reply. Messages of one `lane` to one peer go one after the other.

        Raises:
            Unreachable: it could not be reached, or did not answer within `timeout` seconds.
            AimemError: it answered, and refused.
        """

    async def exchange(
        self, method: str, url: str, path: str, body: bytes, *, timeout: float, lane: str
    ) -> tuple[int, bytes]:
        """Status and body of the reply of whatever answers at `url`: it need not be one of ours.

        Raises:
            Unreachable: it could not be reached, or did not answer within `timeout` seconds.
        """

    def address(self, url: str) -> str | None:
        """The network address that `url` leads to; None when there is no connection to it."""

    async def close(self) -> None:
        """Let go of all connections."""


Clock = Callable[[], int]
"""Wall-clock time in ns since the epoch."""


def check(policy: Policy) -> None:
    """Raises: Misconfigured: the quorum can't be met with these peers."""
    if policy.writes < 0:
        raise Misconfigured(f"--quorum-writes is {policy.writes}; it can't be negative")
    if policy.writes > policy.nodes:
        raise Misconfigured(
            f"--quorum-writes {policy.writes} can't be met by {policy.nodes} nodes (this one and its peers)",
            hint=f"a majority is {majority(policy.nodes)}",
        )
    if policy.racks < 1:
        raise Misconfigured("--quorum-racks must be at least 1")
