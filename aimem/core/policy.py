"""Policies of namespaces: what one may say, which one is in force where, and what it makes of an action.

A policy names, for each of three actions, who may do it: `any`, `registered` agents, the `owner`, or whoever an
`approver` lets. It is in force in its namespace and below, until a nearer one stands. Reading it never fails open: one
that can't be read denies. What counts as an action, and what becomes of a refused one, is in `governing`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aimem.core.fields import check_agent_id, wrong_shape
from aimem.core.identity_words import letters_between
from aimem.core.intent import Chain, Read
from aimem.core.kinds import POLICY, STANDARD
from aimem.core.namespace import check_namespace, lineage
from aimem.core.record import Record, Ref
from aimem.errors import AimemError, Invalid
from aimem.limits import CHAINS_MAX, CONSENSUS_MAX, NAMESPACE_DEPTH_MAX, PENDING_SECS_MAX

EVERYWHERE: Final = "*"
"""The name under which the standard and the policy above all namespaces stand."""

ANY, REGISTERED, OWNER, APPROVE = "any", "registered", "owner", "approve"
LEVELS: Final = (ANY, REGISTERED, OWNER, APPROVE)
WRITE, PROMOTE, DELETE = "write", "promote", "delete"
ACTIONS: Final = (WRITE, PROMOTE, DELETE)
HUMAN: Final = "human"

_FIELDS: Final = (*ACTIONS, "approver", "inherit", "timeout_secs")


class Approver(NamedTuple):
    """Who lets a parked action pass: an `agent` of that id, `votes` registered agents, or with neither any human."""

    agent: str | None = None
    votes: int | None = None

    def to_wire(self) -> Any:
        """As it stands in a policy."""
        if self.agent is not None:
            return {"agent": self.agent}
        return HUMAN if self.votes is None else {"consensus": self.votes}


ANYBODY: Final = Approver()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a policy says. `inherit` tells whether what stands above counts where this one is silent: it never is, but
    for the rule texts. `timeout_secs` is how long a parked action waits; None for ever."""

    write: str = ANY
    promote: str = ANY
    delete: str = OWNER
    approver: Approver = ANYBODY
    inherit: bool = True
    timeout_secs: int | None = None

    def level(self, action: str) -> str:
        """Who may do `action`."""
        found: str = getattr(self, action)
        return found

    def to_wire(self) -> dict[str, Any]:
        """As it is stored and shown: what is as without a word is left out, but for the three levels and approver."""
        said = {name: self.level(name) for name in ACTIONS} | {"approver": self.approver.to_wire()}
        if not self.inherit:
            said["inherit"] = False
        if self.timeout_secs is not None:
            said["timeout_secs"] = self.timeout_secs
        return said


DEFAULT: Final = Policy()
"""What is shown where nobody has said anything; it binds nobody."""


def parse_policy(raw: Any) -> Policy:
    """The policy that a JSON object says.

    Raises:
        Invalid, WrongShape: it is none. Fields that are not known are refused: they were meant to narrow something.
    """
    if not isinstance(raw, dict):
        raise wrong_shape("governance", "an object", raw)
    fields = raw
    for name in fields:
        if name not in _FIELDS and not (name == "required_scope" and fields[name] is None):
            nearest = min(_FIELDS, key=lambda known: letters_between(name, known))
            raise Invalid(f"governance has no field {name!r}", hint=f"the nearest one is {nearest}")
    if fields.get(WRITE) is None:
        raise Invalid("governance must say who may write", hint=f"write is one of {', '.join(LEVELS)}")
    levels = {name: _level(name, fields[name]) for name in ACTIONS if fields.get(name) is not None}
    inherit = fields.get("inherit", True)
    if not isinstance(inherit, bool):
        raise wrong_shape("governance.inherit", "a boolean", inherit)
    return Policy(
        **levels, approver=_approver(fields.get("approver", HUMAN)), inherit=inherit, timeout_secs=_timeout(fields)
    )


def _level(name: str, value: Any) -> str:
    if value not in LEVELS:
        raise Invalid(f"governance.{name} is {value!r:.64}; one of {', '.join(LEVELS)}")
    found: str = value
    return found


def parse_approver(value: Any) -> Approver:
    """The approver that a policy or a pending action names. Raises `Invalid`."""
    return _approver(value)


def _approver(value: Any) -> Approver:
    match value:
        case "human":
            return Approver()
        case {"agent": str(agent), **rest} if not rest:
            return Approver(agent=check_agent_id(agent, "governance.approver.agent"))
        case {"consensus": int(votes), **rest} if not rest and not isinstance(votes, bool):
            if 1 <= votes <= CONSENSUS_MAX:
                return Approver(votes=votes)
    raise Invalid(
        f"governance.approver is {value!r:.64}",
        hint=f'"human", {{"agent": ID}}, or {{"consensus": N}} with N from 1 to {CONSENSUS_MAX}',
    )


def _timeout(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("timeout_secs")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= PENDING_SECS_MAX:
        raise Invalid(f"governance.timeout_secs is {value!r:.64}; from 1 to {PENDING_SECS_MAX}")
    return value


# Which one is in force.


class Rule(NamedTuple):
    """What is in force in a namespace: the `policy` that stands at `at`, or None for an unreadable one. `owner` is the
    author of the standard there."""

    at: str
    policy: Policy | None
    owner: str | None


class Standing(NamedTuple):
    """The records of one namespace in a chain."""

    namespace: str
    standard: Record | None
    policy: Record | None


def chain_of(namespace: str) -> Generator[Read, Any, Sequence[Standing]]:
    """`yield from chain_of(...)`: everything that has a say in `namespace`."""
    found: Sequence[Standing] = yield Chain(namespace)
    return found


def standing_over(namespace: str, standing: Callable[[str], Standing]) -> Sequence[Standing]:
    """Everything that has a say in `namespace`, nearest first: itself, its ancestors, the parents that were named for
    its root, and `*`. A parent named twice ends the walk. `standing` gives the records of one: see `standing_in`."""
    found: list[Standing] = []
    names = list(lineage(namespace)) if namespace != EVERYWHERE else []
    seen: set[str] = set()
    while names:
        name = names.pop(0)
        seen.add(name)
        found.append(standing(name))
        parent = found[-1].standard.body.get("parent") if found[-1].standard is not None else None
        if not names and isinstance(parent, str) and parent not in seen and len(seen) < 2 * NAMESPACE_DEPTH_MAX:
            names.append(parent)
    if EVERYWHERE not in seen:
        found.append(standing(EVERYWHERE))
    return found


def standing_in(held: Callable[[Ref], Record | None]) -> Callable[[str], Standing]:
    """What gives the records of one namespace, where `held` gives what stands under an address."""
    return lambda name: Standing(name, _live(held(Ref(STANDARD, name))), _live(held(Ref(POLICY, name))))


def _live(record: Record | None) -> Record | None:
    return None if record is None or record.deleted else record


def rule_of(chain: Sequence[Standing]) -> Rule | None:
    """What is in force at the near end of a chain; None where nobody has said anything."""
    for each in chain:
        if each.policy is not None:
            return Rule(each.namespace, readable(each.policy), owner_of(each))
    return None


def rule_in(namespace: str) -> Generator[Read, Any, Rule | None]:
    """`yield from rule_in(...)`: what is in force in `namespace`."""
    return rule_of((yield from chain_of(namespace)))


def readable(record: Record) -> Policy | None:
    """The policy that a record holds; None for one that can't be read."""
    return _read(record.raw)


@lru_cache(maxsize=CHAINS_MAX)  # every write under a policy reads it: the same bytes, the same policy
def _read(raw: bytes) -> Policy | None:
    try:
        return parse_policy(json.loads(raw).get("policy"))
    except AimemError:
        return None


def owner_of(standing: Standing) -> str | None:
    """Who set the standard of a namespace."""
    owner = standing.standard.body.get("owner") if standing.standard is not None else None
    return owner if isinstance(owner, str) else None


def check_place(namespace: str) -> str:
    """The same text, when a policy can stand there: a namespace, or `*`. Raises `Invalid`."""
    return namespace if namespace == EVERYWHERE else check_namespace(namespace)


# What it makes of an action.


class Verdict(Enum):
    """Ordered: of several the greatest counts."""

    ALLOW = 0
    PARK = 1
    DENY = 2


def judge(
    rule: Rule | None, action: str, agent_id: str, owner: str | None, registered: bool
) -> tuple[Verdict, str | None]:
    """What `rule` makes of `action` by `agent_id`, and where it refuses, why. `owner` is whose thing it is that is
    acted on; `registered` tells whether the agent is."""
    if rule is None:
        return Verdict.ALLOW, None
    if rule.policy is None:
        return Verdict.DENY, f"the policy of {rule.at} can't be read"
    match rule.policy.level(action):
        case "any":
            return Verdict.ALLOW, None
        case "registered":
            return (Verdict.ALLOW, None) if registered else (Verdict.DENY, f"{agent_id!r} is not a registered agent")
        case "owner" if owner is None:
            return Verdict.DENY, "no resolvable owner"
        case "owner":
            mine = owner == agent_id
            return (Verdict.ALLOW, None) if mine else (Verdict.DENY, f"{agent_id!r} is not the owner ({owner!r})")
        case _:
            return Verdict.PARK, None
