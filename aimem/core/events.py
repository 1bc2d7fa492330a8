"""Events: what a caller's write means to those who subscribed, kept in the write's own transaction.

An event is a record of its own, so it is on as many nodes as the write, and outlives the node where the write entered.
Its body: `event`, `memory_id`, `namespace`, `agent_id` (who did it, where known), `at` (ns), `version` (of what was
written), `to` (the subscriptions to be told), `done` (those that were), and of an action `pending_id`.

What nobody asked for (expiry, promotion by use) and what a node of the existing system writes is no event.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aimem.core.automatic import RANK, is_archived
from aimem.core.governing import author_of
from aimem.core.intent import Intent, Plan, Read, Stamp, get, look
from aimem.core.kinds import DECISION, EVENT, LINK, MEMORY, PENDING, compound_key
from aimem.core.reach import Reach, memories_of
from aimem.core.record import Record

STORED: Final = "memory_store"
DELETED: Final = "memory_delete"
PROMOTED: Final = "memory_promote"
LINKED: Final = "memory_link_created"
CONSOLIDATED: Final = "memory_consolidated"
UNLINKED: Final = "memory_link_invalidated"
ASKED: Final = "approval_requested"
EVENTS: Final = (STORED, DELETED, PROMOTED, LINKED, CONSOLIDATED, UNLINKED, ASKED)
EVERY: Final = "*"

_Body = Mapping[str, Any]


class Happening(NamedTuple):
    """One thing that happened: `subject` is the id of the memory, or of the action. `bodies` are the memories that one
    must see to be told of it."""

    event: str
    subject: str
    namespace: str
    agent: str | None
    record: Record
    bodies: tuple[_Body, ...] = ()


class Subscriber(NamedTuple):
    """Who listens to what. `reach` is what the one who subscribed may see, None for everything."""

    id: str
    events: frozenset[str]
    namespace: str | None
    agent: str | None
    reach: Reach | None

    def hears(self, what: Happening) -> bool:
        """Whether it is told of this."""
        if what.event not in self.events and EVERY not in self.events:
            return False
        if self.namespace not in (None, what.namespace) or self.agent not in (None, what.agent):
            return False
        if self.reach is None:
            return True
        return self.reach.covers(what.namespace) and all(map(self.reach.sees, what.bodies))


def told(intent: Intent, subscribers: Callable[[], Sequence[Subscriber]], agent: str | None) -> Intent:
    """The intent, with an event record for everything in it that a subscriber hears. `agent` is who acts, None for what
    was decided: then it is who asked for it."""

    def plan(stamp: Stamp) -> Plan:
        decision = yield from intent(stamp)
        listening = subscribers()
        if not listening or not decision.records:
            return decision
        events = []
        for each in (yield from happenings(decision.records, agent)):
            to = [subscriber.id for subscriber in listening if subscriber.hears(each)]
            if to:
                events.append(_event(each, to, stamp))
        return decision._replace(records=[*decision.records, *events]) if events else decision

    return plan


def _event(what: Happening, to: list[str], stamp: Stamp) -> Record:
    written = str(what.record.version)
    body: dict[str, Any] = {
        "event": what.event,
        "memory_id": what.subject,
        "namespace": what.namespace,
        "at": stamp.now,
        "version": written,
        "to": to,
    }
    if what.agent is not None:
        body["agent_id"] = what.agent
    if what.event == ASKED:
        body |= {"memory_id": what.record.body.get("memory_id"), "pending_id": what.subject}
    version = stamp.version()
    return Record.make(EVENT, compound_key(what.subject, written, what.event), version, version, body)


def event_id(key: str) -> str:
    """What a receiver knows an event by: the same however often and by whichever node it is told."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"aimem event {key}".encode()).digest()[:16], version=4))


def subject_of(key: str) -> str:
    """What an event is about, from its key: events about one thing are told in the order of their keys."""
    return key.partition("/")[0]


def happenings(records: Sequence[Record], agent: str | None) -> Generator[Read, Any, list[Happening]]:
    """`yield from happenings(...)`: what these records, before they are written, mean to subscribers."""
    for record in records:
        if agent is None and record.kind == DECISION:
            parked = yield from look(PENDING, record.key)
            agent = None if parked is None else parked.body.get("requested_by")
    written = {record.key for record in records if record.kind == MEMORY}
    found, made = [], set()
    for record in records:
        if record.kind == MEMORY:
            held = yield from get(MEMORY, record.key)
            event = _of_memory(record, held, written)
            if event == CONSOLIDATED:
                made.add(record.key)
            if event is not None:
                seen = held if record.deleted and held is not None else record
                who = agent if agent is not None else author_of(seen)
                found.append(Happening(event, record.key, seen.body["namespace"], who, record, (seen.body,)))
        elif record.kind == LINK and record.body.get("source_id") not in made:
            found += yield from _of_link(record, agent)
        elif record.kind == PENDING and not record.deleted:
            body = record.body
            found.append(Happening(ASKED, record.key, body["namespace"], body.get("requested_by"), record))
    return found


def _of_memory(record: Record, held: Record | None, written: set[str]) -> str | None:
    if held is None or held.deleted:
        if record.deleted or is_archived(record):
            return None
        sources = record.body.get("metadata", {}).get("derived_from")
        joined = isinstance(sources, list) and bool(sources) and all(each in written for each in sources)
        return CONSOLIDATED if joined else STORED
    if record.version.same_write(held.version):  # an automatic change
        return None
    if is_archived(held):
        return None if record.deleted or is_archived(record) else STORED
    if record.deleted or is_archived(record):
        return DELETED
    rises = RANK[record.body["tier"]] > RANK[held.body["tier"]]
    return PROMOTED if rises and _without_life(record.body) == _without_life(held.body) else STORED


def _without_life(body: _Body) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("tier", "expires_at")}


def _of_link(record: Record, agent: str | None) -> Generator[Read, Any, list[Happening]]:
    if record.deleted:
        return []
    held = yield from get(LINK, record.key)
    if held is None or held.deleted:
        event = LINKED
    elif record.body.get("valid_until") is not None and held.body.get("valid_until") is None:
        event = UNLINKED
    else:
        return []
    bodies = []
    for ref in memories_of(record):
        memory = yield from look(*ref)
        bodies.append({} if memory is None else memory.body)
    namespace = bodies[0].get("namespace")
    if not isinstance(namespace, str):
        return []
    return [Happening(event, memories_of(record)[0].key, namespace, agent, record, tuple(bodies))]
