"""Pending actions as callers see them: listed, approved, rejected, taken back.

A vote is a write like any other; what it comes to is decided by the action's electors (see `deciding`). The reply tells
what is so when it is given: an action that waits for more votes, or for a majority of its electors, is still pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimem.core import deciding
from aimem.core.deciding import (
    APPROVE,
    APPROVED,
    CANCEL,
    CANCELLED,
    REJECT,
    REJECTED,
    Ballots,
    ballots_of,
    check_not_reopened,
    electors_of_pending,
    may_see,
    needed_votes,
    successor_of,
)
from aimem.core.governing import Speaker
from aimem.core.intent import Decision, Intent, Plan, Stamp
from aimem.core.kinds import DECISION, MEMORY, PENDING, VOTE, compound_key
from aimem.core.record import Record, Ref
from aimem.core.subscriptions import without_secret
from aimem.core.timestamp import format_timestamp
from aimem.core.version import Version, parse_version
from aimem.core.wire import memory_json
from aimem.core.writes import Answer
from aimem.errors import AimemError, Conflict, Denied, NotFound
from aimem.limits import PENDING_LIMIT_DEFAULT, PENDING_LIMIT_MAX
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.deciding import Deciding
from aimem.node.lane import CallersLane, fewest
from aimem.node.parameters import Parameters
from aimem.store.base import Store

_ENDS = {APPROVE: APPROVED, REJECT: REJECTED, CANCEL: CANCELLED}


class Pending:
    """The callers' side of pending actions. `patience` is how long (seconds) a vote waits for others to decide."""

    def __init__(self, store: Store, lane: CallersLane, deciding: Deciding, patience: float) -> None:
        self._store = store
        self._lane = lane
        self._deciding = deciding
        self._patience = patience

    async def listed(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """Actions, the latest first: of a `status`, of a `namespace` (with `/**` also of those below it), of an
        `approver`. What an action is about is shown to who asked for it and who may decide about it."""
        limit = parameters.count(params, "limit", PENDING_LIMIT_DEFAULT, PENDING_LIMIT_MAX)
        status = parameters.text(params, "status")
        namespace, approver = parameters.text(params, "namespace"), parameters.text(params, "approver")
        if status == deciding.WAITING:
            await self._deciding.loaded.wait()
            ids = self._deciding.open.ids(namespace, approver, limit)
        else:
            ids = await self._deciding.open.all_ids(self._store, namespace, approver)
        rows: list[dict[str, Any]] = []
        for start in range(0, len(ids), limit):
            shown = await self._shown(ids[start : start + limit], caller)
            rows += [each for each in shown if status in (None, each["status"])]
            if len(rows) >= limit:
                break
        return {"count": len(rows[:limit]), "pending": rows[:limit]}

    async def get(self, pending_id: str, caller: Caller) -> dict[str, Any]:
        """One action."""
        for shown in await self._shown([pending_id], caller):
            return shown
        raise NotFound("there is no such pending action")

    async def approve(self, pending_id: str, caller: Caller) -> Answer:
        """Vote for it: 200 where that carried it out, 202 while it waits."""
        try:
            return await self._vote(pending_id, caller, APPROVE)
        except (NotFound, Conflict) as error:
            if isinstance(error, Conflict) and "outcome" in error.extra:
                raise
            raise Denied(f"approve rejected: {error.message}") from error

    async def reject(self, pending_id: str, caller: Caller) -> Answer:
        """Vote against it: 200."""
        return await self._ended(pending_id, caller, REJECT)

    async def cancel(self, pending_id: str, caller: Caller) -> Answer:
        """Take it back: 200."""
        return await self._ended(pending_id, caller, CANCEL)

    async def _ended(self, pending_id: str, caller: Caller, verdict: str) -> Answer:
        try:
            return await self._vote(pending_id, caller, verdict)
        except Conflict as error:
            if "pending_id" in error.extra:  # it waits elsewhere
                raise
            raise NotFound("pending action not found or already decided", extra=error.extra) from error

    async def _vote(self, pending_id: str, caller: Caller, verdict: str) -> Answer:
        who = caller.speaker(())
        (held,) = await self._store.get([Ref(PENDING, pending_id)])
        if verdict == APPROVE and held is not None and not held.deleted and not electors_of_pending(held):
            raise Conflict(
                "this action was parked by the existing system: here nobody can carry it out",
                hint="ask for the write again, and reject or cancel this one",
                extra={"outcome": deciding.WAITING},
            )
        (outcome,) = await self._lane.decided().write([deciding.vote(pending_id, who, verdict)])
        if isinstance(outcome, AimemError):
            if isinstance(outcome, Conflict) and caller.idempotency_key is not None:
                return await self._again(pending_id, who, verdict, outcome)
            raise outcome
        quorum = outcome.quorum
        decision = await self._deciding.settle(pending_id)
        (pending,) = await self._store.get([Ref(PENDING, pending_id)])
        assert pending is not None
        if decision is None and await self._is_ripe(pending):
            decision = await self._deciding.learn(pending_id, self._patience)
        if decision is None:
            return Answer(202, {**await self._waits(pending, verdict), **quorum})
        return self._decided(pending, decision, verdict, quorum)

    async def _again(self, pending_id: str, who: Speaker, verdict: str, refused: Conflict) -> Answer:
        """What a vote came to that is sent again under its idempotency key, after the action was decided. The vote is
        there but once, so it need not be kept under the key. Raises `refused` where it was never cast."""
        refs = [
            Ref(PENDING, pending_id),
            Ref(DECISION, pending_id),
            Ref(VOTE, compound_key(pending_id, who.agent_id, verdict)),
        ]
        pending, decision, cast = await self._store.get(refs)
        if pending is None or decision is None or cast is None or cast.deleted:
            raise refused
        told = self._decided(pending, decision, verdict, {})
        wrote = tuple(refs[1:]) + tuple((kind, key) for kind, key, _ in decision.body["wrote"])

        def plan(stamp: Stamp) -> Plan:
            yield from ()
            return Decision((), told._replace(replayed=True, wrote=wrote))

        found: Answer = await self._lane.decided().one(plan)  # brings what stands to the quorum that was missed
        return found

    async def _is_ripe(self, pending: Record) -> bool:
        """Whether the votes are enough, and only a majority of electors is missing here."""
        mine = self._store.incarnation in electors_of_pending(pending)
        return not mine and await self._deciding.ripe(pending)

    async def _waits(self, pending: Record, verdict: str) -> dict[str, Any]:
        found = await self._ballots(pending)
        told: dict[str, Any] = {
            "status": deciding.WAITING,
            "id": pending.key,
            "votes": len(found.approvals),
            "quorum": needed_votes(pending),
            "reason": "consensus threshold not yet reached",
        }
        if verdict != APPROVE or len(found.approvals) >= needed_votes(pending):
            told |= {
                "reason": "no majority of the electors could be reached: it is decided when one can",
                "electors": list(electors_of_pending(pending)),
            }
        return told if verdict != APPROVE else {"approved": False, **told}

    def _decided(self, pending: Record, decision: Record, verdict: str, quorum: dict[str, Any]) -> Answer:
        body = decision.body
        check_not_reopened(decision)
        if body["outcome"] != _ENDS[verdict]:
            reason = f": {body['reason']}" if "reason" in body else ""
            raise Conflict(f"the action has ended as {body['outcome']}{reason}", extra={"outcome": body["outcome"]})
        told: dict[str, Any] = {"id": pending.key, "decided_by": body["decided_by"]}
        if verdict == APPROVE:
            first = next((key for kind, key, _ in body["wrote"] if kind == MEMORY), None)
            told = {"approved": True, **told, "executed": True, "memory_id": first}
        else:
            told = {_ENDS[verdict]: True, **told}
        return Answer(200, {**told, **fewest(quorum)})

    async def _ballots(self, pending: Record) -> Ballots:
        votes = await self._deciding.votes_of(pending)

        def plan(stamp: Stamp) -> Plan:
            return Decision((), (yield from ballots_of(pending, votes)))

        (found,) = await self._store.rehearse([plan])
        told: Ballots = found.reply
        return told

    async def _shown(self, ids: Sequence[str], caller: Caller) -> list[dict[str, Any]]:
        """Actions as the caller sees them, those that are there: read together, since a queue is long."""
        doubtful = [each for each in ids if not self._deciding.is_open(each)]
        held = await self._deciding.open.records(self._store, ids)
        decided = await self._store.get([Ref(DECISION, each) for each in doubtful]) if doubtful else []
        decisions = dict(zip(doubtful, decided, strict=True))
        there = [pending for pending in held if pending is not None and not pending.deleted]
        (seen,) = await self._store.rehearse([_seeing(there, caller.speaker(()))])
        return [
            await self._one_shown(pending, decisions.get(pending.key), seen=seen.reply[pending.key])
            for pending in there
        ]

    async def _one_shown(self, pending: Record, decision: Record | None, *, seen: bool) -> dict[str, Any]:
        votes = await self._deciding.votes_of_open(pending)
        told = _told(pending, votes, decision, seen=seen)
        if decision is not None:
            if (again := successor_of(decision)) is not None:
                told["reopened_as"] = again
            elif await self._overtaken(decision):
                told["overtaken"] = True
        elif (silent := self._deciding.unreached.get(pending.key)) is not None:
            halted = pending.key in self._deciding.halted
            told["waits_for"] = "an operator to finish reopening it" if halted else "a majority of its electors"
            told["silent"] = list(silent)
        return told

    async def _overtaken(self, decision: Record) -> bool:
        """Whether something newer stands where the action wrote."""
        wrote = decision.body.get("wrote", ())
        held = await self._store.get([Ref(kind, key) for kind, key, _ in wrote])
        return any(
            record is not None and str(record.version.base()) != version
            for record, (_, _, version) in zip(held, wrote, strict=True)
        )


def _seeing(there: Sequence[Record], who: Speaker) -> Intent:
    """An intent that only reads. Reply: of each action, whether a caller may see what it is about."""

    def plan(stamp: Stamp) -> Plan:
        seen = {}
        for pending in there:
            seen[pending.key] = yield from may_see(pending, who)
        return Decision((), seen)

    return plan


def _told(pending: Record, votes: Sequence[Record], decision: Record | None, *, seen: bool) -> dict[str, Any]:
    body, electors = pending.body, electors_of_pending(pending)
    told: dict[str, Any] = {
        "id": pending.key,
        "action_type": body["action"],
        "memory_id": body.get("memory_id"),
        "namespace": body["namespace"],
        "payload": payload_of(pending) if seen else {},
        "requested_by": body["requested_by"],
        "requested_at": format_timestamp(body["requested_at"]),
        "status": deciding.WAITING if decision is None else decision.body["outcome"],
        "approver": body["approver"],
        "approvals": [
            {"agent_id": each.body["voter"], "approved_at": format_timestamp(each.body["voted_at"])}
            for each in votes
            if each.body.get("verdict") == APPROVE
        ],
        "electors": list(electors),
    }
    if not electors and decision is None:
        told["waits_for"] = "its requester to ask again: it was parked by the existing system"
    if "reopened_from" in body:
        told["reopened_from"] = body["reopened_from"]
    if "expires_at" in body:
        told["expires_at"] = format_timestamp(body["expires_at"])
    if decision is not None:
        told |= {"decided_by": decision.body["decided_by"], "decided_at": format_timestamp(decision.body["decided_at"])}
        if "reason" in decision.body:
            told["reason"] = decision.body["reason"]
    return told


def payload_of(pending: Record) -> dict[str, Any]:
    """What an action is about, as callers see it: of a store the memory, of others what they write."""
    body = pending.body
    if "records" not in body:
        kept = body.get("payload")
        return kept if isinstance(kept, dict) else {}
    at = Version(body["requested_at"], "0" * 16)
    shown = []
    for item in body["records"]:
        hidden = ("base", "renewed", "born", "version")
        plain = {name: value for name, value in item.items() if name not in hidden}
        shown.append(_memory_of(item, at) or without_secret(plain))
    return shown[0] if body["action"] == "store" and shown else {"records": shown}


def _memory_of(item: dict[str, Any], at: Version) -> dict[str, Any] | None:
    """The memory that an item of a parked write is, as callers see it; None where it is none, or can't be read."""
    if item.get("kind") != MEMORY or item.get("deleted"):
        return None
    try:
        born = parse_version(item["born"]) if "born" in item else at
        return memory_json(Record(MEMORY, item["key"], at, born, b"", body=item["body"]))
    except (KeyError, TypeError, AttributeError, AimemError):
        return None
