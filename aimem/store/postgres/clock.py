"""The time that the nodes of a shared store go by: that of its server, where this machine's clock is wrong.

They write to one record of what was before what, so one of them an hour ahead would take all others with it, and would
end for all what is to live for another hour. No message between nodes guards against that, as it does between stores:
here there is one store. So each learns the server's time at every look for news, and corrects its own clock by it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from aimem.limits import STORE_CLOCK_OFF_SECS

log = logging.getLogger(__name__)

NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""SQL: the server's time in microseconds."""
_CLOSE = int(STORE_CLOCK_OFF_SECS * 1e9)


class ServersClock:
    """A clock (ns since the epoch). `own` is this machine's."""

    def __init__(self, own: Callable[[], int]) -> None:
        self.own = own
        self._ahead = 0

    def __call__(self) -> int:
        return self.own() + self._ahead

    def learn(self, told: int, took: int) -> None:
        """The server said its time (ns) at some moment of the last `took` ns. Two clocks that are as close as clocks
        are that are set are left alone."""
        least, most = told - self.own(), told - self.own() + took
        if least - _CLOSE <= self._ahead <= most + _CLOSE:
            return
        self._ahead = 0 if least <= _CLOSE and most >= -_CLOSE else (least + most) // 2
        if self._ahead:
            log.warning(
                "this machine's clock is %.1f s off that of the shared store's server, whose time is used instead",
                -self._ahead / 1e9,
            )
        else:
            log.warning("this machine's clock is right again, by the shared store's server")
