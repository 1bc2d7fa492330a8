"""The gate: what a write of a caller means in each namespace that it touches, and whether the policies there let it.

It looks at the records that a write comes to, not at the call that asked for it, so a new kind of call can't pass it
by; it stands in one place, where a caller's write enters the fleet. What nobody asked for (expiry, touches, merging)
and what peers send does not come here: replicas that judged again would differ. A write is let through, refused, or
parked: then what it comes to is kept in a pending action, and what becomes of that is in `deciding`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final, NamedTuple

from aimem.core.automatic import RANK, is_archived
from aimem.core.intent import Intent, Plan, Read, Stamp, get, look
from aimem.core.kinds import (
    AGENT,
    ALIAS,
    DEAD_LETTER,
    EMBEDDING,
    EVENT,
    IDEMPOTENCY,
    LINK,
    MEMORY,
    PENDING,
    QUARANTINE,
    READ_MARK,
    STANDARD,
    SUPERSEDED,
    TOUCH,
    VECTOR,
    source_key,
)
from aimem.core.parking import Leave, parked
from aimem.core.policy import (
    DELETE,
    EVERYWHERE,
    PROMOTE,
    WRITE,
    Approver,
    Rule,
    Standing,
    Verdict,
    chain_of,
    judge,
    owner_of,
    rule_of,
)
from aimem.core.reach import Reach, stays_within
from aimem.core.record import Record
from aimem.errors import Denied

RULE: Final = "rule"
"""Changing the standard or the policy of a namespace, and whatever else decides about it."""
AGENTS: Final = "_agents"
"""The namespace whose policy says who may register agents."""

_FREE: Final = frozenset(  # change nothing for others
    {VECTOR, EMBEDDING, TOUCH, READ_MARK, IDEMPOTENCY, QUARANTINE, EVENT, DEAD_LETTER}
)


class Speaker(NamedTuple):
    """Who writes. `known`: a certificate or key binds the name, else it is a claim. `reach` is where it may write at
    all, None for everywhere; `electors` are the stores that decide on what it parks here."""

    agent_id: str
    known: bool = False
    reach: Reach | None = None
    electors: tuple[str, ...] = ()


class Ask(NamedTuple):
    """One thing that a write needs leave for: the policy's `action`, what it is called, where, whose thing it is, and
    the memory that it is done to."""

    action: str
    name: str
    namespace: str
    owner: str | None = None
    memory_id: str | None = None


def governed(intent: Intent, who: Speaker) -> Intent:
    """The intent as far as the policies in force let `who` carry it out. The reply of a parked one is `Parked`, or an
    `Answer` where the intent gives one.

    Raises:
        Denied: a policy, or what the caller's line says, forbids it.
    """

    def plan(stamp: Stamp) -> Plan:
        decision = yield from intent(stamp)
        if who.reach is not None:
            yield from stays_within(decision.records, who.reach)
        asks = yield from asks_of(decision.records)
        approvers: dict[Approver, Leave] = {}
        rules: dict[str, Sequence[Standing]] = {}
        for ask in asks:
            if ask.namespace not in rules:
                rules[ask.namespace] = yield from chain_of(ask.namespace)
            verdict, reason, rule = yield from verdict_of(ask, who, rules[ask.namespace])
            if verdict is Verdict.DENY:
                raise Denied(
                    f"{ask.name} denied by governance: {reason}",
                    hint=f"`aimem policy explain {ask.namespace}` tells from which rule that comes",
                    extra={"namespace": ask.namespace},
                )
            if verdict is Verdict.PARK:
                assert rule is not None
                assert rule.policy is not None
                told = rule.policy.approver, rule.policy.timeout_secs
                approvers.setdefault(told[0], Leave(ask.name, ask.namespace, ask.memory_id, *told))
        if not approvers:
            return decision
        if len(approvers) > 1:
            raise Denied(
                "this write needs leave from several approvers, of " + ", ".join(sorted({a.namespace for a in asks})),
                hint="ask for each namespace by itself",
            )
        (wanted,) = approvers.values()
        return (yield from parked(decision, wanted, who.agent_id, who.electors, stamp))

    return plan


Judged = tuple[Verdict, str | None, Rule | None]


def verdict_of(ask: Ask, who: Speaker, chain: Sequence[Standing]) -> Generator[Read, Any, Judged]:
    """What the policies of a chain make of an ask, why, and under which rule."""
    if ask.action == RULE:
        return (yield from _over_the_rules(who, chain))
    rule = rule_of(chain)
    if rule is None:  # the common case, met by every write
        return Verdict.ALLOW, None, None
    registered = (yield from look(AGENT, who.agent_id)) is not None
    owner = rule.owner if ask.owner is None and ask.action == WRITE else ask.owner
    verdict, reason = judge(rule, ask.action, who.agent_id, owner, registered)
    return verdict, reason, rule


def _over_the_rules(who: Speaker, chain: Sequence[Standing]) -> Generator[Read, Any, Judged]:
    """Who may change the rules of a namespace: the owner of its standard, or whom the policy above lets. Where nobody
    owns it and nothing stands above, anybody may."""
    owner, above = owner_of(chain[0]), rule_of(chain[1:])
    if owner == who.agent_id or (owner is None and (above is None or not who.known)):
        return Verdict.ALLOW, None, above
    if above is None:
        return Verdict.DENY, f"{who.agent_id!r} is not the owner ({owner!r}) of the standard", None
    if above.policy is None:
        return Verdict.DENY, f"the policy of {above.at} can't be read", above
    approver = above.policy.approver
    if approver.votes is not None:
        return Verdict.PARK, None, above
    if approver.agent is not None:
        may = approver.agent == who.agent_id
    else:
        may = not who.known or (yield from is_human(who.agent_id))
    if may:
        return Verdict.ALLOW, None, above
    return Verdict.DENY, f"{who.agent_id!r} neither owns the standard nor approves for {above.at}", above


def is_human(agent_id: str) -> Generator[Read, Any, bool]:
    """`yield from is_human(...)`: whether an agent is registered as a human."""
    agent = yield from look(AGENT, agent_id)
    return agent is not None and agent.body.get("agent_type") == "human"


# What a write means.


def asks_of(records: Iterable[Record]) -> Generator[Read, Any, list[Ask]]:
    """`yield from asks_of(...)`: everything that these records need leave for, each once."""
    written = list(records)
    ruled = {record.body.get("memory_id") for record in written if record.kind == STANDARD}
    stored = {record.key for record in written if record.kind == MEMORY}
    gone = {record.key for record in written if record.kind == MEMORY and record.deleted}
    asks: dict[Ask, None] = {}
    for record in written:
        if record.kind in _FREE or (record.kind == MEMORY and record.key in ruled):
            continue
        if record.kind == MEMORY:
            held = yield from get(MEMORY, record.key)
            asks.update(dict.fromkeys(_of_memory(record, held)))
        elif record.kind == LINK:
            if not gone & {record.body.get("source_id"), record.body.get("target_id")}:
                asks[Ask(WRITE, "link", (yield from _place_of(record.body.get("source_id"))))] = None
        elif record.kind != ALIAS or record.body.get("entity_id") not in stored:  # else its entity asks for it
            asks[(yield from _of_other(record))] = None
    return list(asks)


def _of_memory(record: Record, held: Record | None) -> list[Ask]:
    body, key = record.body, record.key
    if held is None or held.deleted:
        return [Ask(WRITE, "store", body["namespace"])] if not record.deleted else []
    if record.version.same_write(held.version):  # an automatic change, not the caller's
        return []
    was, owner = held.body["namespace"], author_of(held)
    if record.deleted:
        return [Ask(DELETE, "purge" if is_archived(held) else "delete", was, owner, key)]
    if is_archived(record):
        return [Ask(DELETE, "archive", was, owner, key)]
    if is_archived(held):
        return [Ask(WRITE, "restore", body["namespace"], None, key)]
    asks = []
    if RANK[body["tier"]] > RANK[held.body["tier"]] and body["tier"] == "long":
        asks.append(Ask(PROMOTE, "promote", was, owner, key))
    if _without_life(body) != _without_life(held.body) or not asks:
        asks.append(Ask(WRITE, "update", body["namespace"], None, key))
    if body["namespace"] != was:
        asks.append(Ask(DELETE, "move", was, owner, key))
    return asks


def _without_life(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("tier", "expires_at")}


def _of_other(record: Record) -> Generator[Read, Any, Ask]:
    body = record.body
    match record.kind:
        case "standard" | "policy":
            return Ask(RULE, "policy", record.key)
        case "agent":
            return Ask(WRITE, "register", AGENTS)
        case "alias":
            return Ask(WRITE, "alias", (yield from _place_of(body.get("entity_id") or record.key.partition("/")[0])))
        case "grant":
            return Ask(WRITE, "grant", (yield from _place_of(source_key(record.kind, record.key))))
        case "superseded":
            held = yield from get(SUPERSEDED, record.key)
            where = body.get("namespace", EVERYWHERE)
            if record.deleted and held is not None:
                return Ask(DELETE, "purge", where, author_of(held), record.key)
            return Ask(WRITE, "store", where)
        case "pending":
            return Ask(RULE, "import", body.get("namespace", EVERYWHERE))
        case "vote" | "decision":
            parked = yield from get(PENDING, body.get("pending_id") or record.key.partition("/")[0])
            return Ask(RULE, "import", EVERYWHERE if parked is None else parked.body.get("namespace", EVERYWHERE))
        case _:
            return Ask(WRITE, record.kind, body.get("namespace") or EVERYWHERE)


def _place_of(memory_id: Any) -> Generator[Read, Any, str]:
    """The namespace of a memory; of one that is not there, that of everything."""
    memory = (yield from look(MEMORY, memory_id)) if isinstance(memory_id, str) else None
    return EVERYWHERE if memory is None else str(memory.body["namespace"])


def author_of(record: Record) -> str | None:
    """Who a memory says wrote it."""
    author = record.body.get("metadata", {}).get("agent_id")
    return author if isinstance(author, str) else None
