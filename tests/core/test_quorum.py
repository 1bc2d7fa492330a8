"""Quorum rounds, against a second implementation that knows no state: it reads the whole story again at every event."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from aimem.core.quorum import (
    CLOCK_SKEW,
    RACKS,
    REFUSED,
    STORES,
    SUPERSEDED,
    TIMEOUT,
    UNREACHABLE,
    Applied,
    Failed,
    Met,
    NotMet,
    Outcome,
    Policy,
    Round,
    Superseded,
    describe,
    fits_in_one_rack,
    fits_in_one_store,
    majority,
)

COMMITTED, OVER = "committed", "over"
Event = str | tuple[str, Outcome]
"""That it is durable here, that the time is up, or what was heard of an address."""


def told_again(
    policy: Policy, this: str, peers: Sequence[str], rack: str | None, store: str, ordered: bool, story: Sequence[Event]
) -> dict[str, Any] | None:
    """What a round has come to by the end of a story, written as plainly as the rules are said."""
    committed, over = COMMITTED in story, OVER in story
    last: dict[str, Outcome] = {}
    for event in story:
        if not isinstance(event, str) and event[0] in peers:
            peer, outcome = event
            settled = last.get(peer)
            good = isinstance(settled, Applied) or (isinstance(settled, Superseded) and ordered)
            if not good:
                last[peer] = outcome
    nodes, racks, stores = set(), set(), {store}
    if rack is not None:
        racks.add(rack)
    newest = None
    for outcome in last.values():
        if isinstance(outcome, Superseded):
            newest = outcome.version if newest is None or outcome.version > newest else newest
        if isinstance(outcome, Failed) or (isinstance(outcome, Superseded) and not ordered) or outcome.node == this:
            continue
        nodes.add(outcome.node)
    for node in nodes:
        places = [each.rack for each in last.values() if not isinstance(each, Failed) and each.node == node]
        racks |= {place for place in places if place is not None}
        said = [each.store for each in last.values() if not isinstance(each, Failed) and each.node == node]
        stores.add(said[0] or node)
    held = len(nodes) + (1 if committed else 0)
    spread = policy.racks == 1 or len(racks) >= policy.racks
    if committed and held >= policy.writes and spread and len(stores) >= policy.stores:
        return {
            "acks": held,
            "racks": len(racks),
            "newer": newest,
            "stores": len(stores) if len(stores) < held else None,
            "holders": (this, *sorted(nodes)),
        }
    if not over and any(peer not in last for peer in peers):
        return None
    if committed and held >= policy.writes and spread:
        return {"got": len(stores), "needed": policy.stores, "reason": STORES, "newer": newest}
    if committed and held >= policy.writes:
        return {"got": len(racks), "needed": policy.racks, "reason": RACKS, "newer": newest}
    reasons = [each.reason for each in last.values() if isinstance(each, Failed)]
    if not ordered and any(isinstance(each, Superseded) for each in last.values()):
        reasons.append(SUPERSEDED)
    if any(peer not in last for peer in peers):
        reasons.append(TIMEOUT)
    for reason in (SUPERSEDED, CLOCK_SKEW, REFUSED, TIMEOUT):
        if reason in reasons:
            return {"got": held, "needed": policy.writes, "reason": reason, "newer": newest}
    return {"got": held, "needed": policy.writes, "reason": UNREACHABLE, "newer": newest}


def some_story(
    rand: random.Random, peers: Sequence[str], rack_of: dict[str, str | None], store_of: dict[str, str | None]
) -> list[Event]:
    nodes = list(rack_of)
    story: list[Event] = [COMMITTED] if rand.random() < 0.95 else []
    for peer in [*peers, *rand.choices(peers, k=rand.randint(0, 4)), "stranger"] if peers else []:
        node = rand.choice(nodes)
        outcome = rand.choice(
            (
                Applied(node, rack_of[node], store_of[node]),
                Applied(node, rack_of[node], store_of[node]),
                Superseded(node, f"{rand.randint(0, 99):02}", rack_of[node], store_of[node]),
                Failed(rand.choice((UNREACHABLE, TIMEOUT, REFUSED, CLOCK_SKEW))),
            )
        )
        if rand.random() < 0.9:
            story.append((peer, outcome))
    if rand.random() < 0.4:
        story.append(OVER)
    rand.shuffle(story)
    return story


@pytest.mark.parametrize("seed", range(20))
def test_a_round_comes_to_what_the_rules_say_at_every_event(seed: int) -> None:
    rand = random.Random(seed)
    for _ in range(1_000):
        peers = [f"p{number}" for number in range(rand.randint(0, 6))]
        rack_of = {node: rand.choice((None, "a", "b", "c")) for node in ("this", "n0", "n1", "n2", "n3", "n4")}
        store_of = {node: rand.choice((None, "s", "t")) for node in rack_of}
        nodes = len(peers) + 1
        policy = Policy(nodes, rand.randint(0, nodes), rand.choice((1, 1, 2, 3)), rand.choice((1, 1, 2, 3)))
        rack, ordered = rack_of["this"], rand.random() < 0.5
        story, store = some_story(rand, peers, rack_of, store_of), rand.choice(("s", "u"))
        round = Round(policy, "this", peers, rack=rack, ordered=ordered, store=store)
        for number, event in enumerate(story):
            if event == COMMITTED:
                round.committed()
            elif event == OVER:
                round.time_is_up()
            elif not isinstance(event, str):
                round.heard(*event)
            result = round.result()
            told = None if result is None else result._asdict()
            assert told == told_again(policy, "this", peers, rack, store, ordered, story[: number + 1]), story


def met(policy: Policy, *outcomes: Outcome, ordered: bool = True, rack: str | None = None) -> Met | NotMet | None:
    peers = [f"p{number}" for number in range(len(outcomes))]
    round = Round(policy, "this", peers, rack=rack, ordered=ordered)
    round.committed()
    for peer, outcome in zip(peers, outcomes, strict=True):
        round.heard(peer, outcome)
    return round.result()


def test_self_counts_and_w_of_1_is_met_by_the_own_disk() -> None:
    assert met(Policy(1, 1)) == Met(1, 0, holders=("this",))


def test_nothing_is_met_before_the_own_disk_has_it() -> None:
    round = Round(Policy(3, 2), "this", ["p", "q"], rack=None, ordered=True)
    round.heard("p", Applied("n"))
    round.heard("q", Applied("m"))
    result = round.result()
    assert isinstance(result, NotMet)
    assert result.got == 2
    round.committed()
    assert round.result() == Met(3, 0, holders=("this", "m", "n"))


def test_two_addresses_of_one_node_count_once_and_of_this_process_never() -> None:
    assert met(Policy(3, 3), Applied("n"), Applied("n")) == NotMet(2, 3, UNREACHABLE)
    assert met(Policy(3, 2), Applied("this"), Failed(REFUSED)) == NotMet(1, 2, REFUSED)


def test_a_newer_version_is_an_acknowledgement_only_in_an_ordered_round() -> None:
    newer = Superseded("n", "9")
    assert met(Policy(2, 2), newer) == Met(2, 0, "9", holders=("this", "n"))
    assert met(Policy(2, 2), newer, ordered=False) == NotMet(1, 2, SUPERSEDED, "9")


def test_acknowledgements_must_lie_in_enough_racks_and_the_own_one_counts() -> None:
    policy = Policy(3, 2, 2)
    assert met(policy, Applied("n", "a"), Applied("m", "a"), rack="a") == NotMet(1, 2, RACKS)
    assert met(policy, Applied("n", "a"), Applied("m", "b"), rack="a") == Met(3, 2, holders=("this", "m", "n"))


def test_what_an_address_acknowledged_stands_though_it_is_lost_later() -> None:
    round = Round(Policy(2, 2), "this", ["p"], rack=None, ordered=True)
    round.committed()
    round.heard("p", Applied("n"))
    round.heard("p", Failed(UNREACHABLE))
    assert round.result() == Met(2, 0, holders=("this", "n"))


def test_any_asked_meet_any_that_wrote() -> None:
    for nodes in range(1, 12):
        assert 2 * majority(nodes) > nodes
        for writes in range(1, nodes + 1):
            assert Policy(nodes, writes).reads + writes == nodes + 1


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(1, 1), "one node"),
        (Policy(6, 3), "survives the loss of 2; not a majority, both halves of an even split accept"),
        (Policy(7, 3), "parts of a split fleet accept"),
        (Policy(4, 1), "acknowledged before any peer has it"),
        (Policy(3, 3), "no write while any node is away"),
        (Policy(6, 4, 2), "in at least 2 racks"),
    ],
)
def test_what_a_setting_means_is_said_in_words(policy: Policy, words: str) -> None:
    assert words in describe(policy)


def test_a_quorum_inside_one_rack_is_noticed() -> None:
    assert fits_in_one_rack(Policy(4, 2), "a", ["a", "b", "b"])
    assert not fits_in_one_rack(Policy(4, 3), "a", ["a", "b", "b"])
    assert not fits_in_one_rack(Policy(4, 2, 2), "a", ["a", "b", "b"])
    assert not fits_in_one_rack(Policy(4, 2), "a", ["a", "a", None])


def test_nodes_on_one_store_each_count_and_the_result_says_on_how_many_stores_it_lies() -> None:
    two = Applied("n", store=""), Applied("m", store="t")
    assert met(Policy(3, 3), Applied("n", store="s"), Applied("m", store="s")) == Met(
        3, 0, stores=2, holders=("this", "m", "n")
    )
    assert met(Policy(3, 3), *two) == Met(3, 0, holders=("this", "m", "n"))


def test_where_stores_count_w_nodes_on_too_few_of_them_are_a_shortfall() -> None:
    same = Applied("n", store="s"), Applied("m", store="s")
    assert met(Policy(3, 2, stores=2), *same) == Met(3, 0, stores=2, holders=("this", "m", "n"))
    assert met(Policy(3, 3, stores=3), *same) == NotMet(2, 3, STORES)


def test_a_quorum_that_one_store_can_make_up_is_known_for_it() -> None:
    assert fits_in_one_store(Policy(3, 3), "s", ["s", "s"])
    assert fits_in_one_store(Policy(4, 2), "s", ["t", "t", None])
    assert not fits_in_one_store(Policy(3, 2), "s", ["t", "u"])
    assert not fits_in_one_store(Policy(3, 3), "s", ["s", "t"])
    assert not fits_in_one_store(Policy(3, 2, stores=2), "s", ["s", "s"])
