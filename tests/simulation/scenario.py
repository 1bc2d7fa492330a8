"""What a seed stands for: how many nodes, who is whose peer, the quorum, how many callers, and how bad it gets."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from aimem.core.quorum import majority
from aimem.core.timestamp import SECOND_NS

CALM, STALE, AWAY, MILD, WILD = "calm", "stale", "away", "mild", "wild"
BIG_EVERY = 100
"""Every so many seeds one is of 100 nodes in 10 racks, of which one is lost."""
RUSH_EVERY = 10
"""Every so many seeds one is of 16 callers who write one key, without any fault."""
STALE_EVERY = 5
"""Every so many seeds one is of few keys, clocks apart and slow links: writes at nodes that have not heard the news."""
AWAY_EVERY = 10
"""Every so many seeds one is of nodes that are away for days, longer than tombstones are kept."""
SHARED_EVERY = 10
"""Every so many seeds one is of nodes some of which speak for one store."""

Graph = dict[str, list[str]]


@dataclass
class Scenario:
    """See the module. `losses` is how many disks may be lost, `skew` (ns) how far clocks may be off from the start;
    `pause` is how long (s) a caller waits between requests; `governed`: most requests rule and decide; `option` is what
    `scripts/simulate` is told for seeds of this kind."""

    seed: int
    shape: str
    graph: Graph
    rack_of: dict[str, str]
    writes: int | None
    weather: str
    callers: int
    requests: int
    keys: int = 8
    racks: int = 1
    losses: int = 0
    skew: int = 0
    pause: float = 0.5
    rack_lost: bool = False
    rush: bool = False
    store_of: dict[str, str] = field(default_factory=dict)
    governed: bool = False
    option: str = ""
    mesh: dict[str, Any] = field(default_factory=dict)
    node: dict[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What runs it again."""
        return f"scripts/simulate {self.option}--seed {self.seed}"

    @property
    def catchup_secs(self) -> float:
        """The interval of catching up."""
        return float(self.mesh["catchup_secs"])

    def __str__(self) -> str:
        quorum = "majority" if self.writes is None else f"W={self.writes}"
        return (
            f"seed {self.seed}: {len(self.graph)} nodes, {self.shape}, {quorum}, R={self.racks}, {self.weather}, "
            f"{self.callers} callers, {self.requests} requests, {self.losses} disks lost at most"
        )


def scenario(seed: int) -> Scenario:
    """The scenario of a seed: always the same."""
    rand = random.Random(seed)
    if seed % BIG_EVERY == BIG_EVERY - 1:
        return _big(seed, rand)
    if seed % RUSH_EVERY == RUSH_EVERY - 1:
        return _rush(seed, rand)
    if seed % STALE_EVERY == STALE_EVERY - 2:
        return _stale(seed, rand)
    if seed % AWAY_EVERY == AWAY_EVERY - 4:
        return _away(seed, rand)
    if seed % SHARED_EVERY == SHARED_EVERY - 8:
        return _shared(seed, rand)
    return _plain(seed, rand)


def governed(seed: int) -> Scenario:
    """One in which most requests rule and decide; of every ten, one with nodes that speak for one store."""
    rand = random.Random(f"governed {seed}")
    made = _shared(seed, rand) if seed % SHARED_EVERY == 0 else _plain(seed, rand, share=1.0)
    return replace(made, governed=True, option="--governed ")


def _plain(seed: int, rand: random.Random, share: float = 0.6) -> Scenario:
    count = rand.choice((3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 10, 12, 25))
    governs = rand.random() < share
    shape, graph, rack_of = _shape(rand, count)
    least = min(len(peers) + 1 for peers in graph.values())
    writes = rand.choice((None, None, 1, 2, rand.randint(1, least), least))
    weather = rand.choice((CALM, MILD, MILD, WILD, WILD, WILD))
    fewest = majority(least) if writes is None else writes
    racks = rand.choice((1, 2)) if rack_of else 1
    max_skew = rand.choice((2, 5, 30)) * SECOND_NS
    return Scenario(
        seed,
        shape,
        graph,
        rack_of,
        writes,
        weather,
        callers=rand.randint(1, 6),
        requests=rand.randint(15, 60) * (2 if governs else 1),
        keys=rand.choice((1, 2, 4, 8)),
        racks=racks,
        losses=0 if weather == CALM else rand.randint(0, fewest - 1),
        skew=rand.choice((0, max_skew // 3)),
        mesh={
            "timeout": rand.choice((0.5, 2.0, 2.0)),
            "catchup_secs": rand.choice((2.0, 10.0, 30.0)),
            "max_skew": max_skew,
            "keep_superseded": rand.random() < 0.2,
        },
        node={
            "archive_on_gc": rand.random() < 0.6,
            "collect_grace_secs": rand.choice((0, 3, 3_600)),
            "archive_superseded": rand.random() < 0.2,
        },
        governed=governs,
    )


def _rush(seed: int, rand: random.Random) -> Scenario:
    count = rand.choice((3, 4, 6))
    return Scenario(
        seed,
        "full",
        full(count),
        {},
        rand.choice((None, 2, count)),
        CALM,
        callers=16,
        requests=64,
        keys=1,
        rush=True,
        mesh={"catchup_secs": 10.0},
    )


def _stale(seed: int, rand: random.Random) -> Scenario:
    count = rand.choice((3, 4, 5, 6))
    return Scenario(
        seed,
        "full",
        full(count),
        {},
        rand.randint(2, count - 1),
        STALE,
        callers=rand.randint(2, 4),
        requests=40,
        keys=1,
        skew=10 * SECOND_NS,
        mesh={"catchup_secs": 30.0},
    )


def _away(seed: int, rand: random.Random) -> Scenario:
    count = rand.choice((3, 4, 5))
    shape, graph = rand.choice((("full", full(count)), ("full", full(count)), ("ring", ring(count))))
    return Scenario(
        seed,
        shape,
        graph,
        {},
        2,
        AWAY,
        callers=4,
        requests=100,
        keys=8,
        losses=1,
        pause=20.0,
        mesh={"catchup_secs": 30.0, "tombstone_days": 1},
        node={"tombstone_days": 1, "archive_on_gc": rand.random() < 0.5, "collect_grace_secs": 3},
    )


def _shared(seed: int, rand: random.Random) -> Scenario:
    """Three kinds of fleet: one store for all, one store per site, and one among nodes with their own. A store is lost
    only where the quorum counts stores."""
    count = rand.choice((3, 4, 5, 6))
    shape, graph = rand.choice((("full", full(count)), ("full", full(count)), ("ring", ring(count))))
    names = list(graph)
    kind = rand.choice(("one", "sites", "sites", "mixed", "mixed"))
    store_of = dict.fromkeys(names if kind == "one" else names[: count // 2 + 1], "s")
    if kind == "sites":
        store_of |= dict.fromkeys(names[count // 2 + 1 :], "t")
    scope = kind == "sites" and shape == "full" and rand.random() < 0.5
    least = min(len(peers) + 1 for peers in graph.values())
    weather = rand.choice((CALM, MILD, WILD, WILD))
    return Scenario(
        seed,
        f"{shape}, {kind} shared",
        graph,
        {},
        2 if scope else rand.choice((None, 1, 2, least)),
        weather,
        callers=rand.randint(2, 6),
        requests=rand.randint(20, 60),
        keys=rand.choice((1, 2, 8)),
        losses=1 if scope and weather == WILD else 0,
        skew=rand.choice((0, SECOND_NS)),
        store_of=store_of,
        mesh={
            "timeout": 2.0,
            "catchup_secs": rand.choice((2.0, 10.0)),
            "max_skew": 5 * SECOND_NS,
            "stores_count": scope,
        },
        node={"archive_on_gc": rand.random() < 0.5, "collect_grace_secs": rand.choice((0, 3))},
    )


def _big(seed: int, rand: random.Random) -> Scenario:
    graph, rack_of = bridged(10, 10)
    return Scenario(
        seed,
        "bridged",
        graph,
        rack_of,
        rand.choice((3, 4)),
        rand.choice((CALM, MILD)),
        callers=6,
        requests=30,
        racks=2,
        rack_lost=True,
        mesh={"catchup_secs": 30.0},
    )


def large(seed: int) -> Scenario:
    """Of 100 or 200 nodes in racks of ten, each with five peers at most, of which a rack is lost."""
    rand = random.Random(f"large {seed}")
    graph, rack_of = sparse(rand.choice((10, 20)), 10)
    return Scenario(
        seed,
        "sparse",
        graph,
        rack_of,
        rand.choice((None, 2, 3)),
        rand.choice((CALM, MILD, WILD)),
        callers=8,
        requests=rand.randint(8, 24),
        keys=rand.choice((1, 4, 8)),
        racks=rand.choice((1, 2)),
        rack_lost=True,
        governed=rand.random() < 0.5,
        option="--large ",
        mesh={"catchup_secs": rand.choice((10.0, 30.0))},
    )


def _shape(rand: random.Random, count: int) -> tuple[str, Graph, dict[str, str]]:
    shape = rand.choice(("full", "full", "full", "ring", "star", "bridged"))
    if shape == "full" and count <= 12:
        return shape, full(count), {}
    if shape == "ring":
        return shape, ring(count), {}
    if shape == "star":
        return shape, star(count), {}
    return "bridged", *bridged(max(2, count // 4), min(4, count))


def full(count: int) -> Graph:
    """Everybody is everybody's peer."""
    names = _names(count)
    return {name: [other for other in names if other != name] for name in names}


def ring(count: int) -> Graph:
    """Everybody has two neighbours."""
    names = _names(count)
    return {name: sorted({names[at - 1], names[(at + 1) % count]}) for at, name in enumerate(names)}


def star(count: int) -> Graph:
    """One in the middle has all others."""
    middle, *rest = _names(count)
    return {middle: rest, **{name: [middle] for name in rest}}


def bridged(racks: int, each: int) -> tuple[Graph, dict[str, str]]:
    """Racks inside which everybody knows everybody. Two nodes of a rack have a peer in each of the next two racks, so
    the graph stays connected without any one rack, and every node has a peer in another rack."""
    rack_of = {f"r{rack}n{at}": f"r{rack}" for rack in range(racks) for at in range(each)}
    graph: dict[str, set[str]] = {
        name: {other for other in rack_of if rack_of[other] == rack and other != name} for name, rack in rack_of.items()
    }
    for rack in range(racks):
        for at in range(each):
            other = f"r{(rack + (1 + at % 2 if racks > 2 else 1)) % racks}n{at}"
            if rack_of[other] != f"r{rack}":
                graph[f"r{rack}n{at}"].add(other)
                graph[other].add(f"r{rack}n{at}")
    return {name: sorted(peers) for name, peers in graph.items()}, rack_of


def sparse(racks: int, each: int) -> tuple[Graph, dict[str, str]]:
    """Racks that are rings with a chord from every node to the one across. Every node has a peer in one of the next
    two racks and one in one of the two before: five in all, and the loss of a rack cuts nobody off."""
    rack_of = {f"r{rack}n{at}": f"r{rack}" for rack in range(racks) for at in range(each)}
    graph: dict[str, set[str]] = {name: set() for name in rack_of}
    for rack in range(racks):
        for at in range(each):
            further = (rack + 1 + at // 2 % 2) % racks
            for other in (f"r{rack}n{(at + 1) % each}", f"r{rack}n{(at + each // 2) % each}", f"r{further}n{at}"):
                graph[f"r{rack}n{at}"].add(other)
                graph[other].add(f"r{rack}n{at}")
    return {name: sorted(peers) for name, peers in graph.items()}, rack_of


def _names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]
