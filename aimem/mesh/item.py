"""Writes under way: which records each spreads, what every peer said of them, and the round that this adds up to.

A record on its way is one `Item`, however many peers it goes to and rounds wait for it. A `Spread` is one caller's
write: it is acknowledged by a peer when all of its records are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aimem.core.quorum import Applied, Failed, Met, NotMet, Outcome, Round, Superseded
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.mesh.messages import record_bytes

ItemKey = tuple[Ref, Version]


class Item:
    """One record on its way to so many peers. `seq` is its place in the own feed, 0 when it is sent again. `all_heard`
    is told when every peer has spoken of it: nobody needs to wait for it any more."""

    __slots__ = ("_all_heard", "_data", "_peers", "key", "outcomes", "record", "seq", "spreads")

    def __init__(
        self, record: Record, seq: int, peers: int = 0, all_heard: Callable[[Item], None] | None = None
    ) -> None:
        self._peers = peers
        self._all_heard = all_heard
        self.record = record
        self.seq = seq
        self.key: ItemKey = (record.ref, record.version)
        self.outcomes: dict[str, Outcome] = {}
        self.spreads: list[Spread] = []
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        """The record as it travels, encoded once for all peers."""
        if self._data is None:
            self._data = record_bytes(self.record)
        return self._data

    def heard(self, peer: str, outcome: Outcome) -> None:
        """What a peer said of the record."""
        self.outcomes[peer] = outcome
        for spread in self.spreads:
            spread.heard(peer)
        if self._all_heard is not None and len(self.outcomes) == self._peers:
            self._all_heard(self)


class Spread:
    """One write on its way. `done` gets the outcome of its round."""

    def __init__(self, round: Round, items: Sequence[Item]) -> None:
        self.round = round
        self.items = tuple(items)
        self.done: asyncio.Future[Met | NotMet] = asyncio.get_running_loop().create_future()
        round.committed()
        for item in items:
            item.spreads.append(self)
        for peer in items[0].outcomes if items else round.peers:
            self.heard(peer)
        self._settle()

    def heard(self, peer: str) -> None:
        """A peer spoke of one of the records: when it has of all, the round hears it."""
        if self.done.done():
            return
        outcomes = [item.outcomes.get(peer) for item in self.items]
        if None not in outcomes:
            self.round.heard(peer, _together([each for each in outcomes if each is not None]))
            self._settle()

    def time_is_up(self) -> None:
        """End the wait."""
        if not self.done.done():
            self.round.time_is_up()
            self._settle()

    def _settle(self) -> None:
        result = self.round.result()
        if result is not None and not self.done.done():
            self.done.set_result(result)


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of several records at one peer: the worst of them."""
    for kind in (Failed, Superseded):
        found = [each for each in outcomes if isinstance(each, kind)]
        if found:
            return max(found, key=lambda each: each.version if isinstance(each, Superseded) else "")
    return outcomes[0] if outcomes else Applied("")
