"""The clock of the nodes of a shared store."""

from __future__ import annotations

import pytest

from aimem.limits import STORE_CLOCK_OFF_SECS
from aimem.store.postgres.clock import ServersClock
from tests.store.conftest import HOUR, NOW, SECOND, Clock

CLOSE = int(STORE_CLOCK_OFF_SECS * SECOND)


@pytest.fixture
def own() -> Clock:
    return Clock()


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 24 * HOUR, CLOSE + SECOND])
def test_a_clock_that_is_wrong_is_corrected_and_one_that_was_set_right_is_not(own: Clock, ahead: int) -> None:
    clock = ServersClock(own)
    own.now = NOW + ahead
    clock.learn(NOW, SECOND // 100)
    assert abs(clock() - NOW) <= SECOND // 100
    own.now += HOUR
    clock.learn(NOW + HOUR, 0)
    assert abs(clock() - NOW - HOUR) <= SECOND // 100
    own.now = NOW + 2 * HOUR
    clock.learn(NOW + 2 * HOUR, 0)
    assert clock() == own()


def test_a_clock_that_is_close_is_left_alone_and_a_slow_answer_says_nothing(own: Clock) -> None:
    clock = ServersClock(own)
    clock.learn(NOW + CLOSE, 0)
    clock.learn(NOW - CLOSE, 0)
    clock.learn(NOW - HOUR, HOUR)  # told an hour ago at the most
    assert clock() == own()
    clock.learn(NOW - 2 * HOUR, HOUR)
    assert clock() != own()
