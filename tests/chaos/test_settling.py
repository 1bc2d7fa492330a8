"""The end of a cycle of `scripts/chaos`: it is judged, whatever the nodes have come to."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from chaoslib.cycle import Cycles, Outcome


class Hung:
    """A node whose process lives, and answers nothing."""

    def ended(self) -> None:
        return None

    def get(self, path: str) -> dict[str, Any]:
        raise TimeoutError(f"n0: {path}: no answer")


def test_a_node_that_answers_nothing_any_more_is_told_as_wrong_and_ends_no_run() -> None:
    member = Hung()
    mesh: Any = SimpleNamespace(
        members={"n0": member}, names=["n0"], peers={"n0": []}, digests=lambda: member.get("/digest")
    )
    outcome = Outcome("stop", 1)
    Cycles(mesh, 1, writers=0, patience=0.1, ours=True)._settle(outcome, time.monotonic())
    assert not outcome.well
    assert "no answer" in outcome.wrong[0]
