"""Who is whose peer: `full`, `line`, `ring`, or `bridged`: racks that are full inside, in a ring, joined by bridges."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, pairwise

GRAPHS = ("full", "line", "ring", "bridged")


def peers_of(graph: str, rack_of: Mapping[str, str]) -> dict[str, list[str]]:
    """The peers of each node. In a bridged graph each node has its own number in the next rack as counterpart."""
    names = list(rack_of)
    racks = list(dict.fromkeys(rack_of.values()))
    inside = [[name for name in names if rack_of[name] == rack] for rack in racks]
    following = list(pairwise(names))
    if graph == "full":
        lines = list(combinations(names, 2))
    elif graph == "line":
        lines = following
    elif graph == "ring":
        lines = [*following, (names[-1], names[0])]
    else:
        lines = [pair for members in inside for pair in combinations(members, 2)]
        for one, other in zip(inside, [*inside[1:], *inside[:1]], strict=True):
            lines += zip(one, other, strict=False)
    both = {(one, other) for one, other in [*lines, *(pair[::-1] for pair in lines)] if one != other}
    return {name: [other for other in names if (name, other) in both] for name in names}


def diameter(peers: Mapping[str, list[str]]) -> int:
    """The most hops between any two nodes."""
    most = 0
    for start in peers:
        reached, hops = {start}, 0
        while more := {other for name in reached for other in peers[name]} - reached:
            reached |= more
            hops += 1
        most = max(most, hops)
    return most
