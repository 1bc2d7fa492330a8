"""What this node keeps aside of its peers: which addresses, how many, and what may be taken by now.

The records themselves stand in the store, as a kind that never leaves it. Their number is bounded: a peer that sends
nothing but what can't be held must not fill the disk. What is over the bound is refused and told, not kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from aimem.core.intent import Intent
from aimem.core.kinds import QUARANTINE, compound_key
from aimem.core.record import Record, from_wire
from aimem.core.taking import CLOCK_SKEW, MALFORMED, NOT_CARRIED, UNUSABLE, flaw, quarantine, release
from aimem.limits import QUARANTINE_RECORDS_MAX
from aimem.mesh.settings import Clock
from aimem.store.base import Change, Store

log = logging.getLogger(__name__)


class Aside:
    """See the module. `ahead_max` (ns) is how far ahead of `now` a record may lie that is taken."""

    def __init__(self, store: Store, now: Clock, ahead_max: int) -> None:
        self._store = store
        self._now = now
        self._ahead_max = ahead_max
        self._keys: set[str] = set()

    async def open(self) -> None:
        """Learn what is kept, and hear of what will be."""
        self._store.subscribe(self._committed)
        self._keys |= {kept.key async for batch in self._store.scan(QUARANTINE) for _, kept in batch}

    def __len__(self) -> int:
        return len(self._keys)

    def keep(self, refused: Sequence[tuple[Record, str]], peer: str) -> list[Intent]:
        """Intents that keep records of a peer, each with the reason, as far as there is room."""
        room = QUARANTINE_RECORDS_MAX - len(self._keys)
        if refused:
            log.warning("%d records of %s are not taken (%s): see aimem quarantine", len(refused), peer, refused[0][1])
        if len(refused) > room:
            log.error("quarantine is full: %d records of %s are not even kept there", len(refused) - room, peer)
        return [quarantine(record, peer, reason) for record, reason in refused[: max(0, room)]]

    def dropped_by(self, peer: str, records: Sequence[Record]) -> list[Intent]:
        """Intents that let go of what is kept of a peer where it now sends something else: it has dropped that."""
        if not self._keys:
            return []
        ahead = self._now() + self._ahead_max
        keys = (compound_key(peer, *record.ref) for record in records if record.version.time <= ahead)
        return [release(key) for key in keys if key in self._keys]

    async def due(self, *, started: bool) -> list[tuple[Record, str]]:
        """Records that may be taken by now, each with its peer: a clock that was ahead, a value that was not known.
        When the node has just `started`, under another release or list perhaps, also what was refused for more than
        its form. What may have been deleted waits for an operator."""
        found: list[tuple[Record, str]] = []
        if not self._keys:
            return found
        async for batch in self._store.scan(QUARANTINE):
            for _, kept in batch:
                record, reason = from_wire(kept.body["record"]), kept.body["reason"]
                waits = reason == CLOCK_SKEW or reason.startswith(MALFORMED)
                waits = waits or (started and (reason == NOT_CARRIED or reason.startswith(UNUSABLE)))
                if waits and flaw(record, now=self._now(), ahead_max=self._ahead_max) is None:
                    found.append((record, kept.body["peer"]))
        return found

    def _committed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.record.kind == QUARANTINE:
                (self._keys.discard if change.record.deleted else self._keys.add)(change.record.key)
