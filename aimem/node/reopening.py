"""`pending reopen` at work: an operator ends the wait of an action whose electors are gone for good.

Every node that answers is asked whether it knows a decision, then the electors that are left are closed, and agree on
how the action ends: see `core.reopening`. What each step has done stays done, so one that was cut off is asked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from aimem.core.consensus import CLOSE, FIRST, PROMISE, Accepted
from aimem.core.deciding import conclude, electors_of_pending, successor_of
from aimem.core.fields import object_of, text_of
from aimem.core.governing import Speaker
from aimem.core.intent import Decision, Plan, Stamp
from aimem.core.kinds import DECISION, PENDING
from aimem.core.record import Record, Ref
from aimem.core.reopening import (
    barred,
    check_lost,
    check_replies,
    highest,
    left_of,
    not_ruled_out,
    park_anew,
    question_of,
)
from aimem.core.writes import Answer
from aimem.errors import AimemError, Busy, ClockSkewed, Denied, NotFound, WrongShape
from aimem.limits import DECIDE_ATTEMPTS
from aimem.node.caller import Caller
from aimem.node.deciding import Deciding
from aimem.node.lane import CallersLane, Fleet, Lane
from aimem.store.base import Store

log = logging.getLogger(__name__)


class Reopening:
    """See the module. `lane` ends at the own disk."""

    def __init__(self, store: Store, lane: Lane, callers: CallersLane, deciding: Deciding, fleet: Fleet | None) -> None:
        self._store = store
        self._lane = lane
        self._callers = callers
        self._deciding = deciding
        self._fleet = fleet

    async def reopen(self, pending_id: str, raw: object | None, caller: Caller) -> Answer:
        """End an action: 200 with how, and as what it was parked anew if it was. `raw` names the electors that are
        `lost`. One that turns out to be decided, or was reopened before, is told as it stands.

        Raises:
            NotFound: there is no such action. Denied: the caller may not. Invalid: one that is lost is no elector.
            Conflict: electors that decide are left. Busy: one that is not lost does not answer.
            ClockSkewed: what may have been decided lies too far ahead for the clock of this node.
        """
        lost, who = _lost(raw), caller.speaker(())
        refs = [Ref(PENDING, pending_id), Ref(DECISION, pending_id)]
        unasked = () if self._fleet is None else await self._fleet.ask_all(refs)
        pending, decision = await self._store.get(refs)
        if pending is None or pending.deleted:
            raise NotFound("there is no such pending action")
        await self._check_right(pending, who)
        if decision is not None:
            return await self._stands(pending, decision, lost, unasked)
        check_lost(pending, lost)
        async with self._deciding.alone(pending_id):
            value = await self._agree(pending, lost, who)
        (outcome,) = await self._callers.decided().write([conclude(pending_id, value)])
        if isinstance(outcome, AimemError):
            raise outcome
        doubts = not_ruled_out(electors_of_pending(pending), lost, unasked)
        told = {**await self._told(outcome.reply), "lost": list(lost), "not_ruled_out": doubts, **outcome.quorum}
        log.warning(
            "%s has ended the pending action %s, of whose electors %s are lost, as %s",
            *(who.agent_id, pending_id, ", ".join(lost) or "none", told["outcome"]),
        )
        return Answer(200, told)

    async def _check_right(self, pending: Record, who: Speaker) -> None:
        def plan(stamp: Stamp) -> Plan:
            return Decision((), (yield from barred(pending, who)))

        (found,) = await self._store.rehearse([plan])
        if isinstance(found.reply, AimemError):
            raise found.reply
        if found.reply is not None:
            raise Denied(f"reopen denied: {found.reply}")

    async def _agree(self, pending: Record, lost: tuple[str, ...], who: Speaker) -> Any:
        """How the action ends, by all of its electors that are left."""
        electors = electors_of_pending(pending)
        left = left_of(electors, lost)
        check_replies(electors, lost, await self._deciding.ask(electors, pending.key, PROMISE, FIRST))
        closed = await self._deciding.ask(left, pending.key, CLOSE, FIRST)
        if len(closed) == len(left):
            accepted = highest(closed.values())

            async def choose(bound: Accepted | None) -> Any:
                found = bound or accepted
                return found.value if found is not None else await self._park_anew(pending, lost, who)

            if not left:
                return await choose(None)
            for _ in range(DECIDE_ATTEMPTS):
                proposal, value = await self._deciding.attempt(question_of(pending.key), left, choose, len(left))
                if proposal.chosen:
                    return value
                if value is not None and not self._deciding.timely(value):
                    raise ClockSkewed(
                        "the end that an elector had accepted lies beyond what this node's clock lets it take",
                        hint="set the clocks right, or ask again when they have come near: what was done stays done",
                    )
                if not proposal.lost:
                    break
                await asyncio.sleep(self._deciding.pause())
        raise Busy(
            "an elector that is left stopped answering: the action is halted, and not reopened yet",
            hint="ask again: what was done stays done",
        )

    async def _park_anew(self, pending: Record, lost: tuple[str, ...], who: Speaker) -> Any:
        electors = (self._store.incarnation,) if self._fleet is None else self._fleet.electors(lost)
        return await self._lane.one(park_anew(pending, electors, who.agent_id))

    async def _stands(self, pending: Record, decision: Record, lost: tuple[str, ...], unasked: Sequence[str]) -> Answer:
        """What an action has come to already, brought to the quorum where that was missed. Of one that was reopened it
        is said again what is not ruled out: whoever asks again may not have heard it."""
        electors = electors_of_pending(pending)
        named = [each for each in lost if each in electors] if successor_of(decision) is not None else []
        doubts = not_ruled_out(electors, named, unasked) if named else []
        told = {**await self._told(decision), "lost": [], "not_ruled_out": doubts}
        wrote = (decision.ref, *((kind, key) for kind, key, _ in decision.body.get("wrote", ())))

        def plan(stamp: Stamp) -> Plan:
            yield from ()
            return Decision((), Answer(200, told, replayed=True, wrote=wrote))

        found: Answer = await self._callers.decided().one(plan)
        return found

    async def _told(self, decision: Record) -> dict[str, Any]:
        told = {
            "id": decision.key,
            "outcome": decision.body["outcome"],
            "decided_by": decision.body["decided_by"],
        }
        if (again := successor_of(decision)) is not None:
            (parked,) = await self._store.get([Ref(PENDING, again)])
            told |= {"pending_id": again, "electors": [] if parked is None else list(electors_of_pending(parked))}
        return told


def _lost(raw: object | None) -> tuple[str, ...]:
    """The electors that a request names as lost, each once.

    Raises:
        WrongShape: it names them in another shape than a list of text.
    """
    named = {} if raw is None else object_of(raw)
    lost = named.get("lost") or []
    if not isinstance(lost, list):
        raise WrongShape("lost must be a list of electors")
    return tuple(dict.fromkeys(text_of(each, "lost") for each in lost))
