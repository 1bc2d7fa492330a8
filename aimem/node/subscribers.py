"""Who listens, kept in memory from the store's changes: so a write that nobody hears of costs nothing more."""

from __future__ import annotations

from collections.abc import Sequence

from aimem.core.events import Subscriber
from aimem.core.kinds import SUBSCRIPTION
from aimem.core.record import Record
from aimem.core.subscriptions import subscriber_of
from aimem.store.base import Change, Store


class Subscribers:
    """Made empty; `load` reads what the store holds, and what changes is followed from the start."""

    def __init__(self, store: Store) -> None:
        self.listening: tuple[Subscriber, ...] = ()
        """All that are told of anything. Replaced as a whole: writers read it from their own thread."""
        self._store = store
        self._records: dict[str, Record] = {}
        store.subscribe(self._changed)

    def __len__(self) -> int:
        return len(self._records)

    def get(self, subscription_id: str) -> Record | None:
        """A live subscription."""
        return self._records.get(subscription_id)

    async def load(self) -> None:
        """Read all that there are."""
        async for batch in self._store.scan(SUBSCRIPTION):
            for _, record in batch:
                held = self._records.get(record.key)
                if held is None or held.version < record.version:
                    self._records[record.key] = record
        self._listen()

    def _changed(self, changes: Sequence[Change]) -> None:
        changed = [change.record for change in changes if change.record.kind == SUBSCRIPTION]
        for record in changed:
            if record.deleted:
                self._records.pop(record.key, None)
            else:
                self._records[record.key] = record
        if changed:
            self._listen()

    def _listen(self) -> None:
        found = [subscriber_of(each) for each in sorted(self._records.values(), key=lambda each: (each.born, each.key))]
        self.listening = tuple(each for each in found if each is not None)
