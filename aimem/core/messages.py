"""Messages: a memory in the inbox of the agent that it is for, and marks that say who has read it.

The inbox is a namespace, so a message is stored, carried, governed and searched like any memory. No two messages share
a title: each carries a mark of its own behind it, so that the same subject, sent twice or from two nodes that can't
hear each other, is two messages. What was said as subject stands in the metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aimem.core.automatic import is_archived
from aimem.core.fields import check_agent_id, check_metadata, clean_content, clean_title, object_of, text_of
from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import MEMORY, READ_MARK, read_key
from aimem.core.namespace import check_namespace, inbox_of
from aimem.core.record import Record
from aimem.errors import NotFound, WrongShape
from aimem.limits import TITLE_CHARS_MAX

TAG: Final = "_message"
SOURCE: Final = "notify"


def clean_message(raw: Any, mark: str) -> dict[str, Any]:
    """The memory that a request to notify asks for, as a request to store it. `mark` is text that no other message
    has. Names of both kinds of clients are taken: to and target_agent_id, subject and title, body and payload and
    content.

    Raises:
        WrongShape: a field is missing or of the wrong type. Invalid: a value breaks a rule.
    """
    fields = object_of(raw)
    target = check_agent_id(_named(fields, "target_agent_id", "to"), "target_agent_id")
    subject = clean_title(_named(fields, "title", "subject"))
    metadata, about = fields.get("metadata"), fields.get("namespace")
    told = {"subject": subject, "recipient_agent_id": target, "message_kind": SOURCE}
    if about is not None:
        told["about"] = check_namespace(text_of(about, "namespace"))
    suffix = f" [{mark}]"
    memory = {
        "namespace": check_namespace(inbox_of(target), "the namespace of target_agent_id"),
        "title": subject[: TITLE_CHARS_MAX - len(suffix)] + suffix,
        "content": clean_content(_named(fields, "payload", "body", "content")),
        "source": SOURCE,
        "tags": [TAG],
        "metadata": {**check_metadata({} if metadata is None else metadata), **told},
    }
    kept = ("priority", "tier", "scope", "agent_id", "expires_at", "ttl_secs")
    return memory | {name: fields[name] for name in kept if fields.get(name) is not None}


def _named(fields: Mapping[str, Any], *names: str) -> Any:
    """The field under the first of its names that is there."""
    for name in names:
        if fields.get(name) is not None:
            return fields[name]
    raise WrongShape(f"{names[0]} is missing", hint=f"also read: {', '.join(names[1:])}")


def mark_read(memory_id: str, agent_id: str) -> Intent:
    """Mark a message of an agent as read by it. Reply: the mark that stands; a second one changes nothing.

    Raises:
        NotFound: its inbox has no such message.
    """

    def plan(stamp: Stamp) -> Plan:
        message = yield from get(MEMORY, memory_id)
        if message is None or not _is_message_to(agent_id, message):
            raise NotFound(f"no such message to {agent_id}")
        key = read_key(memory_id, agent_id)
        held = yield from get(READ_MARK, key)
        if held is not None and not held.deleted:
            return Decision((), held)
        version = stamp.version()
        mark = Record.make(READ_MARK, key, version, version, {"agent_id": agent_id, "read_at": stamp.now})
        return Decision([mark], mark)

    return plan


def _is_message_to(agent_id: str, record: Record) -> bool:
    alive = not record.deleted and not is_archived(record)
    return alive and record.body["namespace"] == inbox_of(agent_id) and TAG in record.body["tags"]


def message_json(memory: Mapping[str, Any], target: str, *, read: bool) -> dict[str, Any]:
    """A message as its reader sees it, made from the JSON of its memory, under the names of both kinds of clients."""
    metadata = memory["metadata"]
    subject, body, sent = metadata.get("subject", memory["title"]), memory["content"], memory["created_at"]
    return {
        "id": memory["id"],
        "from": metadata.get("agent_id"),
        "to": target,
        "title": subject,
        "subject": subject,
        "payload": body,
        "body": body,
        "priority": memory["priority"],
        "tier": memory["tier"],
        "created_at": sent,
        "received_at": sent,
        "read": read,
        "access_count": memory["access_count"],
        "metadata": metadata,
    }
