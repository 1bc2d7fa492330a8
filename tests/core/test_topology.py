"""The graph of peers: whole without any one rack, the same from both ends, and few lines per node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.topology import FULL, Place, peers_of


def fleet(racks: list[int], zones: int = 2) -> list[Place]:
    return [
        Place(f"r{rack}-{number}", f"r{rack}", f"z{rack % zones}")
        for rack, count in enumerate(racks)
        for number in range(count)
    ]


def reached(graph: dict[str, tuple[str, ...]], gone: set[str]) -> set[str]:
    left = [name for name in graph if name not in gone]
    found, waiting = set(left[:1]), left[:1]
    while waiting:
        for peer in graph[waiting.pop()]:
            if peer not in found and peer not in gone:
                found.add(peer)
                waiting.append(peer)
    return found


@given(st.lists(st.integers(1, 8), min_size=1, max_size=12))
def test_any_one_rack_may_go_and_all_others_still_reach_each_other(racks: list[int]) -> None:
    places = fleet(racks)
    graph = peers_of(places)
    assert reached(graph, set()) == set(graph)
    for rack in {place.rack for place in places}:
        gone = {place.name for place in places if place.rack == rack}
        assert reached(graph, gone) == set(graph) - gone


@given(st.lists(st.integers(1, 8), min_size=1, max_size=12))
def test_lines_have_two_ends(racks: list[int]) -> None:
    graph = peers_of(fleet(racks))
    for name, peers in graph.items():
        assert name not in peers
        assert all(name in graph[peer] for peer in peers)


def test_a_small_fleet_is_whole() -> None:
    assert all(len(peers) == FULL - 1 for peers in peers_of(fleet([4, 3])).values())


@pytest.mark.parametrize(("racks", "lines"), [([4, 4, 4], 5), ([10] * 10, 13)])
def test_a_node_of_a_large_fleet_has_few_peers_and_some_in_other_racks(racks: list[int], lines: int) -> None:
    places = fleet(racks)
    rack_of = {place.name: place.rack for place in places}
    for name, peers in peers_of(places).items():
        assert len(peers) == lines
        assert len({rack_of[peer] for peer in peers} - {rack_of[name]}) >= 2


def test_neighbours_on_the_ring_stand_in_different_zones_where_they_can() -> None:
    places = [
        Place(f"r{rack}-{at}", f"r{rack}", "east" if rack < 4 else "west") for rack in range(8) for at in range(2)
    ]
    zone_of = {place.name: place.zone for place in places}
    for name, peers in peers_of(places).items():
        assert any(zone_of[peer] != zone_of[name] for peer in peers)
