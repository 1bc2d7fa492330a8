"""What may stand in a store that one process fills, so that it need not ask for what can't.

Of all that was written a few bits are kept (Bloom 1970), in memory that does not grow: what stands there is never
denied, and of the rest little is asked for in vain: 1 in 500 at a million memories, 1 in 10 at ten million.
"""

from __future__ import annotations

from collections.abc import Hashable

from aimem.limits import LOAD_SEEN_BITS

_PLACES = (1 << LOAD_SEEN_BITS) - 1


class Seen:
    """A set that may hold more than was added."""

    def __init__(self) -> None:
        self._bits = bytearray(1 << LOAD_SEEN_BITS - 3)

    def add(self, *those: Hashable) -> None:
        """From now on these may stand there."""
        bits = self._bits
        for what in those:
            number = hash(what)
            place = number & _PLACES
            bits[place >> 3] |= 1 << (place & 7)
            place = number >> 32 & _PLACES
            bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, what: Hashable) -> bool:
        number = hash(what)
        place = number & _PLACES
        if not self._bits[place >> 3] >> (place & 7) & 1:
            return False
        place = number >> 32 & _PLACES
        return bool(self._bits[place >> 3] >> (place & 7) & 1)
