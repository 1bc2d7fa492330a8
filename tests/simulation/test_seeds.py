"""Seeds of the simulated mesh, each a fleet in trouble; `scripts/simulate` runs as many as you like."""

from __future__ import annotations

import pytest

from tests.simulation.run import run

FOUND = (
    *(55384, 56197),  # broke before R racks meant that R nodes must be asked
    77024,  # took for lost what had been overwritten by a clock that ran ahead, before that was given a version of now
)


@pytest.mark.parametrize("seed", [*range(200), *FOUND])
def test_no_law_is_broken(seed: int) -> None:
    done = run(seed)
    assert not done.broken, str(done)
    assert done.acked, "a run in which nothing is acknowledged proves nothing"
