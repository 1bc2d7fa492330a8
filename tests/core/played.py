"""Intents played on a dict of records, with a clock that counts: what `core` decides, without any store."""

from __future__ import annotations

from typing import Any

from aimem.core.clock import HybridClock
from aimem.core.intent import Decision, Get, Holding, Intent, Touches
from aimem.core.kinds import MEMORY, TOUCH, source_key
from aimem.core.pairs import pair_of, resolve
from aimem.core.record import Record, Ref
from aimem.core.version import Version

NOW = 1_000


class Played:
    """The records at hand; also the `Stamp`."""

    def __init__(self, *records: Record) -> None:
        self.held = {record.ref: record for record in records}
        self.now = NOW
        self.incarnation = "here"
        self._clock = HybridClock()

    def version(self) -> Version:
        return Version(self._clock.tick(self.now), "c" * 16)

    def decide(self, intent: Intent) -> Decision:
        """What the intent comes to; nothing is changed."""
        plan = intent(self)
        answer: Any = None
        try:
            while True:
                answer = self._answer(plan.send(answer))
        except StopIteration as done:
            decision: Decision = done.value
        return decision

    def carry_out(self, intent: Intent) -> Decision:
        """The same, and its records are held from then on."""
        decision = self.decide(intent)
        self.held.update({record.ref: record for record in decision.records})
        return decision

    def _answer(self, read: Any) -> Any:
        if isinstance(read, Get):
            return self.held.get(read.ref)
        if isinstance(read, Holding):
            claims = [each for each in self.held.values() if each.kind == MEMORY and pair_of(each) == read.pair]
            return resolve(read.pair, lambda key: self.held.get(Ref(MEMORY, key)), claims)
        assert isinstance(read, Touches)
        return [each for each in self.held.values() if each.kind == TOUCH and source_key(*each.ref) == read.memory_id]
