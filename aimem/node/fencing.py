"""Whether the fleet has moved away from the store of this node: known without asking the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aimem.core.kinds import ARRIVED, MOVED
from aimem.core.moving import in_force
from aimem.core.record import Record
from aimem.errors import Moved
from aimem.store.base import Change, Store


class Fence:
    """See the module. `changed(refusal)` is told of every change: None where callers' writes are taken."""

    def __init__(self, store: Store, changed: Callable[[Moved | None], None] = lambda refusal: None) -> None:
        self._store = store
        self._told = changed
        self._held: Record | None = None
        self._leads_here: set[str] = set()
        store.subscribe(self._committed)

    async def open(self) -> None:
        """Learn what the store holds."""
        self._leads_here |= {record.key async for batch in self._store.scan(ARRIVED) for _, record in batch}
        async for batch in self._store.scan(MOVED):
            for _, record in batch:
                self._held = record
        if self._held is not None:
            self._told(self.refusal)

    @property
    def refusal(self) -> Moved | None:
        """What a writer is told; None where writes are taken."""
        return in_force(self._held, self._leads_here.__contains__)

    def _committed(self, changes: Sequence[Change]) -> None:
        for record in (change.record for change in changes):
            if record.kind == ARRIVED:
                self._leads_here.add(record.key)
            elif record.kind == MOVED:
                self._held = record
                self._told(self.refusal)
