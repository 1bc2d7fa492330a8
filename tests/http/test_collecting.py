from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from aimem.http.collecting import spare_what_stays
from aimem.limits import COLLECT_AFTER


class _Held:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_alive_is_not_walked_again() -> None:
    kept = _Held()
    spare_what_stays()
    assert gc.get_freeze_count() > 0
    assert not any(each is kept for each in gc.get_objects())
    assert gc.get_threshold()[0] == COLLECT_AFTER


def test_what_was_spared_and_is_garbage_by_the_next_time_goes() -> None:
    old = _Held()
    spare_what_stays()
    gone = weakref.ref(old)
    del old
    gc.collect()
    assert gone() is not None
    spare_what_stays()
    assert gone() is None
