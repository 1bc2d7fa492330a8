"""The hybrid clock: never back, whatever the wall clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aimem.core.clock import HybridClock

EVENTS = st.lists(st.tuples(st.booleans(), st.integers(0, 50)))


@given(EVENTS)
def test_every_tick_is_above_all_that_was_given_out_or_seen(events: list[tuple[bool, int]]) -> None:
    clock, known = HybridClock(), 0
    for ticks, time in events:
        if ticks:
            given_out = clock.tick(time)
            assert given_out > known or given_out == time > known
            assert given_out == max(time, known + 1)
            known = given_out
        else:
            clock.observe(time)
            known = max(known, time)
        assert clock.last == known


def test_the_clock_goes_on_from_where_it_stopped() -> None:
    assert HybridClock(7).tick(3) == 8
    assert HybridClock(7).tick(9) == 9
