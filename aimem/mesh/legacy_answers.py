"""What nodes of the existing system ask of this one: to take a push, and to show what is newer than a stamp.

They read our memories by `updated_at`, and keep as their cursor the greatest stamp that they saw. A row that came here
late with an old stamp would be passed over so. Therefore this node keeps for each reader and cursor the place in its
own feed up to which that reader was shown everything, and shows what lies after it, whatever its stamp. A page counts
as seen when the reader comes back with the greatest stamp of it; one that holds nothing newer than the cursor is shown
twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aimem.core.automatic import effect_of
from aimem.core.identity_words import Identity
from aimem.core.kinds import MEMORY, compound_key
from aimem.core.legacy import bare, rows
from aimem.core.legacy.message import COUNTED, NOOP, SKIPPED, Push, named_in, parse, reply
from aimem.core.pairs import pair_of
from aimem.core.record import Record
from aimem.core.timestamp import parse_timestamp
from aimem.core.upkeep import advance
from aimem.errors import AimemError
from aimem.limits import (
    LEGACY_CURSORS_KEPT,
    LEGACY_EARLY_KEPT,
    LEGACY_EARLY_SECS,
    LEGACY_SERVED_BYTES,
    LEGACY_SERVED_ROWS,
    LEGACY_SERVED_TIMES,
)
from aimem.mesh.legacy_taking import DONE, LegacyTaking, Sender
from aimem.mesh.settings import Clock
from aimem.mesh.turns import Turns
from aimem.node.lane import Lane
from aimem.store.base import Store

PREFIX = "since/"


class LegacyAnswers:
    """See the module. `others(address)` are the names under which our lanes know who speaks from a network address."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        taking: LegacyTaking,
        node: str,
        now: Clock,
        others: Callable[[str], tuple[str, ...]],
    ) -> None:
        self._store = store
        self._lane = lane
        self._taking = taking
        self._node = node
        self._now = now
        self._others = others
        self._shown: Counter[str] = Counter()
        self._turns = Turns()
        self._early: dict[tuple[str, str], float] = {}
        """When (loop time) something was to be deleted that its sender was not known to hold: the row may come after
        its delete, on another connection, and be here from another node already."""
        self.pushes = 0

    async def push(self, raw: Any, address: str, identity: Identity | None) -> dict[str, Any]:
        """Take a push in. What became of how many, when that is durable.

        Raises:
            WrongShape, Invalid: it is none.
        """
        push = parse(raw)
        sender = self._sender(push.sender, address, identity)
        self.pushes += 1
        counts: Counter[str] = Counter()
        async with self._turns.about(named_in(push)):  # a delete must find what the push before it brought
            found = await self._outcomes(push, sender)
        for name, outcomes in found.items():
            for outcome in outcomes:
                counts[COUNTED[name] if outcome == DONE else outcome] += 1
        return {**reply(counts, push, self._node), "product": "aimem"}

    def _sender(self, claimed: str, address: str, identity: Identity | None) -> Sender:
        """Who sends: by its certificate where that names a node, else as it says."""
        named = identity.node if identity is not None and identity.node else claimed
        vouched = identity.names_agent if identity is not None else lambda agent: False
        return Sender(named, self._others(address), vouched)

    async def _outcomes(self, push: Push, sender: Sender) -> dict[str, list[str]]:
        taking, lists = self._taking, push.lists
        if push.dry_run:
            return {name: [_valid(name, item, self._now()) for item in items] for name, items in lists.items()}
        memories, _ = await taking.memories(lists["memories"], sender)
        since = asyncio.get_running_loop().time() - LEGACY_EARLY_SECS
        keys = [(sender.name, row["id"]) for row in lists["memories"]]
        late = [memory_id for name, memory_id in keys if self._early.pop((name, memory_id), 0.0) > since]
        await taking.ask(late, bare.delete, sender)
        deletions = await taking.ask(lists["deletions"], bare.delete, sender)
        self._note_early([each for each, did in zip(lists["deletions"], deletions, strict=True) if did == NOOP], sender)
        return {
            "memories": memories,
            "deletions": deletions,
            "archives": await taking.ask(lists["archives"], bare.archive, sender),
            "restores": await taking.ask(lists["restores"], bare.restore, sender),
            "links": await taking.links(lists["links"], sender),
            "pendings": await taking.pendings(lists["pendings"], sender),
            "pending_decisions": await taking.decisions(lists["pending_decisions"], sender),
            "namespace_meta": await taking.standards(lists["namespace_meta"], sender),
            "namespace_meta_clears": await taking.ask(lists["namespace_meta_clears"], bare.clear, sender),
        }

    def _note_early(self, ids: Sequence[str], sender: Sender) -> None:
        self._early |= {(sender.name, each): asyncio.get_running_loop().time() for each in ids}
        while len(self._early) > LEGACY_EARLY_KEPT:
            del self._early[next(iter(self._early))]

    async def since(self, params: Mapping[str, str], carries: Callable[[str], bool] | None = None) -> dict[str, Any]:
        """A page of memories for a reader that shows the greatest stamp it has seen. `carries` narrows it.

        Raises:
            Invalid: the stamp is none.
        """
        since = params.get("since", "")
        if since:
            parse_timestamp(since, "since")
        limit = min(int(params["limit"]), LEGACY_SERVED_ROWS) if params.get("limit", "").isdecimal() else None
        reader = compound_key(params.get("peer", "")[:128])
        after = await self._place(reader, since)
        page = await self._store.changes(after, limit or LEGACY_SERVED_ROWS, LEGACY_SERVED_BYTES, (MEMORY,))
        found = [record for _, record in page.changes if await self._may_show(record, carries)]
        shown = sorted((rows.memory_row(each, None) for each in found), key=lambda row: str(row["updated_at"]))
        latest = shown[-1]["updated_at"] if shown else None
        await self._keep(reader, since, str(latest or ""), after, page.cursor.seq)
        return {
            "count": len(shown),
            "limit": limit or LEGACY_SERVED_ROWS,
            "updated_since": since or None,
            "earliest_updated_at": shown[0]["updated_at"] if shown else None,
            "latest_updated_at": latest,
            "memories": shown,
            "product": "aimem",
        }

    async def _may_show(self, record: Record, carries: Callable[[str], bool] | None) -> bool:
        if (pair := pair_of(record)) is None or effect_of(record).expires <= self._now():
            return False
        (holder,) = await self._store.memories([record.key])
        hidden = holder is None or holder.record.key != record.key
        return not hidden and (carries is None or carries(pair.namespace))

    async def _place(self, reader: str, since: str) -> int:
        """Up to where a reader with this cursor was shown everything: from the start where nothing tells."""
        return (await self._store.positions(f"{PREFIX}{reader}/")).get(_name(reader, since), 0)

    async def _keep(self, reader: str, since: str, latest: str, after: int, reached: int) -> None:
        """Note where the reader will be when it has seen this page."""
        name = _name(reader, max(since, latest))
        if latest <= since:
            self._shown[name] += 1
            if reached == after or (latest and self._shown[name] < LEGACY_SERVED_TIMES):
                return
        self._shown.pop(name, None)
        kept = await self._store.positions(f"{PREFIX}{reader}/")
        kept[name] = reached
        oldest = sorted(kept)[:-LEGACY_CURSORS_KEPT]
        await self._lane.write([advance({name: reached, **dict.fromkeys(oldest, -1)})])


def _name(reader: str, since: str) -> str:
    return f"{PREFIX}{reader}/{since}"


def _valid(name: str, item: Any, now: int) -> str:
    """What a dry run says of an item: whether it keeps the rules."""
    read = {"memories": rows.memory, "links": rows.link, "pending_decisions": rows.vote}.get(name)
    try:
        if read is not None:
            read(item, now)
    except AimemError:
        return SKIPPED
    return NOOP
