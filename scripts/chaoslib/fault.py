"""What all classes of faults have in common: each begins, lasts, and is healed; then all is as it was."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod

from chaoslib.mesh import Mesh, Minted
from chaoslib.node import Member, Node


class Fault(ABC):
    """One cycle's trouble. `begin` returns at once or when the trouble has taken its course; `heal` undoes it."""

    needs: frozenset[str] = frozenset()
    clocks_right = True
    """Whether the order of writes by time can be relied on meanwhile."""
    starts = False
    """Whether it starts the nodes itself, on what no other class runs on."""
    anew = False
    """Whether each of its cycles begins on nothing."""
    ends_electors = False
    """Whether stores go on as others, which do not speak for what they were as electors."""

    @classmethod
    def why_not(cls, mesh: Mesh) -> str | None:
        """Why it can't be tried on a mesh; None where it can."""
        missing = sorted(cls.needs - mesh.can)
        return f"nodes have no {', '.join(missing)}" if missing else None

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

    @property
    def minted(self) -> Minted:
        """The mesh, for what can be done only to one that this run has made."""
        assert isinstance(self.mesh, Minted)
        return self.mesh

    def node(self) -> Node:
        """One node of a mesh that this run has made."""
        return self.minted.nodes[self.rand.choice(self.mesh.names)]
