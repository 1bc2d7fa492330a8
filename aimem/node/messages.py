"""Messages as callers send, read and mark them. What a message is stands in `core.messages`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from aimem.core import messages
from aimem.core.fields import check_agent_id, check_id
from aimem.core.kinds import READ_MARK, read_key
from aimem.core.messages import TAG, clean_message, message_json
from aimem.core.namespace import inbox_of
from aimem.core.parking import PENDING_STATUS
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.core.timestamp import format_timestamp
from aimem.core.version import parse_version
from aimem.core.writes import Answer, answered
from aimem.errors import Invalid
from aimem.limits import INBOX_LIMIT_DEFAULT, INBOX_LIMIT_MAX
from aimem.node import parameters
from aimem.node.caller import Caller
from aimem.node.lane import CallersLane
from aimem.node.parameters import Parameters
from aimem.node.reading import Reading
from aimem.node.writing import Writing
from aimem.store.base import Filter, Store

_MARK_CHARS: Final = 12  # 48 bits: no two messages of one subject to one agent ever share them


class Messages:
    """Notify, inbox, and marks of what was read."""

    def __init__(
        self,
        store: Store,
        lane: CallersLane,
        writing: Writing,
        reading: Reading,
        now: Callable[[], int],
        rand: random.Random,
    ) -> None:
        self._store = store
        self._lane = lane
        self._writing = writing
        self._reading = reading
        self._now = now
        self._rand = rand

    async def notify(self, raw: Any, caller: Caller) -> Answer:
        """Send a message: 201. Under an idempotency key it is one message, whichever nodes the request came to."""
        once = caller.once("notify")
        mark = f"{self._rand.getrandbits(4 * _MARK_CHARS):0{_MARK_CHARS}x}" if once is None else once.record_key()
        memory = clean_message(raw, mark[:_MARK_CHARS])
        answer = await self._writing.create({**memory, "check_contradictions": False}, caller)
        return answer if answer.status == PENDING_STATUS else answer._replace(body=_sent(answer.body, memory))

    async def inbox(self, params: Parameters, caller: Caller) -> dict[str, Any]:
        """The messages of an agent, by priority and then the latest first; with `unread_only` those without a mark."""
        target = _whose(params, caller)
        limit = parameters.count(params, "limit", INBOX_LIMIT_DEFAULT, INBOX_LIMIT_MAX)
        unread_only = parameters.flag(params, "unread_only") or False
        found = await self._messages(target, limit, unread_only, caller.reach)
        return {
            "agent_id": target,
            "namespace": inbox_of(target),
            "count": len(found),
            "unread_only": unread_only,
            "messages": found,
        }

    async def mark_read(self, memory_id: str, params: Parameters, caller: Caller) -> Answer:
        """Mark a message as read by the agent that it is for: 200, also when it was."""
        target = _whose(params, caller)
        intent = messages.mark_read(check_id(memory_id), target)
        once = caller.once("mark read", memory_id, target)
        answer: Answer = await self._lane.of(caller).one(answered(intent, lambda mark: _marked(memory_id, mark), once))
        return answer

    async def _messages(self, target: str, limit: int, unread_only: bool, reach: Reach | None) -> list[dict[str, Any]]:
        """The first messages of an inbox, of those that are wanted."""
        which = Filter(now=self._now(), namespaces=(inbox_of(target),), tag=TAG, reach=reach)
        found: list[dict[str, Any]] = []
        offset = 0
        while len(found) < limit and (page := await self._store.select(which, INBOX_LIMIT_MAX, offset)):
            marks = await self._store.get([Ref(READ_MARK, read_key(each.record.key, target)) for each in page])
            for each, mark in zip(page, marks, strict=True):
                read = mark is not None and not mark.deleted
                if not (read and unread_only):
                    found.append(message_json(self._reading.shown(each), target, read=read))
            offset += len(page)
        return found[:limit]


def _whose(params: Parameters, caller: Caller) -> str:
    """Whose inbox is meant: the one that is named, else the caller's.

    Raises:
        Denied: the caller may not speak for that agent.
    """
    named = parameters.text(params, "agent_id")
    target = caller.claim() if named is None else caller.speaking(check_agent_id(named))
    if target is None:
        raise Invalid("agent_id is missing", hint="say whose inbox is meant: as agent_id, or in X-Agent-Id")
    return target


def _sent(stored: dict[str, Any], memory: dict[str, Any]) -> dict[str, Any]:
    """The reply to a message, from that to the memory; what is told of the quorum stays."""
    told = {name: each for name, each in stored.items() if name not in ("title", "agent_id")}
    return {
        **told,
        "from": stored["agent_id"],
        "to": memory["metadata"]["recipient_agent_id"],
        "delivered_at": format_timestamp(parse_version(stored["version"]).time),
    }


def _marked(memory_id: str, mark: Record) -> tuple[int, dict[str, Any]]:
    body = mark.body
    told = {"read": True, "id": memory_id, "agent_id": body["agent_id"], "read_at": format_timestamp(body["read_at"])}
    return 200, told
