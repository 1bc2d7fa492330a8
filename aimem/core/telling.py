"""What becomes of an event: told, given up, taken over, told again; all as intents. What one is stands in `events`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aimem.core.events import event_id
from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import DEAD_LETTER, EVENT, compound_key
from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp


class GivenUp(NamedTuple):
    """Why a subscription was not told of an event, and how often that was tried."""

    reason: str
    attempts: int


Ends = Mapping[str, GivenUp | None]
"""By subscription how an event ended for it: told (None), or given up."""


def waiting_for(event: Record) -> list[str]:
    """The subscriptions that are still to be told of an event."""
    if event.deleted:
        return []
    done = event.body.get("done", ())
    return [each for each in event.body["to"] if each not in done]


def ended(ends: Mapping[str, Ends], progress: dict[str, int] | None = None) -> Intent:
    """Note how events, by key, ended. One that nobody waits for any more is deleted; what was given up is kept as a
    dead letter. Reply: how many dead letters there are of it."""

    def plan(stamp: Stamp) -> Plan:
        records, dead = [], 0
        for key, each in ends.items():
            held = yield from get(EVENT, key)
            if held is None or held.deleted:
                continue
            for subscription, given_up in each.items():
                if given_up is not None:
                    records.append(_dead_letter(held, subscription, given_up, stamp))
                    dead += 1
            left = [one for one in waiting_for(held) if one not in each]
            version = stamp.version()
            if not left:
                records.append(Record.make(EVENT, key, version, held.born, {}, deleted=True))
                continue
            done = [one for one in held.body["to"] if one not in left]
            records.append(Record.make(EVENT, key, version, held.born, {**held.body, "done": done}))
        return Decision(records, dead, progress)

    return plan


def _dead_letter(event: Record, subscription: str, why: GivenUp, stamp: Stamp) -> Record:
    about = {name: value for name, value in event.body.items() if name not in ("to", "done")}
    body = {
        **about,
        "subscription": subscription,
        "key": event.key,
        "reason": why.reason,
        "attempts": why.attempts,
        "failed_at": stamp.now,
    }
    version = stamp.version()
    return Record.make(DEAD_LETTER, compound_key(subscription, event.key), version, version, body)


def taken_over(keys: Sequence[str], origin: str) -> Intent:
    """Take events in hand that the process start `origin`, which is gone, had. Reply: how many those are."""

    def plan(stamp: Stamp) -> Plan:
        records = []
        for key in keys:
            held = yield from get(EVENT, key)
            if held is not None and not held.deleted and held.version.origin == origin:
                records.append(Record(EVENT, key, stamp.version(), held.born, held.raw, extra=held.extra))
        return Decision(records, len(records))

    return plan


def replayed(letters: Sequence[str]) -> Intent:
    """Have dead letters, by key, told again by this node. Reply: the ids of their events."""

    def plan(stamp: Stamp) -> Plan:
        records: dict[str, Record] = {}
        for letter in letters:
            dead = yield from get(DEAD_LETTER, letter)
            if dead is None or dead.deleted:
                continue
            body = dict(dead.body)
            key, subscription = body.pop("key"), body.pop("subscription")
            for name in ("reason", "attempts", "failed_at"):
                body.pop(name)
            event = records.get(key) or (yield from get(EVENT, key))
            left = [] if event is None else waiting_for(event)
            to = list(dict.fromkeys([*left, subscription]))
            version = stamp.version()
            records[key] = Record.make(
                EVENT, key, version, version if event is None else event.born, {**body, "to": to}
            )
            records[letter] = Record.make(DEAD_LETTER, letter, stamp.version(), dead.born, {}, deleted=True)
        return Decision(
            list(records.values()), [event_id(key) for key, record in records.items() if record.kind == EVENT]
        )

    return plan


def letter_json(letter: Record) -> dict[str, Any]:
    """A dead letter as callers see it."""
    body = letter.body
    return {
        "id": event_id(body["key"]),
        "subscription_id": body["subscription"],
        "event": body["event"],
        "memory_id": body.get("memory_id"),
        "namespace": body["namespace"],
        "agent_id": body.get("agent_id"),
        "occurred_at": format_timestamp(body["at"]),
        "failed_at": format_timestamp(body["failed_at"]),
        "attempts": body["attempts"],
        "reason": body["reason"],
    }
