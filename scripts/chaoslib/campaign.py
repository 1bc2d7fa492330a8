"""Cycles of many classes, written down one after the other, so that a run goes on where it was stopped.

`DIR/cycles.jsonl` has a line for each cycle of every run; reports are made from it. A mesh of our own lives for some
cycles, then the next begins on nothing: so that every cycle can be judged whole. One on which something was found is
kept under `DIR/evidence`.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chaoslib.cycle import Cycles, Outcome
from chaoslib.faults import CLASSES
from chaoslib.mesh import Mesh, Minted

_LIFE = 20
FILE = "cycles.jsonl"


def read(out: Path) -> list[dict[str, Any]]:
    """All cycles so far."""
    path = out / FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Campaign:
    """See the module. `cycles` is how many of each class there are to be, or of all together where `shared`."""

    def __init__(
        self, mesh: Mesh, classes: Sequence[str], out: Path, *, seed: int, writers: int, patience: float
    ) -> None:
        self._mesh = mesh
        self._classes = classes
        self._out = out
        self._seed = seed
        self._writers = writers
        self._patience = patience
        self._life: Cycles | None = None
        self._lived = 0
        self._of: str | None = None
        """The class that started the nodes, where one did."""

    def run(self, cycles: int, *, shared: bool = False) -> Iterator[Outcome]:
        """Run what is missing, and write each cycle down."""
        for name, number in self._missing(cycles, shared=shared):
            seed = random.Random(f"{self._seed}/{name}/{number}").randrange(1 << 32)
            outcome = self._one(name, seed)
            with (self._out / FILE).open("a") as file:
                file.write(json.dumps(outcome.json()) + "\n")
            yield outcome

    def _missing(self, cycles: int, *, shared: bool) -> list[tuple[str, int]]:
        """Classes in turn, each with the number of its cycle, less what was done before."""
        done = Counter(line["fault"] for line in read(self._out))
        each = -(-cycles // len(self._classes)) if shared else cycles
        planned = [(name, number) for number in range(each) for name in self._classes]
        planned = planned[:cycles] if shared else planned
        return [(name, number) for name, number in planned if number >= done[name]]

    def _one(self, name: str, seed: int) -> Outcome:
        kind = CLASSES[name]
        of = name if kind.starts else None
        if self._life is None or self._lived >= _LIFE or kind.anew or of != self._of:
            self._begin(seed, started=of is None)
        self._of = of
        assert self._life is not None
        self._lived += 1
        outcome = self._life.run(name, seed)
        if not outcome.well:
            self._keep()
            self._life = None
        return outcome

    def _begin(self, seed: int, *, started: bool) -> None:
        """A mesh on nothing; where it is not `started`, the fault does that."""
        if isinstance(self._mesh, Minted):
            if started:
                self._mesh.begin()
            else:
                self._mesh.end()
        ours = isinstance(self._mesh, Minted)
        self._life = Cycles(self._mesh, seed, writers=self._writers, patience=self._patience, ours=ours)
        self._lived = 0

    def _keep(self) -> None:
        """Keep the databases and logs of a mesh on which something was found."""
        if not isinstance(self._mesh, Minted):
            return
        self._mesh.end()
        place = self._out / "evidence" / str(sum(1 for _ in (self._out / "evidence").glob("*")))
        for node in self._mesh.nodes.values():
            shutil.copytree(node.home, place / node.name, ignore=shutil.ignore_patterns("*.key", "backups"))
        print(f"chaos: databases and logs are kept in {place}", file=sys.stderr)
