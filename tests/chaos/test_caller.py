"""Callers of `scripts/chaos`: what goes wrong with one of them must not go by unseen."""

from __future__ import annotations

import pytest
from chaoslib.caller import Caller, stored
from chaoslib.ledger import Ledger


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_caller_that_a_reply_has_ended_is_told_as_wrong() -> None:
    """It would write nothing more, and all it was still to find would be missed."""
    caller = Caller("w0", {}, Ledger(same_lists=True), "home", 1, {"odd": lambda: print(stored("m1")({}))}, {})
    caller.start()
    caller.join()
    (told,) = caller.wrong
    assert told.startswith("w0 ")
    assert "KeyError('id')" in told


def test_a_caller_draws_its_operations_by_weight_until_it_is_finished() -> None:
    drawn: list[str] = []

    def draw(kind: str) -> None:
        drawn.append(kind)
        if len(drawn) == 5:
            caller.finish()

    operations = {"often": lambda: draw("often"), "never": lambda: draw("never")}
    caller = Caller("w0", {}, Ledger(same_lists=True), "home", 1, operations, {"never": 0.0})
    caller.start()
    caller.join()
    assert drawn == ["often"] * 5
    assert caller.wrong == []
