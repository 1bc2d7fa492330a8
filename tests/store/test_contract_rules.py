"""What every store promises about the rules of a namespace: a write meets those that stand when it is carried out."""

from __future__ import annotations

from aimem.core.governing import Speaker, governed
from aimem.core.intent import Decision, Intent, Plan, Stamp
from aimem.core.kinds import AGENT, POLICY
from aimem.core.policy import EVERYWHERE, chain_of
from aimem.core.record import Record
from aimem.errors import Denied
from aimem.store.base import Store, Written
from tests.store.conftest import OpenStore, creating, written

WHO = Speaker("ai:a")


def ruling(namespace: str, level: str | None) -> Intent:
    """Set who may write in a namespace; None takes the policy away."""

    def plan(stamp: Stamp) -> Plan:
        yield from ()
        version = stamp.version()
        body = {"namespace": namespace, "policy": {"write": level or "any"}}
        return Decision([Record.make(POLICY, namespace, version, version, body, deleted=level is None)])

    return plan


def registering(agent: str) -> Intent:
    def plan(stamp: Stamp) -> Plan:
        yield from ()
        version = stamp.version()
        return Decision([Record.make(AGENT, agent, version, version, {"agent_id": agent})])

    return plan


def storing(title: str) -> Intent:
    return governed(creating(title, namespace="a/b/c"), WHO)


async def allowed(store: Store, title: str) -> bool:
    (outcome,) = await store.write([storing(title)])
    assert isinstance(outcome, Written | Denied), outcome
    return isinstance(outcome, Written)


async def test_every_change_of_a_rule_is_in_force_for_the_next_write(store: Store) -> None:
    assert await allowed(store, "before any")
    for namespace in (EVERYWHERE, "a", "a/b", "a/b/c"):
        await written(store, ruling(namespace, "registered"))
        assert not await allowed(store, f"under {namespace}")
        await written(store, ruling(namespace, "any"))
        assert await allowed(store, f"free under {namespace}")
    await written(store, ruling("a/b/c", "registered"), ruling("a/b", "registered"))
    await written(store, ruling("a/b/c", None))
    assert not await allowed(store, "under the next one")
    await written(store, registering("ai:a"))
    assert await allowed(store, "registered")


async def test_a_rule_is_in_force_for_what_follows_in_its_group(store: Store) -> None:
    assert await allowed(store, "before any")
    outcomes = await store.write([storing("before"), ruling("a", "registered"), storing("after")])
    assert [type(outcome) for outcome in outcomes] == [Written, Written, Denied]
    outcomes = await store.write([storing("still"), ruling("a", "any"), storing("free")])
    assert [type(outcome) for outcome in outcomes] == [Denied, Written, Written]


async def test_rules_are_in_force_after_a_restart(open_store: OpenStore) -> None:
    store = await open_store()
    await written(store, ruling("a", "registered"))
    store = await open_store.again(store)
    assert not await allowed(store, "after it")


async def test_what_is_read_of_rules_is_what_stands(store: Store) -> None:
    def reading(stamp: Stamp) -> Plan:
        chain = yield from chain_of("a/b/c")
        return Decision((), [each.namespace for each in chain if each.policy is not None])

    async def ruled() -> object:
        (found,) = await store.rehearse([reading])
        return found.reply

    assert await ruled() == []
    await written(store, ruling("a", "registered"))
    assert await ruled() == ["a"]
    await written(store, ruling("a/b", "owner"))
    assert await ruled() == ["a/b", "a"]
    await written(store, ruling("a", None))
    assert await ruled() == ["a/b"]
