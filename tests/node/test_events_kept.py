"""Events outlive the node that has them in hand: a restart forgets none, and those of a silent node are taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from aimem.core.kinds import EVENT, compound_key
from aimem.core.record import Record, Ref
from aimem.core.upkeep import receive
from aimem.core.version import Version
from aimem.node import courier as couriers
from aimem.node.node import Node
from tests.hooks import Hooks, receiving
from tests.waiting import until

from .conftest import Clock, caller

ELSEWHERE = "e" * 16
ROUNDS = 100


class Peers:
    """The fleet as the courier asks it: whether the process `ELSEWHERE` is heard. Asked once a round of its care."""

    def __init__(self) -> None:
        self.heard: bool | None = True
        self.asked = 0

    def hears(self, start: str) -> bool | None:
        assert start == ELSEWHERE
        self.asked += 1
        return self.heard


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with receiving() as made:
        yield made


@pytest.fixture
def peers(node: Node, monkeypatch: pytest.MonkeyPatch) -> Peers:
    """Replaces the fleet of the node; what is silent is taken over at once."""
    made = Peers()
    monkeypatch.setattr(node.courier, "_fleet", made)
    monkeypatch.setattr(couriers, "_CARE_SECS", 0.001)
    monkeypatch.setattr(couriers, "WEBHOOK_TAKE_OVER_SECS", (0.0, 0.0))
    monkeypatch.setattr(couriers, "WEBHOOK_ORPHAN_SECS", 0.0)
    return made


async def subscribe(node: Node, hooks: Hooks) -> str:
    return str((await node.subscribe({"url": hooks.url}, caller())).body["id"])


async def store(node: Node, title: str) -> str:
    body = {"title": title, "content": "c", "namespace": "t"}
    return str((await node.create(body, caller())).body["id"])


async def event_of_another(node: Node, subscription: str, now: int) -> Ref:
    """An event that the process `ELSEWHERE` has in hand."""
    version = Version(now, ELSEWHERE)
    body = {
        "event": "memory_store",
        "memory_id": "m",
        "namespace": "t",
        "at": now,
        "version": "v",
        "to": [subscription],
    }
    event = Record.make(EVENT, compound_key("m", str(version), "memory_store"), version, version, body)
    await node._store.write([receive(event)])
    return event.ref


@pytest.mark.parametrize("silent", [False, None], ids=["fell silent", "is nobody's"])
async def test_what_a_silent_node_had_in_hand_is_told_and_what_a_living_one_has_is_not(
    node: Node, hooks: Hooks, peers: Peers, clock: Clock, silent: bool | None
) -> None:
    ref = await event_of_another(node, await subscribe(node, hooks), clock.now)
    await until(lambda: peers.asked >= ROUNDS or bool(hooks.told))
    assert hooks.came == []
    peers.heard, before = silent, peers.asked
    await until(lambda: peers.asked > before)
    while (held := (await node._store.get([ref]))[0]) is not None and held.version.origin == ELSEWHERE:
        assert peers.asked < before + ROUNDS, "nobody takes it over"
        await asyncio.sleep(0.002)
    await until(lambda: bool(hooks.told))
    assert hooks.events() == [("memory_store", "m")]


async def test_the_kept_position_is_before_all_that_waits(node: Node, hooks: Hooks) -> None:
    """The next start reads the events from there on."""
    hooks.answer = lambda told: 500 if told.body["memory_id"] == bad else 200
    await subscribe(node, hooks)
    bad = await store(node, "bad")
    (seq,) = [seq for seq, _ in (await node._store.changes(0, 10, 1 << 20, (EVENT,))).changes]
    good = await store(node, "good")
    await until(lambda: hooks.events() == [("memory_store", good)])
    while not (kept := await node._store.progress("webhooks")):
        await asyncio.sleep(0.002)
    assert kept < seq
