"""Which pending actions are open, kept in memory from the store's changes: so a queue is read without searching.

Of each only what queues are asked by is kept. The records are read when they are shown, and stay for the next look.
"""

from __future__ import annotations

import heapq
import json
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from aimem.core.kinds import DECISION, PENDING, VOTE
from aimem.core.namespace import is_within
from aimem.core.policy import EVERYWHERE
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.limits import EXPORT_PAGE_BYTES, EXPORT_PAGE_ROWS, QUEUE_SHOWN_BYTES
from aimem.node.recent import RecentlyRead
from aimem.store.base import Change, Store


class Waiting(NamedTuple):
    """What is kept of an open action; sorts by when it was asked for. `requested` and `expires` are in ns."""

    requested: int
    id: str
    namespace: str
    approver: str
    expires: int | None
    version: Version


class OpenActions:
    """Made empty; `load` reads what the store holds, `changed` follows it."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._by_root: dict[str, list[Waiting]] = defaultdict(list)  # sorted: a page of a queue is at an end
        self._decided: set[str] = set()
        self._voted: set[str] = set()
        self._shown = RecentlyRead(QUEUE_SHOWN_BYTES)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting.values())

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, pending_id: object) -> bool:
        return pending_id in self._waiting

    def has_votes(self, pending_id: str) -> bool:
        """Whether there are votes about an action that is open, or not heard of yet."""
        return pending_id in self._voted

    async def load(self, store: Store) -> None:
        """Read all that is open."""
        after, more = 0, True
        while more:
            page = await store.changes(after, EXPORT_PAGE_ROWS, EXPORT_PAGE_BYTES, (DECISION, PENDING, VOTE))
            for _, record in page.changes:
                self._learn(record)
            after, more = page.cursor.seq, page.more

    def changed(self, changes: Sequence[Change]) -> None:
        """Follow a committed group."""
        for change in changes:
            self._learn(change.record)

    def _learn(self, record: Record) -> None:
        if record.kind == DECISION and not record.deleted:
            self._decided.add(record.key)
            self._voted.discard(record.key)
            self._remove(record.key)
        elif record.kind == PENDING and record.deleted:
            self._remove(record.key)
        elif record.kind == PENDING and record.key not in self._decided:
            self._add(record)
        elif record.kind == VOTE and (pending_id := str(record.body.get("pending_id"))) not in self._decided:
            self._voted.add(pending_id)

    def ids(self, namespace: str | None, approver: str | None, limit: int) -> list[str]:
        """Ids of open actions, the latest first: of one `namespace` (with `/**` behind it also of those below) and of
        one approver (the id of an agent, `human`, or `consensus`)."""
        if namespace is None:
            found: Iterable[Waiting] = heapq.merge(*map(reversed, self._by_root.values()), reverse=True)
        else:
            root, below = namespace.removesuffix("/**"), namespace.endswith("/**")
            rows = reversed(self._by_root.get(root.partition("/")[0], ()))
            found = (each for each in rows if each.namespace == root or (below and is_within(each.namespace, root)))
        if approver is not None:
            found = (each for each in found if each.approver == approver)
        return [each.id for each in islice(found, limit)]

    async def all_ids(self, store: Store, namespace: str | None, approver: str | None) -> list[str]:
        """As `ids`, of decided actions too: searched for in the store."""
        found = OpenActions()
        async for batch in store.scan(PENDING):
            for _, record in batch:
                found._add(record)
        return found.ids(namespace, approver, len(found))

    async def records(self, store: Store, ids: Sequence[str]) -> list[Record | None]:
        """The actions under these ids, decided ones too."""
        found = {each: self._shown.get(each) for each in ids}
        missing = [each for each, record in found.items() if record is None]
        if missing:
            found |= zip(missing, await store.get([Ref(PENDING, each) for each in missing]), strict=True)
        for record in map(found.get, missing):
            if record is not None and record.key in self._waiting:
                self._keep(record)
        return [found[each] for each in ids]

    def _keep(self, record: Record) -> None:
        if record.version == self._waiting[record.key].version:  # else it changed while it was read
            self._shown.keep(record)

    def _add(self, record: Record) -> None:
        body = record.body
        namespace = str(body.get("namespace", EVERYWHERE))
        requested, expires = int(body.get("requested_at", 0)), body.get("expires_at")
        waiting = Waiting(
            requested,
            record.key,
            namespace,
            approver_name(body.get("approver")),
            expires if isinstance(expires, int) else None,
            record.version,
        )
        self._remove(record.key)
        self._waiting[record.key] = waiting
        insort(self._by_root[namespace.partition("/")[0]], waiting)

    def _remove(self, pending_id: str) -> None:
        self._shown.drop(pending_id)
        gone = self._waiting.pop(pending_id, None)
        if gone is not None:
            root = gone.namespace.partition("/")[0]
            rows = self._by_root[root]
            del rows[bisect_left(rows, gone)]
            if not rows:
                del self._by_root[root]


def approver_name(approver: Any) -> str:
    """What an approver is asked for by: the id of the agent, else `human` or `consensus`."""
    if isinstance(approver, str):
        return approver
    if isinstance(approver, dict) and isinstance(approver.get("agent"), str):
        return str(approver["agent"])
    return "consensus" if isinstance(approver, dict) and "consensus" in approver else json.dumps(approver)
