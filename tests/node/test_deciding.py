"""An elector at work on actions: one at a time about each, and none with enough votes is left lying."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aimem.core.deciding import REJECT
from aimem.core.intent import Decision, Intent, Plan, Rehearsed, Stamp
from aimem.core.kinds import AGENT, PENDING, VOTE, compound_key
from aimem.core.record import Record
from aimem.limits import DECIDE_PAUSE_SECS
from aimem.node.node import Node
from aimem.store.base import Store
from tests.waiting import until

from .conftest import Open


def writing(kind: str, key: str, body: dict[str, Any]) -> Intent:
    def plan(stamp: Stamp) -> Plan:
        yield from ()
        version = stamp.version()
        return Decision([Record.make(kind, key, version, version, body)])

    return plan


def action(elector: str) -> Intent:
    approver = {"consensus": 1}
    said = {"action": "store", "namespace": "gov", "requested_by": "ai:asker", "requested_at": 0, "approver": approver}
    return writing(PENDING, "p", {**said, "electors": [elector], "records": []})


def vote(voter: str) -> Intent:
    body = {"pending_id": "p", "voter": voter, "verdict": REJECT, "voted_at": 0, "known": False}
    return writing(VOTE, compound_key("p", voter, REJECT), body)


class Interrupted:
    """A store that does something else between reading and telling what was read, once."""

    def __init__(self, store: Store, then: Callable[[], Awaitable[Any]]) -> None:
        self._store = store
        self._then: Callable[[], Awaitable[Any]] | None = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def rehearse(self, intents: Sequence[Intent]) -> list[Rehearsed]:
        found = await self._store.rehearse(intents)
        then, self._then = self._then, None
        if then is not None:
            await then()
        return found


async def test_only_one_is_at_an_action_also_when_others_wait_for_it(node: Node) -> None:
    inside = most = 0
    tasks: list[asyncio.Task[None]] = []

    async def enter(others: int) -> None:
        nonlocal inside, most
        async with node.deciding.alone("p"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1
        if others:
            tasks.append(asyncio.create_task(enter(others - 1)))

    tasks += [asyncio.create_task(enter(2)) for _ in range(2)]
    while tasks:
        await tasks.pop(0)
    assert most == 1


async def test_a_voter_that_registers_while_votes_are_weighed_is_not_missed(open_node: Open) -> None:
    first = await open_node()
    await first._store.write([action(first._store.incarnation), vote("ai:late")])
    await first.close()

    def interrupted(store: Store) -> Interrupted:
        agent = writing(AGENT, "ai:late", {"agent_id": "ai:late", "agent_type": "ai:x"})
        return Interrupted(store, lambda: store.write([agent]))

    node = await open_node(over=interrupted)
    await node.deciding.loaded.wait()
    await until(lambda: "p" not in node.deciding.open)


async def test_votes_that_were_there_before_the_action_are_looked_at(node: Node) -> None:
    store = node._store
    await node.deciding.loaded.wait()
    await store.write([writing(AGENT, "ai:b", {"agent_id": "ai:b", "agent_type": "ai:x"}), vote("ai:b")])
    await asyncio.sleep(2 * DECIDE_PAUSE_SECS[1])  # the vote alone is looked at, and is about nothing
    await store.write([action(store.incarnation)])
    await until(lambda: "p" not in node.deciding.open)
