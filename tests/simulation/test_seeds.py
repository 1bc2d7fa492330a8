"""Seeds of the simulated mesh, each a fleet in trouble; `scripts/simulate` runs as many as you like."""

from __future__ import annotations

import pytest

from tests.simulation.run import run

FOUND = (
    *(55384, 56197),  # broke before R racks meant that R nodes must be asked
    77024,  # took for lost what had been overwritten by a clock that ran ahead, before that was given a version of now
    60080,  # said to be ordered though what it was told of could not be taken in
    60108,  # a repeat counted an older write of the same record for its own
)


@pytest.mark.parametrize("seed", [*range(200), *FOUND])
def test_no_law_is_broken(seed: int) -> None:
    done = run(seed)
    assert not done.broken, str(done)
    assert done.acked, "a run in which nothing is acknowledged proves nothing"
