"""Parked actions: what is kept of a write that must wait for leave.

A pending record holds what the write came to, record by record, each with the version of what stood there: when leave
is given, exactly this is carried out, or nothing where something else stands there by then. So an approver decides
about what they see, and every kind of write can be parked without code of its own. How leave is given is in
`deciding`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

from aimem.core.intent import Decision, Read, Stamp, get
from aimem.core.kinds import IDEMPOTENCY, PENDING, TOUCH, kind_of
from aimem.core.policy import Approver
from aimem.core.record import Record, canonical, to_wire
from aimem.core.timestamp import SECOND_NS
from aimem.core.writes import Answer
from aimem.limits import ELECTORS_MAX

PENDING_STATUS: Final = 202


class Leave(NamedTuple):
    """What leave is wanted for: what the action is called, where it is to happen, the memory that it is done to, who
    gives leave, and for how long it is waited for, in seconds (None: for ever)."""

    action: str
    namespace: str
    memory_id: str | None
    approver: Approver
    timeout_secs: int | None


class Parked(NamedTuple):
    """The reply of a write that was parked instead."""

    record: Record

    def body(self) -> dict[str, Any]:
        """As callers see it."""
        held = self.record.body
        told = {
            "status": "pending",
            "pending_id": self.record.key,
            "reason": "governance requires approval",
            "action": held["action"],
            "namespace": held["namespace"],
        }
        return told if held.get("memory_id") is None else {**told, "memory_id": held["memory_id"]}


def pending_of(reply: Any) -> str | None:
    """The id of the pending action that a write became; None for one that was carried out."""
    if isinstance(reply, Parked):
        return reply.record.key
    return str(reply.body["pending_id"]) if isinstance(reply, Answer) and reply.status == PENDING_STATUS else None


def parked(
    decision: Decision, wanted: Leave, agent_id: str, electors: Sequence[str], stamp: Stamp
) -> Generator[Read, Any, Decision]:
    """`yield from parked(...)`: instead of a decision, the one that keeps it for later. Where the write can be repeated
    by an idempotency key, so can this."""
    version = stamp.version()
    once = next((record for record in decision.records if record.kind == IDEMPOTENCY), None)
    items = []
    for record in decision.records:
        if record.kind not in (IDEMPOTENCY, TOUCH) and not kind_of(record.kind).local:
            items.append(item_of(record, (yield from get(record.kind, record.key))))  # noqa: PERF401
    body = {
        "action": wanted.action,
        "namespace": wanted.namespace,
        "memory_id": wanted.memory_id,
        "requested_by": agent_id,
        "requested_at": stamp.now,
        "approver": wanted.approver.to_wire(),
        "electors": list(electors),
        "records": items,
    }
    if wanted.timeout_secs is not None:
        body["expires_at"] = stamp.now + wanted.timeout_secs * SECOND_NS
    key = pending_id(str(version) if once is None else once.key, electors)
    record = Record.make(PENDING, key, version, version, body)
    reply = Parked(record)
    if once is None:
        return Decision([record], Answer(PENDING_STATUS, reply.body()) if isinstance(decision.reply, Answer) else reply)
    outcome = {**once.body, "status": PENDING_STATUS, "reply": reply.body(), "wrote": [list(record.ref)]}
    again = Record.make(IDEMPOTENCY, once.key, once.version, once.born, outcome)
    return Decision([record, again], Answer(PENDING_STATUS, reply.body()))


def electors_of(own: str, rack: str | None, peers: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """The stores that decide together: `own` and, of the `peers` (store, rack), so many that they are one, three or
    five. Those in racks that are not among them yet come first, so that no rack is needed where there are several. A
    store is one elector, whichever nodes speak for it."""
    chosen, racks, waiting = [own], {rack}, [each for each in dict.fromkeys(peers) if each[0] != own]
    while waiting and len(chosen) < ELECTORS_MAX:
        each = next((each for each in waiting if each[1] not in racks), waiting[0])
        waiting = [other for other in waiting if other[0] != each[0]]
        chosen.append(each[0])
        racks.add(each[1])
    return tuple(chosen[: len(chosen) - (len(chosen) + 1) % 2])


def pending_id(request: str, electors: Sequence[str]) -> str:
    """The id of a pending action: it derives from the request and from who decides about it."""
    digest = hashlib.sha256(canonical(["aimem pending", request, sorted(electors)])).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def item_of(record: Record, held: Record | None) -> dict[str, Any]:
    """One record of a parked write: as on the wire, without the version that it gets when it is carried out, and with
    that of what stood there (`base`). A derived one keeps its own."""
    wire = {name: value for name, value in to_wire(record).items() if name not in ("version", "born")}
    if kind_of(record.kind).derived:
        return {**wire, "version": str(record.version), "born": str(record.born)}
    wire["base"] = None if held is None else str(held.version)
    if record.born == record.version:
        return {**wire, "renewed": True}
    return {**wire, "born": str(record.born)}
