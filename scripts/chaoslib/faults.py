"""What goes wrong while callers write. Each class of faults begins, lasts, and is healed; then all is as it was.

A class says what must be possible to every node (`needs`); where it is not, it is skipped and said. To add a class, add
it to `CLASSES`.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable

from chaoslib import shared_store
from chaoslib.mesh import Mesh, Minted
from chaoslib.network import Line
from chaoslib.node import Member, Node, eventually
from chaoslib.shared_store import SharedStore

_SERVES_SECS = 60.0


class Fault(ABC):
    """One cycle's trouble. `begin` returns at once or when the trouble has taken its course; `heal` undoes it."""

    needs: frozenset[str] = frozenset()
    clocks_right = True
    """Whether the order of writes by time can be relied on meanwhile."""
    starts = False
    """Whether it starts the nodes itself, on what no other class runs on."""
    ends_electors = False
    """Whether stores go on as others, which do not speak for what they were as electors."""

    def __init__(self, mesh: Mesh, rand: random.Random) -> None:
        self.mesh = mesh
        self.rand = rand
        self.told = ""
        """What was done, in words."""

    def prepare(self) -> None:  # noqa: B027 (most need none)
        """Before anybody writes."""

    @abstractmethod
    def begin(self) -> None:
        """Do it."""

    def hold(self) -> None:
        """Let it last."""
        time.sleep(self.rand.uniform(0.4, 1.4))

    @abstractmethod
    def heal(self) -> None:
        """Undo it."""

    def after(self) -> None:  # noqa: B027 (most need none)
        """When all has been judged."""

    def some(self, most: int = 1) -> list[Member]:
        """Up to so many nodes."""
        names = self.rand.sample(self.mesh.names, self.rand.randint(1, min(most, len(self.mesh.names))))
        return [self.mesh.members[name] for name in names]

    def node(self) -> Node:
        """One node of a mesh that this run has made."""
        assert isinstance(self.mesh, Minted)
        return self.mesh.nodes[self.rand.choice(self.mesh.names)]


def both(lines: Iterable[Line]) -> set[Line]:
    """These lines in both directions."""
    return {line for one, other in lines for line in ((one, other), (other, one))}


def apart(mesh: Mesh, side: Iterable[str]) -> set[Line]:
    """All lines between these nodes and the others."""
    inside = set(side)
    return both((one, other) for one in inside for other in mesh.names if other not in inside)


class Kill(Fault):
    """SIGKILL to one node, to two, or to all at once; then they are started."""

    needs = frozenset({"kill", "start"})

    def begin(self) -> None:
        self.victims = self.some(self.rand.choice((1, 1, 1, 2, len(self.mesh.names))))
        self.told = " ".join(victim.name for victim in self.victims)
        for victim in self.victims:
            victim.kill()

    def heal(self) -> None:
        for victim in self.victims:
            victim.start()


class Stop(Fault):
    """SIGSTOP to one or two nodes; then they go on, with what was sent to them meanwhile."""

    needs = frozenset({"pause", "resume"})

    def begin(self) -> None:
        self.victims = self.some(2)
        self.told = " ".join(victim.name for victim in self.victims)
        for victim in self.victims:
            victim.pause()

    def heal(self) -> None:
        for victim in self.victims:
            victim.resume()


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
        assert isinstance(self.mesh, Minted)
        self.victim, kbit = self.node(), self.rand.choice((64, 128, 256, 512))
        self.told = f"{self.victim.name} at {kbit} kbit/s"
        self.mesh.network.slow(self.victim.name, kbit)

    def heal(self) -> None:
        assert isinstance(self.mesh, Minted)
        self.mesh.network.fast()


class Clock(Fault):
    """The clock of a node is wrong, within the bound or beyond it; then it jumps, and is set right. Which node that is
    stays the same for the life of a mesh: it runs under `clocked` from the first such cycle on."""

    needs = frozenset({"clock", "kill", "start"})
    clocks_right = False
    _ahead = 0.0
    _passed = 0.0
    """When all clocks have passed what any of them has shown."""

    def prepare(self) -> None:
        assert isinstance(self.mesh, Minted)
        misled = [node for node in self.mesh.nodes.values() if node.misled]
        self.victim = misled[0] if misled else self.node()
        self._set(self._offset())
        if not misled:
            self.victim.kill()
            self.victim.start()
            eventually(lambda: bool(self.victim.get("/health")), _SERVES_SECS)

    def _offset(self) -> float:
        bound = self.mesh.layout.max_skew
        return self.rand.choice((-1, 1)) * self.rand.choice((0.3, 0.9, 1.5, 3.0)) * bound

    def _set(self, ahead: float) -> None:
        self.told += f" {self.victim.name} {ahead:+.1f} s"
        self._passed = max(self._passed, time.monotonic() + max(ahead, self._ahead))
        self._ahead = ahead
        self.victim.clock(ahead)

    def begin(self) -> None:
        time.sleep(0.3)
        self._set(self._offset())

    def heal(self) -> None:
        self._set(0.0)

    def after(self) -> None:
        """Time has passed what was written by the wrong clock."""
        time.sleep(max(0.0, self._passed - time.monotonic()))


class FullDisk(Fault):
    """The disk of a node is full; then there is room again."""

    needs = frozenset({"fill"})

    def begin(self) -> None:
        self.victim = self.node()
        self.told = self.victim.name
        self.victim.fill()

    def heal(self) -> None:
        self.victim.free()


class Backup(Fault):
    """A node's database is replaced by an old backup while all others go on."""

    needs = frozenset({"back_up", "kill", "start"})

    def prepare(self) -> None:
        self.victim = self.node()
        self.victim.back_up()

    def begin(self) -> None:
        time.sleep(self.rand.uniform(0.2, 0.6))
        backup, copied = self.rand.choice(self.victim.backups[-3:]), self.rand.random() < 0.5
        self.told = f"{self.victim.name} to backup {backup.parent.name}{' by a mere copy' if copied else ''}"
        self.victim.kill()
        self.victim.restore(backup, copied=copied)

    def heal(self) -> None:
        self.victim.start()


class RollingRestart(Fault):
    """One node after the other is ended as an operator does and started again, as soon as the one before serves."""

    needs = frozenset({"stop", "start"})

    def begin(self) -> None:
        names = self.mesh.names
        self.rand.shuffle(names)
        self.told = " ".join(names)
        for name in names:
            self._replace(self.mesh.members[name])

    def _replace(self, member: Member) -> None:
        member.stop()
        member.start()
        eventually(lambda: bool(member.get("/health")), _SERVES_SECS)

    def hold(self) -> None:
        return

    def heal(self) -> None:
        return


class RollingUpgrade(RollingRestart):
    """All nodes run an earlier build, hold what it wrote, and are replaced by the new build one after the other."""

    needs = frozenset({"stop", "start", "program", "previous"})
    starts = True

    def prepare(self) -> None:
        assert isinstance(self.mesh, Minted)
        self.mesh.begin(self.mesh.previous)

    def _replace(self, member: Member) -> None:
        assert isinstance(self.mesh, Minted)
        self.mesh.nodes[member.name].program = self.mesh.program
        super()._replace(member)


class Failover(Fault):
    """All nodes share one store. Its server is killed, or says nothing more; then its synchronous standby, promoted,
    takes its place."""

    needs = frozenset({"failover"})
    starts = True
    ends_electors = True

    def prepare(self) -> None:
        assert isinstance(self.mesh, Minted)
        if self.mesh.store is None:
            self.mesh.share()
        self._store.renew()

    @property
    def _store(self) -> SharedStore:
        assert isinstance(self.mesh, Minted)
        assert self.mesh.store is not None
        return self.mesh.store

    def begin(self) -> None:
        killed = self.rand.random() < 0.7
        self.told = "primary killed" if killed else "primary frozen"
        (self._store.kill if killed else self._store.freeze)()

    def heal(self) -> None:
        self._store.promote()


CLASSES: dict[str, type[Fault]] = {
    "upgrade": RollingUpgrade,
    "kill": Kill,
    "stop": Stop,
    "minority": Minority,
    "rack": Rack,
    "zone": Zone,
    "bridge": Bridge,
    "one-way": OneWay,
    "lost-acks": LostAcks,
    "slow-link": Slow,
    "clock": Clock,
    "full-disk": FullDisk,
    "backup": Backup,
    "restart": RollingRestart,
    "failover": Failover,
}
"""Every class of faults, by its name on the command line."""


def why_not(name: str, mesh: Mesh) -> str | None:
    """Why a class can't be tried on a mesh; None where it can."""
    kind = CLASSES[name]
    if missing := sorted(kind.needs - mesh.can):
        return f"nodes have no {', '.join(missing)}"
    if name in ("rack", "bridge") and len(mesh.groups("rack")) < 2:
        return "all nodes stand in one rack"
    if name == "zone" and len(mesh.groups("zone")) < 2:
        return "all nodes stand in one zone"
    return shared_store.why_not() if name == "failover" else None
