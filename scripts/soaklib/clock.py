"""Runs the one file with a clock that goes faster than the world: python clock.py FILE BEGAN SPEED serve ...

BEGAN is the instant (ns since the epoch) at which both clocks were the same. Upkeep, which is due once a minute, comes
at every minute of that clock too. All else is the real program; the shipped command has no flag for this.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

_ROUND_SECS_MIN = 0.1  # between two rounds of upkeep, however fast the clock goes


def faster(began: int, speed: float) -> Callable[[], int]:
    """The clock, in ns."""
    return lambda: began + int((time.time_ns() - began) * speed)


def main() -> int:
    file, began, speed, *command = sys.argv[1:]
    sys.path[0:1] = [f"{file}/python{sys.version_info[0]}{sys.version_info[1]}", f"{file}/python"]  # as it does itself
    from aimem import limits

    limits.HOUSEKEEPING_SECS = max(limits.HOUSEKEEPING_SECS / float(speed), _ROUND_SECS_MIN)
    from aimem.cli.main import main as aimem
    from aimem.http import app

    app.serve = partial(app.serve, now=faster(int(began), float(speed)))
    return aimem(command)


if __name__ == "__main__":
    sys.exit(main())
