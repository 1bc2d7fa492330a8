"""Faults of lines: they are cut, in one direction or both, or carry very little."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable

from chaoslib.fault import Fault
from chaoslib.mesh import Mesh
from chaoslib.network import Line


def both(lines: Iterable[Line]) -> set[Line]:
    """These lines in both directions."""
    return {line for one, other in lines for line in ((one, other), (other, one))}


def apart(mesh: Mesh, side: Iterable[str]) -> set[Line]:
    """All lines between these nodes and the others."""
    inside = set(side)
    return both((one, other) for one in inside for other in mesh.names if other not in inside)


def _all_in_one(mesh: Mesh, of: str) -> str | None:
    """That all nodes stand in one rack or zone, if they do."""
    return f"all nodes stand in one {of}" if len(mesh.groups(of)) < 2 else None


class Cut(Fault):
    """What all cut lines have in common."""

    needs = frozenset({"cut"})

    @abstractmethod
    def lines(self) -> set[Line]:
        """Which lines are cut."""

    def begin(self) -> None:
        lines = self.lines()
        self.told = self.told or " ".join(f"{sender}>{receiver}" for sender, receiver in sorted(lines))
        self.mesh.cut(lines)

    def heal(self) -> None:
        self.mesh.join()


class Minority(Cut):
    """Fewer than half of the nodes are cut off from the others, and hear each other."""

    def lines(self) -> set[Line]:
        side = [victim.name for victim in self.some(max(1, (len(self.mesh.names) - 1) // 2))]
        self.told = f"{' '.join(side)} | rest"
        return apart(self.mesh, side)


class Rack(Cut):
    """A rack is cut off from the others."""

    of = "rack"

    @classmethod
    def why_not(cls, mesh: Mesh) -> str | None:
        return super().why_not(mesh) or _all_in_one(mesh, cls.of)

    def lines(self) -> set[Line]:
        groups = self.mesh.groups(self.of)
        lost = self.rand.choice(sorted(groups))
        self.told = f"{self.of} {lost} | rest"
        return apart(self.mesh, groups[lost])


class Zone(Rack):
    """A zone, with all its racks, is cut off from the others."""

    of = "zone"


class Bridge(Cut):
    """One line between two racks, or all lines between two racks, is cut."""

    @classmethod
    def why_not(cls, mesh: Mesh) -> str | None:
        return super().why_not(mesh) or _all_in_one(mesh, "rack")

    def lines(self) -> set[Line]:
        rack = {name: member.rack for name, member in self.mesh.members.items()}
        bridges = [(one, other) for one, peers in self.mesh.peers.items() for other in peers if rack[one] < rack[other]]
        chosen = self.rand.choice(bridges)
        if self.rand.random() < 0.5:
            return both([chosen])
        racks = {rack[name] for name in chosen}
        return both(bridge for bridge in bridges if {rack[name] for name in bridge} == racks)


class OneWay(Cut):
    """One node is not heard by some others, or hears them not; the other direction is whole."""

    def lines(self) -> set[Line]:
        (victim,) = self.some()
        others = [name for name in self.mesh.names if name != victim.name]
        deaf = self.rand.sample(others, self.rand.randint(1, len(others)))
        lines = {(victim.name, other) for other in deaf}
        return lines if self.rand.random() < 0.5 else {line[::-1] for line in lines}


class LostAcks(Fault):
    """Again and again one node's messages arrive and are done, and the answers are lost on their way back."""

    needs = frozenset({"cut"})

    def begin(self) -> None:
        for _ in range(self.rand.randint(2, 3)):
            entry = self.rand.choice(self.mesh.names)
            self.told += f" >{entry}"
            self.mesh.cut({(peer, entry) for peer in self.mesh.peers[entry]})
            time.sleep(self.rand.uniform(0.3, 0.7))
            self.mesh.join()
            time.sleep(self.rand.uniform(0.05, 0.2))

    def hold(self) -> None:
        return

    def heal(self) -> None:
        return


class Slow(Fault):
    """The line of a node carries very little."""

    needs = frozenset({"slow"})

    def begin(self) -> None:
        self.victim, kbit = self.node(), self.rand.choice((64, 128, 256, 512))
        self.told = f"{self.victim.name} at {kbit} kbit/s"
        self.minted.network.slow(self.victim.name, kbit)

    def heal(self) -> None:
        self.minted.network.fast()
