"""The mesh in words and numbers, for `status` and whoever is on call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimem.core.quorum import Policy, fits_in_one_rack, fits_in_one_store
from aimem.mesh.links import Links, PeerLink
from aimem.mesh.peer import Peer


def reachable(node: str, links: Links) -> int:
    """How many distinct nodes there can be that count towards W, by what is known of who answers where."""
    counted = [link for link in links.others if link.can_acknowledge]
    peers = [link.peer for link in counted if not link.legacy.active]
    known = {peer.node for peer in peers if peer.node is not None and peer.node != node}
    return 1 + len(known) + sum(peer.node is None for peer in peers) + len(counted) - len(peers)


def racks_of(own: str | None, peers: Sequence[Peer]) -> int:
    """In how many named racks this node and these peers stand, by what the peers said."""
    return len({own, *(peer.identity.rack for peer in peers if peer.identity)} - {None})


def stores_of(own: str, peers: Sequence[Peer]) -> set[str]:
    """On how many stores this node and these peers keep what they hold, by what the peers said."""
    return {own, *(peer.identity.incarnation for peer in peers if peer.identity)}


def stores_reachable(own: str, links: Links) -> int:
    """How many distinct stores there can be, by what is known: an address where nobody was met may have one more."""
    peers = [link.peer for link in links.others if link.can_acknowledge]
    return len(stores_of(own, peers)) + sum(peer.identity is None for peer in peers)


def stores_told(node: str, own: str, links: Links) -> dict[str, Any]:
    """Which nodes speak for which store, and what the loss of one would mean, in words."""
    nodes: dict[str, set[str]] = {own: {node}}
    for peer in (link.peer for link in links.others):
        if peer.identity is not None:
            nodes.setdefault(peer.identity.incarnation, set()).add(peer.identity.node)
    shared = [f"{', '.join(sorted(names))} speak for one store" for names in nodes.values() if len(names) > 1]
    lost = "its loss is the loss of all that they hold, whatever W is, unless its own replicas have it"
    return {
        "nodes": {store: sorted(names) for store, names in nodes.items()},
        "words": "; ".join([*shared, lost] if len(nodes) == 1 and shared else shared) or "every node has its own store",
    }


def warnings(policy: Policy, node: str, rack: str | None, store: str, links: Links) -> list[str]:
    """What about the setting an operator should know."""
    told = []
    peers = [link.peer for link in links.others]
    if fits_in_one_store(policy, store, [peer.identity.incarnation if peer.identity else None for peer in peers]):
        told.append(f"W={policy.writes} can be met by nodes of one store alone: see --quorum-scope")
    if policy.stores > stores_reachable(store, links):
        found = stores_reachable(store, links)
        told.append(f"W={policy.writes} can't be met: the addresses lead to {found} distinct store{'s'[found == 1 :]}")
    if fits_in_one_rack(policy, rack, [peer.identity.rack if peer.identity else None for peer in peers]):
        told.append(f"W={policy.writes} can be met inside rack {rack}: see --quorum-racks")
    if policy.racks > max(1, racks_of(rack, peers)) and all(peer.identity for peer in peers):
        found = racks_of(rack, peers)
        told.append(
            f"R={policy.racks} can't be met: the nodes stand in {found} named rack{'s'[found == 1 :]}: see --rack"
        )
    if policy.writes > reachable(node, links):
        told.append(f"W={policy.writes} can't be met: the addresses lead to {reachable(node, links)} nodes only")
    for link in links:
        if link.legacy.active:
            how = "counts, though it does not sync its disk" if link.legacy.counts else "does not count towards W"
            told.append(f"{link.peer.url} is a node of the existing system: its acknowledgement {how}")
    seen: dict[str | None, str] = {node: "this node"}
    for peer in (link.peer for link in links):
        if peer.is_self:
            told.append(f"{peer.url} is this very node: not counted")
        elif peer.node in seen:
            told.append(f"{peer.url} is the same node as {seen[peer.node]}: counted once")
        elif peer.node is not None:
            seen[peer.node] = peer.url
    return told


def state_of(peer: Peer) -> str:
    """`self`, `up`, `down`, or `unknown` before it was tried."""
    if peer.is_self:
        return "self"
    if peer.identity is None and peer.error is None:
        return "unknown"
    return "up" if peer.up else "down"


def described(link: PeerLink, time: float, *, holds_up: bool) -> dict[str, Any]:
    """A peer as `status` shows it; `time` is the loop's. `holds_up`: tombstones wait for it to read them."""
    peer, push = link.peer, link.push
    identity = peer.identity
    return {
        "url": peer.url,
        "state": state_of(peer),
        "node": peer.node,
        "rack": identity.rack if identity else None,
        "zone": identity.zone if identity else None,
        "version": identity.version if identity else None,
        "protocol": identity.protocol if identity else None,
        "clock_offset_secs": None if peer.offset is None else round(peer.offset / 1e9, 3),
        "last_heard_secs": None if peer.heard_at is None else round(time - peer.heard_at, 3),
        "lag_rows": link.catchup.lag,
        "lag_secs": None if link.catchup.ended_at is None else round(time - link.catchup.ended_at, 3),
        "push_waiting": push.waiting if push is not None else 0,
        "push_gap": push.gap if push is not None else 0,
        "caught_up": link.catchup.finished.is_set(),
        "pushed_bytes": peer.sent["push"],
        "holds_up_sweeping": holds_up,
        "store": identity.incarnation if identity else None,
        "shares_store": link.shares,
        "error": peer.error,
        "legacy": False,
        **(link.legacy.described(time) if link.legacy.active else {}),
    }
