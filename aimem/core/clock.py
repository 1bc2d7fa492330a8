"""The hybrid logical clock of a store.

Pure: physical time comes in with each call. Every time it gives out is above every time it gave out or was shown.
"""

from __future__ import annotations


class HybridClock:
    """`last` is the highest time given out or seen, in nanoseconds since the epoch."""

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def tick(self, now: int) -> int:
        """A new time: `now`, or just above all seen before when physical time has not passed them."""
        self.last = now if now > self.last else self.last + 1
        return self.last

    def observe(self, time: int) -> None:
        """Take note of a time that came from elsewhere."""
        if time > self.last:
            self.last = time
