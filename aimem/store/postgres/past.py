"""How old the state of a replica is, by what the primary was seen to hold, and when.

No server's clock is asked, and a store that nobody writes to does not make its replicas look old. The figure is never
too small: it counts from the last moment at which the primary is known to have held no more than the replica does. It
stands still while the primary can't be asked.
"""

from __future__ import annotations

import math
from bisect import bisect_right

GRAIN_SECS = 0.05
"""Moments closer than this are kept as one."""
KEPT = 6_000
"""Moments that are remembered at least: five minutes of a busy store."""


class Past:
    """Revisions of the primary, each with the last moment (s) at which it held no more."""

    def __init__(self) -> None:
        self._incarnation = ""
        self._moments: list[float] = []
        self._revisions: list[int] = []

    def note(self, moment: float, incarnation: str, revision: int) -> None:
        """At this moment, or after it, the primary held no more than this."""
        if incarnation != self._incarnation:
            self._incarnation = incarnation
            self._moments, self._revisions = [], []
        moments, revisions = self._moments, self._revisions
        if moments and (moment < moments[-1] or revision < revisions[-1]):
            return
        if revisions and revision == revisions[-1]:
            moments[-1] = moment
        elif len(moments) > 1 and moment - moments[-2] < GRAIN_SECS:
            moments[-1], revisions[-1] = moment, revision
        else:
            moments.append(moment)
            revisions.append(revision)
        if len(moments) > 2 * KEPT:
            del moments[:KEPT], revisions[:KEPT]

    def lag(self, incarnation: str, revision: int) -> float:
        """Seconds that a replica in this state is behind; infinite where that is longer than is remembered, or it has
        another history."""
        known = bisect_right(self._revisions, revision) - 1
        if incarnation != self._incarnation or known < 0:
            return math.inf
        return self._moments[-1] - self._moments[known]
