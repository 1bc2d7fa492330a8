"""Standards: the rule text of a namespace, and its policy, as callers set, clear and read them.

The text is a memory like any other; which one it is, and what the policy says, are records of their own. So an edit of
the text changes no policy, and a policy outlives the text.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

from aimem.core.fields import object_of, text_of, wrong_shape
from aimem.core.governing import Ask, Speaker, author_of, verdict_of
from aimem.core.intent import Decision, Intent, Plan, Read, Stamp, get, holding
from aimem.core.kinds import MEMORY, POLICY, STANDARD
from aimem.core.memory import DEFAULT_PRIORITY
from aimem.core.namespace import lineage
from aimem.core.pairs import Pair
from aimem.core.policy import (
    ACTIONS,
    DEFAULT,
    EVERYWHERE,
    Policy,
    Standing,
    Verdict,
    chain_of,
    check_place,
    owner_of,
    parse_policy,
    readable,
    rule_of,
)
from aimem.core.record import Record
from aimem.core.writes import live_memory
from aimem.errors import Invalid, NotFound

PLACEHOLDER_TAG: Final = "_namespace_standard"
_SYSTEM: Final = "system"


class StandardSpec(NamedTuple):
    """What a request sets: the memory that is the text, the parent that the name does not tell, the policy. None
    leaves what stands."""

    namespace: str
    memory_id: str | None = None
    parent: str | None = None
    policy: Policy | None = None


def clean_standard(raw: Any, namespace: str | None = None) -> StandardSpec:
    """The standard that a request names; fields may stand in a `standard` object inside. `namespace` is that of the
    request's address.

    Raises:
        WrongShape: a field is of the wrong type. Invalid: a value breaks a rule; no namespace is named, or two are.
    """
    outer = object_of(raw)
    inner = outer.get("standard")
    if inner is not None and not isinstance(inner, dict):
        raise wrong_shape("standard", "an object", inner)
    fields = {**outer, **{name: value for name, value in (inner or {}).items() if value is not None}}
    named = fields.get("namespace")
    place = namespace if named is None else text_of(named, "namespace")
    if place is None:
        raise Invalid("namespace is missing")
    if namespace is not None and place != namespace:
        raise Invalid(f"the address names {namespace}, the request {place}")
    parent = fields.get("parent")
    governance = fields.get("governance")
    memory_id = fields.get("id")
    return StandardSpec(
        check_place(place),
        None if memory_id is None else text_of(memory_id, "id"),
        None if parent is None else check_place(text_of(parent, "parent")),
        None if governance is None else parse_policy(governance),
    )


def set_standard(spec: StandardSpec, caller: str | None) -> Intent:
    """Set the standard of a namespace, its policy, or both. Reply: `StandardSet`.

    Without a memory named, the one that stands stays; where there is none, an empty text is stored as a placeholder.
    The standard belongs to the author of the memory that was named for it, else to the caller that first set it.

    Raises:
        Invalid: the memory is not there, or the parent stands below the namespace.
    """

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(STANDARD, spec.namespace)
        standing = held.body if held is not None and not held.deleted else {}
        records: list[Record] = []
        owner, memory_id = standing.get("owner"), standing.get("memory_id")
        if spec.memory_id is not None:
            text = yield from _text(spec.memory_id)
            memory_id, owner = text.key, _named(author_of(text)) or owner or caller
        elif memory_id is None or not (yield from _is_live(memory_id)):
            memory_id = yield from _placeholder(spec.namespace, stamp, records)
        if spec.parent is not None:
            yield from _check_parent(spec.namespace, spec.parent)
        body = {
            "namespace": spec.namespace,
            "memory_id": memory_id,
            "parent": spec.parent or standing.get("parent"),
            "owner": owner or caller,
        }
        if standing != body or records:
            records.append(_written(STANDARD, spec.namespace, held, body, stamp))
        if spec.policy is not None:
            policy = yield from get(POLICY, spec.namespace)
            said = {"namespace": spec.namespace, "policy": spec.policy.to_wire()}
            if policy is None or policy.deleted or policy.body != said:
                records.append(_written(POLICY, spec.namespace, policy, said, stamp))
        return Decision(records, _set_reply(spec, body))

    return plan


def _set_reply(spec: StandardSpec, body: dict[str, Any]) -> dict[str, Any]:
    told = {"set": True, "namespace": spec.namespace, "standard_id": body["memory_id"]}
    if body["parent"] is not None:
        told["parent"] = body["parent"]
    if spec.policy is not None:
        told["governance"] = spec.policy.to_wire()
    return told


def _text(memory_id: str) -> Generator[Read, Any, Record]:
    try:
        return (yield from live_memory(memory_id, None))
    except NotFound as error:
        raise Invalid(f"there is no memory {memory_id} to be the standard") from error


def _is_live(memory_id: str) -> Generator[Read, Any, bool]:
    try:
        yield from live_memory(memory_id, None)
    except NotFound:
        return False
    return True


def _named(author: str | None) -> str | None:
    """The author, if it is somebody in particular."""
    return None if author is None or author == _SYSTEM or author.startswith("anonymous:") else author


def _placeholder(namespace: str, stamp: Stamp, records: list[Record]) -> Generator[Read, Any, str]:
    """The memory that stands for a standard without a text; written where it is not there."""
    pair = Pair(namespace, f"_standard:{namespace}")
    state = yield from holding(pair)
    if state.holder is not None:
        return state.holder.key
    version = stamp.version()
    body = {
        "title": pair.title,
        "content": f"namespace standard for {namespace}",
        "tier": "long",
        "namespace": namespace,
        "tags": [PLACEHOLDER_TAG],
        "priority": DEFAULT_PRIORITY,
        "confidence": 1.0,
        "source": "api",
        "metadata": {"agent_id": _SYSTEM},
    }
    records.append(Record.make(MEMORY, state.free_id, version, version, body))
    return state.free_id


def _check_parent(namespace: str, parent: str) -> Generator[Read, Any, None]:
    if namespace == EVERYWHERE or namespace in lineage(parent):
        raise Invalid(f"{parent} can't be the parent of {namespace}: it stands below it")
    above = yield from chain_of(parent)
    if any(each.namespace == namespace for each in above):
        raise Invalid(f"{parent} can't be the parent of {namespace}, which is its own ancestor")


def _written(kind: str, key: str, held: Record | None, body: dict[str, Any], stamp: Stamp) -> Record:
    version = stamp.version()
    born = version if held is None or held.deleted else held.born
    return Record.make(kind, key, version, born, body)


def clear_standard(namespace: str) -> Intent:
    """Take the standard and the policy of a namespace away; the memory stays. Reply: whether there were any."""

    def plan(stamp: Stamp) -> Plan:
        graves = []
        for kind in (STANDARD, POLICY):
            held = yield from get(kind, namespace)
            if held is not None and not held.deleted:
                kept = {"namespace": namespace}
                graves.append(Record.make(kind, namespace, stamp.version(), held.born, kept, deleted=True))
        return Decision(graves, {"cleared": bool(graves), "namespace": namespace})

    return plan


# What stands.


def shown_standard(namespace: str, *, inherit: bool) -> Intent:
    """An intent that only reads: the standard of a namespace as callers see it, or with `inherit` its whole chain."""

    def plan(stamp: Stamp) -> Plan:
        chain = yield from chain_of(namespace)
        if not inherit:
            return Decision((), (yield from _shown(chain[0])))
        shown = []
        for each in reversed(chain):
            if each.standard is not None or each.policy is not None:
                shown.append((yield from _shown(each)))  # noqa: PERF401
        names = [each.namespace for each in reversed(chain)]
        return Decision((), {"namespace": namespace, "chain": names, "standards": shown, "count": len(shown)})

    return plan


def _shown(each: Standing) -> Generator[Read, Any, dict[str, Any]]:
    if each.standard is None and each.policy is None:
        return {"namespace": each.namespace, "standard_id": None}
    memory_id = each.standard.body.get("memory_id") if each.standard is not None else None
    memory = (yield from get(MEMORY, memory_id)) if memory_id is not None else None
    text = memory.body if memory is not None and not memory.deleted else {}
    told = {
        "namespace": each.namespace,
        "standard_id": memory_id,
        **{name: text.get(name) for name in ("title", "content", "priority")},
        "governance": governance(each.policy),
    }
    if (owner := owner_of(each)) is not None:
        told["owner"] = owner
    if each.policy is not None:
        told["version"] = str(each.policy.version)
    return told


def governance(record: Record | None) -> dict[str, Any]:
    """A policy as callers see it: the one that binds nobody where there is none, and of an unreadable one its text."""
    if record is None:
        return DEFAULT.to_wire()
    policy = readable(record)
    if policy is not None:
        return policy.to_wire()
    return {"unreadable": record.body.get("unreadable", record.body.get("policy"))}


def explained(namespace: str, who: Speaker) -> Intent:
    """An intent that only reads: what `who` may do in a namespace, and from which rule that comes."""

    def plan(stamp: Stamp) -> Plan:
        chain = yield from chain_of(namespace)
        rule = rule_of(chain)
        may: dict[str, Any] = {}
        for action in ACTIONS:
            for whose, owner in (("own", who.agent_id), ("other", None)):
                ask = Ask(action, action, namespace, None if action == "write" else owner)
                verdict, reason, _ = yield from verdict_of(ask, who, chain)
                may.setdefault(action, {})[whose] = _told(verdict, reason)
        ruling, why, _ = yield from verdict_of(Ask("rule", "policy", namespace), who, chain)
        in_force = None
        if rule is not None:
            said = None if rule.policy is None else rule.policy.to_wire()
            in_force = {"at": rule.at, "policy": said, "owner": rule.owner}
        told = {
            "namespace": namespace,
            "agent_id": who.agent_id,
            "known": who.known,
            "chain": _levels(chain),
            "in_force": in_force,
            "may": {**may, "set_policy": _told(ruling, why)},
        }
        return Decision((), told)

    return plan


def _levels(chain: Sequence[Standing]) -> list[dict[str, Any]]:
    return [
        {
            "namespace": each.namespace,
            "policy": None if each.policy is None else governance(each.policy),
            "owner": owner_of(each),
            "parent": each.standard.body.get("parent") if each.standard is not None else None,
        }
        for each in chain
    ]


def _told(verdict: Verdict, reason: str | None) -> dict[str, Any]:
    words = {Verdict.ALLOW: "allow", Verdict.PARK: "approve", Verdict.DENY: "deny"}
    return {"verdict": words[verdict]} | ({} if reason is None else {"reason": reason})
