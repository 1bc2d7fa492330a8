"""Grants: the author of a memory lets another agent read it, whatever its scope and wherever it is.

A grant is of one birth of a memory: what is made anew under the same id is not shared by it. It lets nobody change
anything.
"""

from __future__ import annotations

from typing import Any, Final

from aimem.core.fields import check_agent_id, object_of, required, text_of
from aimem.core.governing import author_of
from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import GRANT, grant_key
from aimem.core.record import Record
from aimem.core.writes import live_memory
from aimem.errors import Denied, Invalid

READ: Final = "read"


def clean_grant(raw: Any) -> str:
    """The agent that a request names. Raises `WrongShape` and `Invalid`: nothing but reading can be granted."""
    fields = object_of(raw)
    permission = fields.get("permission")
    if permission is not None and text_of(permission, "permission") != READ:
        raise Invalid(f"permission is {permission!r:.64}; only {READ!r} can be granted")
    return check_agent_id(required(fields, "agent_id"))


def grant(memory_id: str, agent_id: str, caller: str | None) -> Intent:
    """Let an agent read a memory. Reply: the record of the grant.

    Raises:
        NotFound: there is no such memory. Denied: the caller is not its author.
    """

    def plan(stamp: Stamp) -> Plan:
        memory = yield from live_memory(memory_id, None)
        _check_author(memory, caller)
        key = grant_key(memory.key, agent_id)
        held = yield from get(GRANT, key)
        body = {"agent_id": agent_id, "permission": READ, "memory_born": str(memory.born), "granted_at": stamp.now}
        if held is not None and not held.deleted and held.body["memory_born"] == body["memory_born"]:
            return Decision((), held)
        version = stamp.version()
        record = Record.make(GRANT, key, version, version, body)
        return Decision([record], record)

    return plan


def revoke(memory_id: str, agent_id: str, caller: str | None) -> Intent:
    """Take a grant back. Reply: whether there was one.

    Raises: as `grant`.
    """

    def plan(stamp: Stamp) -> Plan:
        memory = yield from live_memory(memory_id, None)
        _check_author(memory, caller)
        held = yield from get(GRANT, grant_key(memory.key, agent_id))
        if held is None or held.deleted:
            return Decision((), False)
        return Decision([Record.make(GRANT, held.key, stamp.version(), held.born, held.body, deleted=True)], True)

    return plan


def _check_author(memory: Record, caller: str | None) -> None:
    author = author_of(memory)
    if author is None or author != caller:
        raise Denied(f"only the author of memory {memory.key} ({author or 'nobody known'}) says who may read it")
