"""Webhooks of real nodes: the entry node is killed while it tells, and nothing is lost, nor out of order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hooks import Hooks, Told, receiving
from tests.mesh.fleet import Fleet, running
from tests.waiting import eventually


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with receiving() as made:
        yield made


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with running(tmp_path, 3, "plain", None, "--catchup-interval-secs", "1") as made:
        yield made


def test_what_a_killed_node_had_in_hand_is_told_by_another(fleet: Fleet, hooks: Hooks) -> None:
    """Three writers change ten memories each while the node that they write to is killed: every change that was
    acknowledged is told, those of one memory in order."""
    gate = threading.Event()

    def answer(_: Told) -> int:
        return 200 if gate.is_set() or len(hooks.told) < 25 else 503

    hooks.answer = answer
    assert fleet.call("n0", "POST", "/subscriptions", {"url": hooks.url, "secret": "s"}).status == 201
    fleet.wait_same()
    made: list[tuple[str, str]] = []

    def write(who: int) -> None:
        for at in range(100):
            try:
                got = fleet.store("n0", f"of {who}: {at % 10}")
            except OSError:
                return
            if got.status == 201:
                made.append((got.body["id"], got.body["version"]))

    writers = [threading.Thread(target=write, args=(who,)) for who in range(3)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(made) > 60, "the writes do not get on")
    fleet.signal("n0", signal.SIGKILL)
    for writer in writers:
        writer.join()
    gate.set()

    def told() -> set[tuple[str, str]]:
        return {(each.body["memory_id"], each.body["version"]) for each in list(hooks.told)}

    eventually(lambda: set(made) <= told(), f"not all of {len(made)} was told")
    first: dict[str, list[str]] = {}
    for each in hooks.told:
        versions = first.setdefault(each.body["memory_id"], [])
        if each.body["version"] not in versions:
            versions.append(each.body["version"])
    assert all(versions == sorted(versions) for versions in first.values())
    fleet.start("n0")
    fleet.wait_met()
    fleet.wait_same()
    count = len(hooks.came)
    one = fleet.store("n0", "the last").body["id"]
    eventually(lambda: one in {memory for memory, _ in told()}, "the last was not told")
    assert len(hooks.came) < count + 10  # what was told is known everywhere by now


def test_others_tell_nothing_while_the_node_that_has_it_in_hand_lives(fleet: Fleet, hooks: Hooks) -> None:
    hooks.answer = lambda _: 500
    assert fleet.call("n0", "POST", "/subscriptions", {"url": hooks.url}).status == 201
    fleet.wait_same()
    one = fleet.store("n1", "one").body["id"]
    eventually(lambda: len(hooks.came) >= 3, "it is not tried again")
    fares = {name: fleet.call(name, "GET", "/subscriptions").body["subscriptions"][0] for name in fleet.names}
    assert {name for name, each in fares.items() if each["failure_count"]} == {"n1"}
    assert fares["n1"]["error"] == "status 500"
    hooks.answer = lambda _: 200
    eventually(lambda: hooks.events() == [("memory_store", one)], "it is not told")
    eventually(
        lambda: (
            not any(
                fleet.call(name, "GET", "/subscriptions").body["subscriptions"][0]["waiting"] for name in fleet.names
            )
        ),
        "that it was told is not known everywhere",
    )
    assert len(hooks.told) == 1


def test_the_reply_to_a_policy_names_the_nodes_that_hold_it(fleet: Fleet) -> None:
    told = fleet.call("n0", "POST", "/namespaces", {"namespace": "gov", "governance": {"write": "approve"}}).body
    assert told["held_by"][0] == "n0"
    assert len(set(told["held_by"])) == len(told["held_by"]) == told["quorum_acks"]
    assert set(told["held_by"]) <= set(fleet.names)
    for name in told["held_by"]:
        assert fleet.call(name, "GET", "/policy/explain?namespace=gov").body["in_force"]["at"] == "gov"
