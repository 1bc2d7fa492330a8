"""Faults in which one takes the place of another: a restarted process, a new build, a standby."""

from __future__ import annotations

from chaoslib import shared_store
from chaoslib.fault import Fault
from chaoslib.mesh import Mesh
from chaoslib.node import Member
from chaoslib.shared_store import SharedStore


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
        member.wait_serves()

    def hold(self) -> None:
        return

    def heal(self) -> None:
        return


class RollingUpgrade(RollingRestart):
    """All nodes run an earlier build, hold what it wrote, and are replaced by the new build one after the other."""

    needs = frozenset({"stop", "start", "program", "previous"})
    starts = anew = True

    def prepare(self) -> None:
        self.minted.begin(self.minted.previous)

    def _replace(self, member: Member) -> None:
        self.minted.nodes[member.name].program = self.minted.program
        super()._replace(member)


class Failover(Fault):
    """All nodes share one store. Its server is killed, or says nothing more; then its synchronous standby, promoted,
    takes its place."""

    needs = frozenset({"failover"})
    starts = True
    ends_electors = True

    @classmethod
    def why_not(cls, mesh: Mesh) -> str | None:
        return super().why_not(mesh) or shared_store.why_not()

    def prepare(self) -> None:
        if self.minted.store is None:
            self.minted.share()
        self._store.renew()

    @property
    def _store(self) -> SharedStore:
        assert self.minted.store is not None
        return self.minted.store

    def begin(self) -> None:
        killed = self.rand.random() < 0.7
        self.told = "primary killed" if killed else "primary frozen"
        (self._store.kill if killed else self._store.freeze)()

    def heal(self) -> None:
        self._store.promote()
