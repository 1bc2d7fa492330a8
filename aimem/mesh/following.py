"""A live node as a source of a move: its feed, read as a peer reads it that is new and takes no part in any quorum.

Of what the target holds already only the heads are asked for, so following many nodes of one fleet costs the bodies
once. What the node keeps to itself (its quarantine, what it has promised as an elector) is not in its feed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from aimem.core.consensus import CLOSE, FIRST, Reply, reply_from_wire
from aimem.core.feed import Cursor, parse_cursor
from aimem.core.record import Record, Ref
from aimem.core.version import ORIGIN_HEX
from aimem.errors import AimemError, Invalid, Misconfigured, Unreachable
from aimem.limits import MESH_BATCH_RECORDS, MESH_PAGE_HEADS, MIGRATE_CALL_SECS
from aimem.mesh.messages import ELECT, FEED, FETCH, RECORDS, Envelope, list_of, record_bytes, records_of
from aimem.mesh.peer import Peer
from aimem.mesh.repair import head_of
from aimem.mesh.settings import Clock, Transport
from aimem.store.base import Store
from aimem.store.moving.source import Page


def stranger(store_of: Callable[[], tuple[str, str]], now: Clock) -> Callable[[], Envelope]:
    """Who speaks: `store_of()` gives start and incarnation of the target. It counts as behind, so that everybody serves
    it, and nobody takes anything from it as known."""

    def envelope() -> Envelope:
        start, incarnation = store_of()
        return Envelope(f"migrate-{start[:ORIGIN_HEX]}", start, incarnation, now(), behind=True)

    return envelope


class Followed:
    """A `Source`: a node at a URL. `hello` first."""

    def __init__(self, url: str, transport: Transport, envelope: Callable[[], Envelope], now: Clock) -> None:
        self.name = url
        self.floor = 0
        self.head = 0
        self.digest = ""
        self._now = now
        self._store: Store | None = None
        self._cursor: Cursor | None = None
        self._read_at = 0
        self._peer = Peer(url, envelope().start, transport, envelope, now, random.Random())

    def into(self, store: Store) -> None:
        """Where it is read to: what is there need not come again."""
        self._store = store

    async def hello(self) -> Envelope:
        """Learn who is there.

        Raises:
            Misconfigured: a node of the existing system. AimemError: no answer.
        """
        try:
            await self._peer.hello()
        except Unreachable as error:
            if "status 404" in error.message or "status 405" in error.message:
                raise Misconfigured(
                    f"{self.name} is no node of aimem: one of ai-memory can't be fenced",
                    hint="stop it, then give its database with --from; aimem-deploy(7) replaces a fleet as it serves",
                ) from error
            raise
        assert self._peer.identity is not None
        return self._peer.identity

    async def _call(self, path: str, fields: dict[str, Any], **lists: Sequence[bytes]) -> dict[str, Any]:
        return await self._peer.call(path, fields, lane="pull", lists=lists, timeout=MIGRATE_CALL_SECS)

    @property
    def incarnation(self) -> str:
        assert self._peer.identity is not None, "hello first"
        return self._peer.identity.incarnation

    @property
    def clock(self) -> int:
        assert self._peer.identity is not None, "hello first"
        return self._peer.identity.clock

    async def give(self, record: Record) -> None:
        """Have the node take a record in; durable there when it returns.

        Raises:
            AimemError: it does not answer, or does not take it.
        """
        reply = await self._call(RECORDS, {}, records=[record_bytes(record)])
        (told,) = list_of(reply, "results", 1)
        if told != "applied" and told[0] != "superseded":
            raise Invalid(f"{self.name} does not take the fence: {told[1]}")

    async def closed(self, question: str) -> Reply:
        """What the store of this node says as an elector, which takes part in that question no more.

        Raises:
            AimemError: it does not answer.
        """
        fields = {"elector": self.incarnation, "question": question, "step": CLOSE, "ballot": str(FIRST)}
        told = (await self._call(ELECT, fields)).get("reply")
        if not isinstance(told, dict):
            raise Invalid(f"{self.name} did not say what it has accepted")
        return reply_from_wire(told)

    async def resolve(self, cursor: Cursor) -> int:
        self._cursor = cursor if cursor.incarnation == self.incarnation else None
        return cursor.seq if self._cursor is not None else 0

    async def page(self, after: int) -> Page:
        if self._cursor is not None and self._cursor.seq != after:
            self._cursor = None
        reply = await self._call(FEED, {"cursor": None if self._cursor is None else str(self._cursor)})
        heads = [_head(each) for each in list_of(reply, "heads", MESH_PAGE_HEADS)]
        more = reply.get("more") is True
        self._note(reply, more=more)
        records = await self._bodies(heads)
        self._cursor = parse_cursor(str(reply.get("cursor")))
        return Page(records, self._cursor, more)

    def _note(self, reply: dict[str, Any], *, more: bool) -> None:
        head, floor = reply.get("head"), reply.get("floor")
        self.head = head if isinstance(head, int) else 0
        self.floor = floor if isinstance(floor, int) else 0
        self.digest = str(reply.get("digest", ""))
        assert self._peer.identity is not None
        if not more and not self._peer.identity.behind:
            self._read_at = self._now()

    async def _bodies(self, heads: Sequence[tuple[Ref, str, str]]) -> list[Record]:
        """The records that heads show: those that the target has, the others from the node."""
        refs = [ref for ref, _, _ in heads]
        held = await self._store.get(refs) if self._store is not None else [None] * len(refs)
        known = {
            ref: here
            for (ref, version, content), here in zip(heads, held, strict=True)
            if here is not None and head_of(here) == (version, content)
        }
        missing = [ref for ref in refs if ref not in known]
        fetched = {each.ref: each for each in await self.get(missing) if each is not None}
        return [each for ref in refs if (each := known.get(ref) or fetched.get(ref)) is not None]

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        found: dict[Ref, Record] = {}
        rest = list(refs)
        while rest:
            batch = rest[:MESH_BATCH_RECORDS]
            reply = await self._call(FETCH, {"refs": [list(ref) for ref in batch]})
            answered = reply.get("answered")
            if not isinstance(answered, int) or not 0 < answered <= len(batch):
                raise Invalid(f"{self.name} did not say how many records it answered for")
            for each in records_of(list_of(reply, "records", MESH_BATCH_RECORDS)):
                if isinstance(each, str):
                    raise Invalid(f"{self.name} sent a record that can't be read: {each}")
                found[each.ref] = each
            rest = rest[answered:]
        return [found.get(ref) for ref in refs]

    async def positions(self, prefix: str) -> dict[str, int]:
        name = f"caught/{self.incarnation}"
        return {name: self._read_at} if self._read_at and name.startswith(prefix) else {}


def _head(value: Any) -> tuple[Ref, str, str]:
    match value:
        case [str(kind), str(key), str(version), str(content)]:
            return Ref(kind, key), version, content
    raise Invalid("a node sent a head that is none")


async def reached(nodes: Sequence[Followed]) -> tuple[dict[str, Envelope], dict[str, AimemError]]:
    """Who answers at which URL, and why not."""
    found: dict[str, Envelope] = {}
    failed: dict[str, AimemError] = {}
    for node in nodes:
        try:
            found[node.name] = await node.hello()
        except AimemError as error:
            failed[node.name] = error
    return found, failed
