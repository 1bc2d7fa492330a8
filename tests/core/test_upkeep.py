"""What happens to memories though nobody asked: receiving, touches, ends of lives, vectors. Played on a plain dict."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from aimem.core.automatic import KEPT, NEVER, Effect, effect_of, use_of, with_rank
from aimem.core.kinds import LINK, MEMORY, SUPERSEDED, TOUCH, VECTOR
from aimem.core.record import Record, Ref
from aimem.core.upkeep import Touched, advance, collect, fold, generation_of, keep_vector, receive
from aimem.core.version import Version
from tests.core.made import B, memory, version
from tests.core.played import NOW, Played

EXTENSION = {"short": 100, "mid": 500}


def short(at: Version, born: Version | None = None, **fields: Any) -> Record:
    return memory(at, born, **{"key": "x", "tier": "short", "expires_at": NOW + 10, **fields})


def mine(world: Played) -> Record:
    return world.held[Ref(MEMORY, "x")]


def touching(record: Record, incarnation: str, *, count: int = 0, expires: int = 0, rank: int = 0) -> Record:
    """A touch record of another store."""
    body = {"count": count, "last": NOW, "rank": rank, "base": str(record.version.base()), "expires": expires}
    at = version(9, B)
    return Record.make(TOUCH, f"{record.key}/{record.born}.{incarnation}", at, at, body)


def test_a_record_of_any_kind_replaces_only_what_is_older() -> None:
    for kind in (LINK, "unknown"):
        old, new = (Record.make(kind, "a/b", version(at), version(1), {"at": at}) for at in (1, 2))
        world = Played(old)
        assert world.carry_out(receive(new)).reply is True
        assert world.carry_out(receive(old)).reply is False
        assert world.carry_out(receive(new)).reply is False
        assert world.held[new.ref] == new


def test_receiving_the_same_again_writes_nothing() -> None:
    world = Played(short(version(5)))
    decision = world.decide(receive(short(version(5))))
    assert (list(decision.records), decision.reply) == ([], False)


def test_records_and_touches_come_to_the_same_in_any_order() -> None:
    record = memory(version(5), key="x", expires_at=NOW + 10)
    arrivals = [record, touching(record, "i", count=3), touching(record, "j", count=2), with_rank(record, 1)]
    ends = set()
    for order in itertools.permutations(arrivals):
        world = Played()
        for each in order:
            world.carry_out(receive(each))
        ends.add(mine(world))
    assert len(ends) == 1
    assert effect_of(ends.pop()) == Effect(2, NEVER, KEPT)


def test_an_extension_undoes_a_collection_whichever_came_first() -> None:
    record = short(version(5))
    gone = Played(record).decide(collect("x", NOW + 50, as_archived=False)).records[0]
    extension = touching(record, "i", expires=NOW + 99)
    for first, second in ((gone, extension), (extension, gone)):
        world = Played(record)
        world.carry_out(receive(first))
        world.carry_out(receive(second))
        assert effect_of(mine(world)) == Effect(0, NOW + 99, KEPT)


def test_the_loser_of_two_authors_goes_to_the_archive_at_every_node() -> None:
    lost = short(version(5), metadata={"agent_id": "ai:a"})
    won = short(version(6, B), metadata={"agent_id": "ai:b"})
    for held, incoming in ((lost, won), (won, lost)):
        world = Played(held)
        world.carry_out(receive(incoming))
        assert mine(world) == won
        copy = world.held[Ref(SUPERSEDED, f"x/{lost.version}")]
        assert copy.body["metadata"] == {"agent_id": "ai:a"}
        assert not world.carry_out(receive(lost)).records, "a copy that is there is not written again"


def test_a_loser_by_the_same_author_is_kept_on_request() -> None:
    old, new = short(version(5)), short(version(6), version(5))
    for keep_all in (False, True):
        world = Played(old)
        world.carry_out(receive(new, keep_all=keep_all))
        assert (Ref(SUPERSEDED, f"x/{old.version}") in world.held) is keep_all


def test_a_delete_leaves_no_copy_where_it_is_heard_of() -> None:
    held = memory(version(5), key="x", tier="short")
    for keep_all in (False, True):
        for first, second in (
            (held, short(version(6), version(5), deleted=True)),
            (short(version(6), version(5), deleted=True), held),
        ):
            world = Played(first)
            world.carry_out(receive(second, keep_all=keep_all))
            assert [ref for ref in world.held if ref.kind == SUPERSEDED] == []


def test_the_tier_of_an_overwritten_birth_is_remembered_for_its_late_writes() -> None:
    first, other = memory(version(5), key="x", tier="long"), memory(version(6, B), key="x", tier="short")
    for held, incoming in ((first, other), (other, first)):
        world = Played(held)
        world.carry_out(receive(incoming))
        assert mine(world) == other
        world.carry_out(receive(memory(version(7), version(5), key="x", tier="short")))
        assert mine(world).body["tier"] == "long"


def test_the_tier_that_a_delete_had_not_heard_of_is_remembered_for_a_newer_write() -> None:
    """Seed 8520: raised on one node, deleted on another, written on a third, none of which had heard of the others."""
    born = version(5)
    raised = memory(version(6), born, key="x", tier="long")
    grave = memory(version(7, B), born, key="x", tier="short", deleted=True)
    for held, incoming in ((raised, grave), (grave, raised)):
        world = Played(held)
        world.carry_out(receive(incoming))
        assert mine(world) == grave
        world.carry_out(receive(memory(version(8), born, key="x", tier="short")))
        assert mine(world).body["tier"] == "long"


def test_a_vector_is_taken_only_where_its_memory_lives() -> None:
    vector = Record.make(VECTOR, "x", version(5), version(5), {"v": "AAAA"})
    assert Played().decide(receive(vector)).reply is False
    assert Played(short(version(5), deleted=True)).decide(receive(vector)).reply is False
    assert Played(short(version(5))).decide(receive(vector)).records == [vector]


def test_a_fold_counts_and_extends_beside_the_record() -> None:
    record = short(version(5))
    world = Played(record)
    for at in (NOW, NOW + 5):
        assert [each.kind for each in world.carry_out(fold("x", Touched(2, at), EXTENSION)).records] == [TOUCH]
    assert mine(world) == record
    touches = [each for each in world.held.values() if each.kind == TOUCH]
    assert len(touches) == 1
    assert use_of(record, touches) == (4, NOW + 5, NOW + 105, 0)


@pytest.mark.parametrize(
    ("record", "expires"),
    [
        (short(version(5)), NOW + 100),
        (short(version(5), expires_at=NOW + 200), 0),
        (short(version(5), tier="mid"), NOW + 500),
        (short(version(5), tier="long"), 0),
        (memory(version(5), key="x", tier="short"), 0),
    ],
    ids=["extended", "never shortened", "by tier", "tier without extension", "no end"],
)
def test_a_recall_lets_a_memory_live_on_as_its_tier_says(record: Record, expires: int) -> None:
    (touch,) = Played(record).decide(fold("x", Touched(1, NOW), EXTENSION)).records
    assert touch.body["expires"] == expires


def test_five_recalls_of_a_mid_memory_make_it_long() -> None:
    world = Played(memory(version(5), key="x", expires_at=NOW + 10))
    world.carry_out(fold("x", Touched(4, NOW), EXTENSION))
    assert mine(world).body["tier"] == "mid"
    world.carry_out(fold("x", Touched(1, NOW), EXTENSION))
    assert effect_of(mine(world)) == Effect(2, NEVER, KEPT)
    assert mine(world).version.same_write(version(5))


def test_what_is_gone_is_not_touched() -> None:
    for held in ([], [short(version(5), deleted=True)], [short(version(5), archived={"at": 1, "reason": "done"})]):
        assert not Played(*held).decide(fold("x", Touched(1, NOW), EXTENSION)).records


@pytest.mark.parametrize("as_archived", [True, False])
def test_a_life_that_is_over_ends(as_archived: bool) -> None:
    world = Played(short(version(5)))
    assert world.carry_out(collect("x", NOW + 11, as_archived=as_archived)).reply is True
    assert (mine(world).deleted, "archived" in mine(world).body) == (not as_archived, as_archived)
    again = world.carry_out(collect("x", NOW + 11, as_archived=as_archived))
    assert (list(again.records), again.reply) == ([], False)


def test_a_life_that_is_not_over_goes_on() -> None:
    decision = Played(short(version(5))).decide(collect("x", NOW + 10, as_archived=False))
    assert (list(decision.records), decision.reply) == ([], False)
    for held in ([], [short(version(5), deleted=True)], [memory(version(5), key="x")]):
        decision = Played(*held).decide(collect("x", NOW + 11, as_archived=False))
        assert (list(decision.records), decision.reply) == ([], False)


def test_an_extended_life_is_raised_to_its_end_instead_of_ending() -> None:
    record = short(version(5))
    world = Played(record, touching(record, "i", expires=NOW + 99))
    assert world.carry_out(collect("x", NOW + 11, as_archived=False)).reply is False
    assert effect_of(mine(world)) == Effect(0, NOW + 99, KEPT)
    assert world.carry_out(collect("x", NOW + 100, as_archived=False)).reply is True


def test_every_node_makes_the_same_end_and_the_same_vector() -> None:
    one, other = Played(short(version(5))), Played(short(version(5)))
    other.now += 77
    for intent in (collect("x", NOW + 11, as_archived=True), keep_vector("x", version(5), {"model": "m-2", "v": "A"})):
        assert one.carry_out(intent).records == other.carry_out(intent).records


def test_a_vector_has_the_version_of_its_text_and_yields_to_a_newer_model() -> None:
    world = Played(with_rank(short(version(5)), 1))
    old, new = {"model": "m/int8-2", "v": "A"}, {"model": "m/int8-3", "v": "B"}
    assert world.carry_out(keep_vector("x", mine(world).version, new)).reply is True
    assert world.held[Ref(VECTOR, "x")].version.same_write(version(5))
    assert world.carry_out(keep_vector("x", version(5), old)).reply is False
    assert world.carry_out(keep_vector("x", version(6), old)).reply is True
    assert world.held[Ref(VECTOR, "x")].body == old


def test_no_vector_is_kept_of_what_is_gone() -> None:
    for held in ([], [short(version(5), deleted=True)]):
        assert Played(*held).decide(keep_vector("x", version(5), {"v": "A"})).reply is False


@pytest.mark.parametrize(
    ("model", "generation"),
    [("m/int8-2", 2), ("m", 0), ("", 0), ("m-", 0), ("m-x", 0), ("m-²", 0), ("m-" + "9" * 30, 0)],
)
def test_the_generation_of_a_model_is_the_number_at_its_end(model: str, generation: int) -> None:
    assert generation_of(model) == generation


def test_positions_go_with_the_decision() -> None:
    assert Played().decide(advance({"embedded": 3})).progress == {"embedded": 3}
