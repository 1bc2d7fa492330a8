"""Who should be whose peer in a fleet of racks: a graph that no lost rack takes apart, with few lines per node.

Up to FULL nodes: everybody knows everybody. Above that a node knows its own rack, and its counterparts (the node of the
same number) in the next two racks on either side of a ring of racks. The ring alone would fall into two parts with two
racks gone; with the second neighbours it holds together as long as no two neighbouring racks are lost at once, and any
one rack may go. Zones are mixed around the ring, so neighbours stand in different zones where that can be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Final, NamedTuple

FULL: Final = 7
_REACH = 2  # racks to either side


class Place(NamedTuple):
    """A node and where it stands; without a rack it stands in one of that name."""

    name: str
    rack: str | None = None
    zone: str | None = None


def peers_of(places: Sequence[Place]) -> dict[str, tuple[str, ...]]:
    """The peers of each node, in the order of `places`. Both ends of a line name each other."""
    order = {place.name: at for at, place in enumerate(places)}
    lines: dict[str, set[str]] = {name: set() for name in order}

    def join(one: str, other: str) -> None:
        if one != other:
            lines[one].add(other)
            lines[other].add(one)

    racks = _racks(places)
    groups = [list(order)] if len(places) <= FULL else list(racks.values())
    for group in groups:
        for at, one in enumerate(group):
            for other in group[at + 1 :]:
                join(one, other)
    if len(places) > FULL:
        ring = [racks[rack] for rack in _ring(places, racks)]
        for at, rack in enumerate(ring):
            for step in range(1, _REACH + 1):
                _bridge(rack, ring[(at + step) % len(ring)], join)
    return {name: tuple(sorted(found, key=order.__getitem__)) for name, found in lines.items()}


def _bridge(one: Sequence[str], other: Sequence[str], join: Callable[[str, str], None]) -> None:
    for number in range(max(len(one), len(other))):
        join(one[number % len(one)], other[number % len(other)])


def _racks(places: Sequence[Place]) -> dict[str, list[str]]:
    racks: dict[str, list[str]] = defaultdict(list)
    for place in places:
        racks[place.rack or ""].append(place.name)
    return racks


def _ring(places: Sequence[Place], racks: Mapping[str, object]) -> list[str]:
    """The racks, those of different zones in turn."""
    zone_of = {place.rack or "": place.zone or "" for place in places}
    zones: dict[str, list[str]] = defaultdict(list)
    for rack in racks:
        zones[zone_of[rack]].append(rack)
    return [rack for rack in chain.from_iterable(zip_longest(*zones.values())) if rack is not None]
