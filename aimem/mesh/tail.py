"""The end of this store's feed in memory: the heads of what changed last.

In a full mesh every change stands in every node's feed, and every node reads the feeds of all others: what is new comes
by each of them, and is held by then. So both sides of that look here first: the one that is asked for what follows a
cursor of late, and the one that asks whether it holds what it is shown. What is not found here is read from the store.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence

from aimem.core.kinds import kind_of
from aimem.core.record import Record, Ref
from aimem.limits import MESH_PAGE_HEADS, MESH_TAIL_HEADS
from aimem.mesh.repair import Head, head_of, shown_of
from aimem.store.base import Change, Store

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encoded_head(record: Record) -> bytes:
    """A head as it travels: `[kind, key, version, hash]`."""
    return _encode([*record.ref, *head_of(record)]).encode()


class _Head:
    """One change: its place, and what is shown of it once somebody asks."""

    __slots__ = ("_shown", "data", "hash", "seq", "version")

    def __init__(self, seq: int, record: Record) -> None:
        self.seq = seq
        self.version, self.hash = record.version, record.hash
        self._shown: Head | None = None
        self.data: bytes | None = None

    @property
    def shown(self) -> Head:
        """Its version and the beginning of its hash, as texts."""
        if self._shown is None:
            self._shown = shown_of(self.version, self.hash)
        return self._shown


class Tail:
    """See the module. Complete for all places after `since`, up to `seq`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._heads: OrderedDict[Ref, _Head] = OrderedDict()
        self.since, self.seq = 1, 0  # until it is open it knows of no place

    def open(self) -> None:
        """Hear of what is committed from here on."""
        self.since = self.seq = self._store.head
        self._store.subscribe(self._committed)

    def after(self, seq: int) -> list[bytes] | None:
        """The heads, encoded, of what travels and changed after a place of the feed: None where that is too long ago.
        Records past a fixed life may be among them; nobody takes them."""
        if not self.since <= seq <= self.seq:
            return None
        found: list[bytes] = []
        for ref, head in reversed(self._heads.items()):
            if head.seq <= seq:
                break
            if len(found) == MESH_PAGE_HEADS:
                return None
            if not kind_of(ref.kind).local:
                if head.data is None:
                    head.data = _encode([*ref, *head.shown]).encode()
                found.append(head.data)
        found.reverse()
        return found

    def holds(self, ref: Ref, shown: tuple[str, str]) -> bool:
        """Whether this store is known to hold what a head shows, or something newer. A derived record goes with its
        source without a change of its own, so that is never known."""
        head = self._heads.get(ref)
        return head is not None and head.shown >= shown and not kind_of(ref.kind).derived

    def _committed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            record = change.record
            if record is change.old:  # it is seen now, or hidden: no change of the record
                continue
            self.seq = max(self.seq, change.seq)
            self._heads.pop(record.ref, None)
            self._heads[record.ref] = _Head(change.seq, record)
        while len(self._heads) > MESH_TAIL_HEADS:
            _, head = self._heads.popitem(last=False)
            self.since = head.seq
