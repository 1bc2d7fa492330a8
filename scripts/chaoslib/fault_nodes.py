"""Faults of nodes: their processes, their clocks, their disks."""

from __future__ import annotations

import time

from chaoslib.fault import Fault


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


class Clock(Fault):
    """The clock of a node is wrong, within the bound or beyond it; then it jumps, and is set right. Which node that is
    stays the same for the life of a mesh: it runs under `clocked` from the first such cycle on."""

    needs = frozenset({"clock", "kill", "start"})
    clocks_right = False
    _ahead = 0.0
    _passed = 0.0
    """When all clocks have passed what any of them has shown."""

    def prepare(self) -> None:
        misled = [node for node in self.minted.nodes.values() if node.misled]
        self.victim = misled[0] if misled else self.node()
        self._set(self._offset())
        if not misled:
            self.victim.kill()
            self.victim.start()
            self.victim.wait_serves()

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
    ends_electors = True

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
