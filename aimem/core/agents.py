"""Agents: what a registration says, and what a second one changes.

A skill is an agent of type `ai:skill.NAME`; it may say in which rack it runs.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from aimem.core.fields import check_agent_id, clean_tag, object_of, required, text_of, wrong_shape
from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import AGENT
from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp
from aimem.errors import Invalid
from aimem.limits import AGENT_TYPE_CHARS_MAX, CAPABILITIES_MAX

SKILL: Final = "ai:skill."
_TYPE = re.compile(r"human|system|ai:[A-Za-z0-9_.-]+")
_RACK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class AgentSpec(NamedTuple):
    """What a registration says."""

    agent_id: str
    agent_type: str
    capabilities: tuple[str, ...]
    rack: str | None


def clean_agent(raw: Any) -> AgentSpec:
    """The registration that a request is.

    Raises:
        WrongShape: a field is missing or of the wrong type. Invalid: a value breaks a rule.
    """
    fields = object_of(raw)
    agent_id = check_agent_id(required(fields, "agent_id"))
    kind = text_of(required(fields, "agent_type"), "agent_type")
    if len(kind) > AGENT_TYPE_CHARS_MAX or _TYPE.fullmatch(kind) is None:
        raise Invalid(
            f"agent_type {kind[:80]!r} is none of human, system and ai:NAME",
            hint=f"a name of letters, digits and _ . -, {AGENT_TYPE_CHARS_MAX} characters in all",
        )
    given = fields.get("capabilities")
    if given is not None and not isinstance(given, list):
        raise wrong_shape("capabilities", "a list of strings", given)
    if len(given or ()) > CAPABILITIES_MAX:
        raise Invalid(f"capabilities holds {len(given or ())} items; at most {CAPABILITIES_MAX}")
    rack = fields.get("rack")
    if rack is not None and _RACK.fullmatch(text_of(rack, "rack")) is None:
        raise Invalid(f"rack {rack!r:.80} is not a name")
    named = tuple(clean_tag(each, f"capabilities[{at}]") for at, each in enumerate(given or ()))
    return AgentSpec(agent_id, kind, named, rack)


def register(spec: AgentSpec) -> Intent:
    """Register an agent, or say anew what it is: when it was first registered stays. Reply: the record."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(AGENT, spec.agent_id)
        version = stamp.version()
        known = held is not None and not held.deleted
        body: dict[str, Any] = {
            "agent_id": spec.agent_id,
            "agent_type": spec.agent_type,
            "capabilities": list(spec.capabilities),
            "registered_at": held.body["registered_at"] if held is not None and known else stamp.now,
            "last_seen_at": stamp.now,
        }
        if spec.rack is not None:
            body["rack"] = spec.rack
        born = held.born if held is not None and known else version
        record = Record.make(AGENT, spec.agent_id, version, born, body)
        return Decision([record], record)

    return plan


def agent_json(record: Record) -> dict[str, Any]:
    """An agent as callers see it."""
    body = record.body
    shown = {
        "agent_id": record.key,
        "agent_type": body.get("agent_type"),
        "capabilities": body.get("capabilities") or [],
        "registered_at": format_timestamp(body.get("registered_at") or record.born.time),
        "last_seen_at": format_timestamp(body.get("last_seen_at") or record.version.time),
    }
    return {**shown, "rack": body["rack"]} if body.get("rack") is not None else shown
