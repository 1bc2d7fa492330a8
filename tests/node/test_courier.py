"""Delivery of events to real receivers on loopback: what is told, in which order, signed how, and what is given up."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from ai_memory import verify_webhook_signature

from aimem.core.allowlist import parse_keys
from aimem.core.reach import reach_of
from aimem.errors import Invalid
from aimem.limits import WEBHOOK_QUEUE_MAX
from aimem.node import courier as couriers
from aimem.node import delivering
from aimem.node import receiver as receivers
from aimem.node.caller import Caller
from aimem.node.node import Node
from tests.hooks import Hooks, Told, receiving
from tests.waiting import PATIENCE_SECS, until

from .conftest import Clock, Open, caller

SECRET = "a-long-secret"


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with receiving() as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(receivers, "WEBHOOK_BACKOFF_SECS", (0.01, 0.05))
    monkeypatch.setattr(couriers, "_CARE_SECS", 0.01)
    monkeypatch.setattr(couriers, "WEBHOOK_NOTE_SECS", 0.01)


async def subscribe(node: Node, url: str, who: Caller | None = None, **more: Any) -> str:
    made = await node.subscribe({"url": url, **more}, who or caller())
    assert made.status == 201
    return str(made.body["id"])


async def store(node: Node, title: str, namespace: str = "t", who: Caller | None = None, **more: Any) -> str:
    body = {"title": title, "content": f"of {title}", "namespace": namespace, **more}
    return str((await node.create(body, who or caller())).body["id"])


async def waiting(node: Node) -> int:
    """Events that the store still holds as to be told."""
    found = [each async for batch in node._store.scan("event") for each in batch]
    return len(found)


async def settled(node: Node, pass_time: Callable[[], None] = lambda: None) -> None:
    """Until everything is told or given up, and noted."""
    async with asyncio.timeout(PATIENCE_SECS):
        while await waiting(node):
            pass_time()
            await asyncio.sleep(0.01)


async def test_every_event_is_told_once_in_order_and_signed(node: Node, hooks: Hooks) -> None:
    """B-17, B-42: stores fire, both signatures can be checked, and the version named is ours."""
    await subscribe(node, hooks.url, secret=SECRET)
    one, two = await store(node, "one"), await store(node, "two")
    await node.update(one, {"content": "new"}, caller())
    await node.promote(one, caller())
    link = {"source_id": one, "target_id": two, "relation": "supersedes"}
    await node.link(link, caller())
    await node.invalidate_link(link, caller())
    await node.delete(one, None, caller())
    three = await store(node, "three")
    merged = {"ids": [two, three], "title": "both", "summary": "s", "namespace": "t"}
    both = (await node.consolidate(merged, caller())).body["id"]
    await settled(node)
    told = hooks.events()
    assert [event for event, memory in told if memory == one] == [
        "memory_store",
        "memory_store",
        "memory_promote",
        "memory_link_created",
        "memory_link_invalidated",
        "memory_delete",
    ]
    assert [event for event, memory in told if memory == both] == ["memory_consolidated"]
    assert [event for event, memory in told if memory == two] == ["memory_store", "memory_delete"]
    assert len(hooks.told) == len(told)
    for each in hooks.told:
        time, signature = each.headers["x-ai-memory-timestamp"], each.headers["x-ai-memory-signature"]
        key = hashlib.sha256(SECRET.encode()).hexdigest().encode()
        assert signature == "sha256=" + hmac.new(key, f"{time}.".encode() + each.raw, "sha256").hexdigest()
        assert verify_webhook_signature(each.raw, each.headers["x-ai-memory-body-signature"], SECRET)
        assert not verify_webhook_signature(each.raw + b" ", each.headers["x-ai-memory-body-signature"], SECRET)
        assert (each.path, each.headers["content-type"]) == ("/hook?x=1", "application/json")
        assert each.headers["user-agent"].startswith("ai-memory/")
        assert {"event", "memory_id", "namespace", "agent_id", "delivered_at"} <= each.body.keys()
        assert each.body["agent_id"] == "ai:tester"
    assert len({each.connection for each in hooks.told}) <= 4


async def test_what_waits_for_leave_is_told_and_what_was_decided_too(node: Node, hooks: Hooks) -> None:
    await subscribe(node, hooks.url)
    await node.set_standard({"governance": {"write": "approve"}}, caller("ai:boss"), "g")
    parked = await node.create({"title": "x", "content": "c", "namespace": "g"}, caller("ai:asker"))
    assert parked.status == 202
    done = await node.approve(parked.body["pending_id"], caller("ai:boss"))
    await settled(node)
    found = {each.body["event"]: each.body for each in hooks.told if each.body["agent_id"] == "ai:asker"}
    assert found["approval_requested"]["pending_id"] == parked.body["pending_id"]
    assert found["memory_store"]["memory_id"] == done.body["memory_id"]


async def test_each_hears_what_it_asked_for(node: Node, hooks: Hooks) -> None:
    base = hooks.url.partition("?")[0]
    await subscribe(node, f"{base}/deletes", events="memory_delete")
    await subscribe(node, f"{base}/space", namespace="s")
    await subscribe(node, f"{base}/bob", agent_filter="ai:bob")
    await subscribe(node, f"{base}/both", filter={"namespace": "s", "agent_id": "ai:bob", "tier": "long"})
    await subscribe(node, "http://127.0.0.1:9/none", namespace="nobody-writes-here")
    one = await store(node, "one")
    await store(node, "two", "s")
    await store(node, "three", who=caller("ai:bob"))
    await store(node, "four", "s", who=caller("ai:bob"))
    await node.delete(one, None, caller())
    await settled(node)
    paths = sorted((each.path, each.body["event"], each.body["namespace"]) for each in hooks.told)
    assert paths == [
        ("/hook/bob", "memory_store", "s"),
        ("/hook/bob", "memory_store", "t"),
        ("/hook/both", "memory_store", "s"),
        ("/hook/deletes", "memory_delete", "t"),
        ("/hook/space", "memory_store", "s"),
        ("/hook/space", "memory_store", "s"),
    ]


async def test_a_subscriber_is_told_only_of_what_it_may_read(node: Node, hooks: Hooks) -> None:
    """Its reach is that of the line under which it subscribed."""
    key = parse_keys("k # agents=ai:mara namespaces=org/**\n").entries[0]
    mara = Caller("ai:mara", "r", vouched=key.names_agent, reach=reach_of(key))
    await subscribe(node, hooks.url, mara, namespace="org/x")
    hidden = await store(node, "private of another", "org/x", scope="private")
    shown = await store(node, "for all", "org/x", scope="collective")
    own = await store(node, "her own", "org/x", who=mara)
    link = {"source_id": shown, "relation": "supersedes"}
    await node.link({**link, "target_id": hidden}, caller())
    await node.link({**link, "target_id": own}, caller())
    await node.delete(hidden, None, caller())
    await node.delete(shown, None, caller())
    await settled(node)
    assert sorted(hooks.events()) == sorted(
        [
            ("memory_store", shown),
            ("memory_store", own),
            ("memory_link_created", shown),
            ("memory_delete", shown),
        ]
    )


async def test_a_write_that_is_refused_or_repeated_is_no_event(node: Node, hooks: Hooks) -> None:
    await subscribe(node, hooks.url)
    body = {"title": "x", "content": "c", "namespace": "t"}
    first = await node.create(body, caller(key="k", request="r"))
    again = await node.create(body, caller(key="k", request="r"))
    assert first.body["id"] == again.body["id"]
    with pytest.raises(Invalid):
        await node.create({**body, "title": ""}, caller())
    await settled(node)
    assert len(hooks.told) == 1


@pytest.mark.usefixtures("quick")
async def test_what_fails_is_told_later_and_in_order(node: Node, hooks: Hooks) -> None:
    """A receiver that answers 500, redirects, and breaks the connection for a while."""
    answers = iter([500, 302, 404, 0, 503, 500, 429])

    def answer(_: Told) -> int:
        status = next(answers, 200)
        if status == 0:
            raise ConnectionError
        return status

    hooks.answer = answer
    hooks.headers = {"location": "http://127.0.0.1:9/elsewhere"}
    await subscribe(node, hooks.url)
    one = await store(node, "one")
    for content in "abcdef":
        await node.update(one, {"content": content}, caller())
    await settled(node)
    versions = [each.body["version"] for each in hooks.told]
    assert versions == sorted(versions)
    assert len(set(versions)) == 7
    assert len(hooks.came) > len(hooks.told)


@pytest.mark.usefixtures("quick")
async def test_one_bad_event_holds_up_only_its_memory(node: Node, hooks: Hooks) -> None:
    bad = await store(node, "bad")
    hooks.answer = lambda told: 500 if told.body["memory_id"] == bad else 200
    await subscribe(node, hooks.url)
    await node.update(bad, {"content": "x"}, caller())
    await node.update(bad, {"content": "y"}, caller())
    good = [await store(node, f"good {at}") for at in range(20)]
    await until(lambda: {memory for _, memory in hooks.events()} == set(good))
    assert {each.body["version"] for each in hooks.came if each.body["memory_id"] == bad} == {
        min(each.body["version"] for each in hooks.came if each.body["memory_id"] == bad)
    }
    hooks.answer = lambda _: 200
    await settled(node)
    assert len([memory for _, memory in hooks.events() if memory == bad]) == 2


@pytest.mark.usefixtures("quick")
async def test_what_is_given_up_is_a_dead_letter_that_can_be_told_again(open_node: Open, hooks: Hooks) -> None:
    node = await open_node(webhook_give_up_secs=0.1)
    hooks.answer = lambda _: 500
    named = await subscribe(node, hooks.url)
    one = await store(node, "one")
    await settled(node)
    assert hooks.told == []
    (letter,) = (await node.dead_letters({}, caller()))["dead_letters"]
    assert (letter["subscription_id"], letter["memory_id"], letter["event"]) == (named, one, "memory_store")
    assert letter["reason"] == "status 500"
    assert letter["attempts"] > 1
    hooks.answer = lambda _: 200
    assert (await node.replay({"ids": ["none"]}, caller())).body["replayed"] == 0
    again = await node.replay({"ids": [letter["id"]]}, caller())
    assert again.body == {"replayed": 1, "ids": [letter["id"]], "more": False}
    await settled(node)
    assert [each.body["event_id"] for each in hooks.told] == [letter["id"]]
    assert (await node.dead_letters({"subscription_id": named}, caller()))["count"] == 0
    (row,) = (await node.subscriptions({}, caller()))["subscriptions"]
    assert (row["dispatch_count"], row["waiting"], row["error"]) == (1, 0, None)
    assert row["failure_count"] == letter["attempts"]


@pytest.mark.usefixtures("quick")
async def test_of_several_receivers_one_that_fails_costs_the_others_nothing(
    open_node: Open, hooks: Hooks, clock: Clock
) -> None:
    """What came meanwhile for one that has failed for long is given up without a try of its own."""
    node = await open_node(webhook_give_up_secs=0.2)
    with receiving() as broken:
        broken.answer = lambda _: 500
        lost, taken = await subscribe(node, broken.url), await subscribe(node, hooks.url)
        made = [await store(node, f"m {at}") for at in range(50)]
        await until(lambda: len(hooks.told) == 50)
        await settled(node, lambda: clock.forward(seconds=1))
        letters = (await node.dead_letters({}, caller()))["dead_letters"]
        assert {each["subscription_id"] for each in letters} == {lost}
        assert {each["memory_id"] for each in letters} == set(made)
        assert taken != lost


@pytest.mark.usefixtures("quick")
async def test_what_is_not_told_at_the_end_is_told_after_the_next_start(open_node: Open, hooks: Hooks) -> None:
    node = await open_node()
    hooks.answer = lambda _: 500
    await subscribe(node, hooks.url)
    one = await store(node, "one")
    two = await store(node, "two")
    await node.close()
    hooks.answer = lambda _: 200
    node = await open_node()
    await settled(node)
    assert {memory for _, memory in hooks.events()} == {one, two}
    assert await node._store.progress("webhooks") > 0


@pytest.mark.usefixtures("quick")
async def test_age_ends_no_event_that_was_not_told(open_node: Open, hooks: Hooks, clock: Clock) -> None:
    """Only what was told is dropped by age."""
    node = await open_node()
    hooks.answer = lambda _: 500
    await subscribe(node, hooks.url)
    await store(node, "one")
    await until(lambda: bool(hooks.came))
    clock.forward(days=3)
    await node.housekeeping.round()
    assert await waiting(node) == 1
    hooks.answer = lambda _: 200
    await settled(node)
    assert len(hooks.told) == 1
    ((_, grave),) = (await node._store.changes(0, 10, 10**6, ("event",))).changes
    assert grave.deleted
    clock.forward(days=3)
    await node.housekeeping.round()
    assert (await node._store.changes(0, 10, 10**6, ("event",))).changes == []


@pytest.mark.usefixtures("quick")
async def test_what_overflows_memory_is_read_again_in_order(
    node: Node, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "WEBHOOK_QUEUE_MAX", 5)
    monkeypatch.setattr(couriers, "WEBHOOK_QUEUE_MAX", 5)
    assert WEBHOOK_QUEUE_MAX > 5
    hooks.answer = lambda _: 500
    named = await subscribe(node, hooks.url)
    ids = [await store(node, f"m {at}") for at in range(12)]
    for each in ids:
        await node.update(each, {"content": "again"}, caller())
    held = node.courier.receiver(named)
    assert held is not None
    assert len(held) == 5
    hooks.answer = lambda _: 200
    await settled(node)
    told = [each.body for each in hooks.told]
    assert len({each["event_id"] for each in told}) == 24
    for each in ids:
        versions = [body["version"] for body in told if body["memory_id"] == each]
        assert versions == sorted(versions)


async def test_who_has_unsubscribed_is_told_no_more(node: Node, hooks: Hooks) -> None:
    hooks.answer = lambda _: 500
    named = await subscribe(node, hooks.url)
    await store(node, "one")
    await until(lambda: bool(hooks.came))
    await node.unsubscribe({"id": named}, caller())
    await store(node, "two")
    await settled(node)
    assert hooks.told == []
    assert (await node.dead_letters({}, caller()))["count"] == 0


async def test_a_receiver_that_hangs_holds_up_nobody(node: Node, hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "WEBHOOK_SECS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        named = await subscribe(node, f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        await subscribe(node, hooks.url)
        made = {await store(node, f"m {at}") for at in range(20)}
        await until(lambda: {memory for _, memory in hooks.events()} == made)
        held = node.courier.receiver(named)
        assert held is not None
        await until(lambda: held.error == "no answer within 0.3 s")


Names = Callable[[str], None]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Has every name lead to one address."""
    real = socket.getaddrinfo

    def lead(address: str) -> None:
        def found(host: str, port: int, *args: Any, **more: Any) -> Any:
            return real(address, port, *args, **more)

        monkeypatch.setattr(socket, "getaddrinfo", found)

    return lead


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.1.1.1"])
async def test_a_name_is_no_way_into_a_private_network(node: Node, names: Names, address: str) -> None:
    """The name is public by its text, and leads inside: nothing connects."""
    names(address)
    named = await subscribe(node, "https://hooks.example.net/x")
    await store(node, "one")
    await until(lambda: (held := node.courier.receiver(named)) is not None and held.error is not None)
    held = node.courier.receiver(named)
    assert held is not None
    assert "an address of a private network" in (held.error or "")


async def test_localhost_that_is_elsewhere_is_not_this_machine(node: Node, names: Names) -> None:
    names("10.0.0.1")
    named = await subscribe(node, "http://localhost:9/x")
    await store(node, "one")
    await until(lambda: (held := node.courier.receiver(named)) is not None and held.error is not None)
    held = node.courier.receiver(named)
    assert held is not None
    assert "private" in (held.error or "")


async def test_an_operator_may_let_webhooks_into_a_network(open_node: Open) -> None:
    shut = await open_node()
    with pytest.raises(Invalid):
        await subscribe(shut, "http://10.1.2.3/x")
    await shut.close()
    opened = await open_node(webhook_networks=(ip_network("10.1.0.0/16"),))
    assert await subscribe(opened, "http://10.1.2.3/x")
    with pytest.raises(Invalid):
        await subscribe(opened, "http://10.2.2.3/x")
