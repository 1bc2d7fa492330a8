"""What became of a request that touches many records, each judged by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimem.core.parking import pending_of
from aimem.errors import Denied, NotFound
from aimem.node.lane import fewest, quorum_of
from aimem.store.base import Outcome, Written


class Tally:
    """Counts outcomes. What is gone already is no failure; what a policy refuses is counted, and is the answer where
    nothing else was done."""

    def __init__(self) -> None:
        self.done = 0
        self.pending: list[str] = []
        self._denied = 0
        self._refusal: Denied | None = None
        self._quorum: dict[str, Any] = {}

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count these. Raises any refusal that is no matter of policy."""
        for outcome in outcomes:
            if isinstance(outcome, Written):
                parked = pending_of(outcome.reply)
                if parked is None:
                    self.done += outcome.reply is not False
                else:
                    self.pending.append(parked)
            elif isinstance(outcome, Denied):
                self._denied, self._refusal = self._denied + 1, self._refusal or outcome
            elif not isinstance(outcome, NotFound):
                raise outcome
        self._quorum = fewest(self._quorum, quorum_of(outcomes))

    def status(self) -> int:
        """202 where all that could be done waits for leave.

        Raises:
            Denied: nothing was done, and nothing waits.
        """
        if self._refusal is not None and not self.done and not self.pending:
            raise self._refusal
        return 202 if self.pending and not self.done else 200

    def fields(self) -> dict[str, Any]:
        """What a reply tells beside the count: pending actions by id, how many were denied, the quorum."""
        told: dict[str, Any] = dict(self._quorum)
        if self.pending:
            told |= {"status": "pending", "pending": self.pending}
        if self._denied:
            told["denied"] = self._denied
        return told
