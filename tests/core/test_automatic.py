"""Automatic changes: a function of the version, only ever upwards, in any order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.automatic import (
    ARCHIVED,
    DELETED,
    KEPT,
    NEVER,
    PROMOTION_COUNT,
    Effect,
    Use,
    born_of_touch,
    collected,
    deleted_by_user,
    effect_of,
    is_archived,
    raised,
    settled,
    step_of,
    touch,
    touch_key,
    use_of,
    with_expiry,
    with_rank,
)
from aimem.core.record import Record
from aimem.core.version import STEP_MAX, parse_version
from tests.core.made import EFFECTS, EXPIRES, B, memories, memory, version, written

CHANGES = st.one_of(
    st.tuples(st.just(with_rank), st.integers(0, 2)),
    st.tuples(st.just(with_expiry), EXPIRES),
    st.tuples(st.just(collected), st.booleans()),
    st.tuples(st.just(raised), EFFECTS),
)


@given(EFFECTS, EFFECTS)
def test_the_order_of_steps_is_the_order_of_effects(one: Effect, other: Effect) -> None:
    assert (step_of(one) < step_of(other)) == (one < other)
    assert 0 < step_of(one) <= STEP_MAX


def test_the_highest_effect_fits_a_step() -> None:
    assert step_of(Effect(2, NEVER, ARCHIVED)) <= STEP_MAX


@given(written(), EFFECTS)
def test_an_effect_can_be_read_from_the_record_that_has_it(record: Record, effect: Effect) -> None:
    changed = raised(record, effect)
    if changed is record:
        assert deleted_by_user(record) or effect <= effect_of(record)
        return
    assert effect_of(changed) == effect
    assert effect_of(Record.make(changed.kind, changed.key, changed.version, changed.born, changed.body)) == effect
    assert (changed.deleted, is_archived(changed)) == (effect.collected == DELETED, effect.collected == ARCHIVED)


@given(memories(), CHANGES)
def test_an_automatic_change_keeps_the_write_and_only_raises_its_step(record: Record, change: Any) -> None:
    apply, value = change
    changed = apply(record, value)
    assert changed.version.same_write(record.version)
    assert changed.born == record.born
    assert changed == record or changed.version.step > record.version.step


@given(memories(), EFFECTS, EFFECTS)
def test_automatic_changes_commute_and_repeat_without_effect(record: Record, one: Effect, other: Effect) -> None:
    both = raised(raised(record, one), other)
    assert both == raised(raised(record, other), one)
    assert raised(both, one) == both == raised(both, other)


@given(memories(), st.integers(0, 2), st.integers(0, 2))
def test_tiers_are_raised_in_any_order(record: Record, one: int, other: int) -> None:
    assert with_rank(with_rank(record, one), other) == with_rank(with_rank(record, other), one)


@given(memories(), EXPIRES, st.booleans())
def test_an_extension_beats_the_collection_of_a_shorter_life(record: Record, expires: int, as_archived: bool) -> None:
    early = with_expiry(collected(record, as_archived), expires)
    if expires > effect_of(record).expires and not deleted_by_user(record):
        assert effect_of(early) == Effect(effect_of(record).rank, expires, KEPT)
        assert early == with_expiry(record, expires)


@given(memories(), st.booleans())
def test_promotion_beats_collection(record: Record, as_archived: bool) -> None:
    promoted = with_rank(collected(record, as_archived), 2)
    if not deleted_by_user(record) and effect_of(record).rank < 2:
        assert effect_of(promoted) == Effect(2, NEVER, KEPT)
        assert not promoted.deleted


@given(memories(), CHANGES)
def test_what_a_user_deleted_stays_as_it_is(record: Record, change: Any) -> None:
    apply, value = change
    if deleted_by_user(record):
        assert apply(record, value) is record


def test_a_collected_tombstone_keeps_its_body_so_that_it_can_be_undone() -> None:
    record = memory(version(5), tier="short", expires_at=10, content="kept")
    gone = collected(record, as_archived=False)
    assert gone.deleted
    assert not deleted_by_user(gone)
    back = with_expiry(gone, 20)
    assert not back.deleted
    assert {**back.body, "expires_at": 10} == record.body


def test_expiry_into_the_archive_says_why_and_goes_with_its_undoing() -> None:
    record = memory(version(5), tier="short", expires_at=10)
    put_away = collected(record, as_archived=True)
    assert put_away.body["archived"] == {"at": 10, "reason": "ttl_expired", "auto": True}
    assert "archived" not in with_rank(put_away, 1).body


def test_what_a_user_archived_stays_archived_when_its_tier_rises() -> None:
    archived = {"at": 5, "reason": "done"}
    assert with_rank(memory(version(5), archived=archived), 2).body["archived"] == archived


@pytest.mark.parametrize("as_archived", [True, False])
def test_only_what_is_alive_and_has_an_end_is_collected(as_archived: bool) -> None:
    for record in (
        memory(version(5)),
        memory(version(5), expires_at=10, archived={"at": 5, "reason": "done"}),
        memory(version(5), expires_at=10, deleted=True),
    ):
        assert collected(record, as_archived) is record


def test_unknown_fields_survive_an_automatic_change() -> None:
    record = memory(version(5))
    record.extra = b'{"signature":"s"}'
    assert with_rank(record, 2).extra == record.extra


def counted(record: Record, incarnation: str, count: int, *, last: int = 0, expires: int = 0) -> Record:
    return touch(record, incarnation, version(9), None, count=count, last=last, expires=expires)


def test_touches_of_one_store_add_up_in_one_record() -> None:
    record = memory(version(5), tier="short", expires_at=10)
    first = touch(record, "i", version(6), None, count=2, last=50, expires=20)
    second = touch(record, "i", version(7), first, count=1, last=40, expires=15)
    assert second.key == first.key == touch_key(record.key, record.born, "i")
    assert born_of_touch(second) == record.born
    assert use_of(record, [second]) == Use(3, 50, 20, 0)


def test_touches_of_several_stores_are_summed_and_their_order_does_not_matter() -> None:
    record = memory(version(5), tier="short", expires_at=10)
    touches = [
        counted(record, "i", 2, last=50, expires=20),
        counted(record, "j", 3, last=40, expires=30),
        counted(with_rank(record, 1), "k", 1),
    ]
    assert {use_of(record, order) for order in itertools.permutations(touches)} == {Use(6, 50, 30, 1)}


def test_touches_of_another_birth_do_not_count() -> None:
    record, again = memory(version(5)), memory(version(7))
    assert use_of(again, [counted(record, "i", 2, last=50, expires=20)]) == Use()


def test_an_edit_ends_an_extension_but_keeps_the_count() -> None:
    record = memory(version(5), tier="short", expires_at=10)
    edited = memory(version(6), version(5), tier="short", expires_at=12)
    before = counted(record, "i", 2, last=50, expires=20)
    assert use_of(edited, [before]) == Use(2, 50, 0, 0)
    after = touch(edited, "i", version(9), before, count=1, last=60, expires=15)
    assert use_of(edited, [after]) == Use(3, 60, 15, 0)
    assert use_of(record, [after]).expires == 0


def test_an_extension_outlives_automatic_steps() -> None:
    record = memory(version(5), tier="short", expires_at=10)
    assert use_of(with_rank(record, 1), [counted(record, "i", 1, expires=20)]).expires == 20


@pytest.mark.parametrize(
    ("tier", "use", "rank"),
    [
        ("mid", Use(PROMOTION_COUNT - 1), 1),
        ("mid", Use(PROMOTION_COUNT), 2),
        ("short", Use(100), 0),
        ("short", Use(0, rank=1), 1),
        ("short", Use(PROMOTION_COUNT, rank=1), 2),
        ("long", Use(0, rank=0), 2),
    ],
)
def test_use_promotes_from_mid_to_long_and_a_tier_once_seen_is_kept(tier: str, use: Use, rank: int) -> None:
    assert effect_of(settled(memory(version(5), tier=tier, expires_at=10), use)).rank == rank


def test_an_extension_moves_no_record_that_is_alive_but_undoes_an_early_collection() -> None:
    record = memory(version(5), tier="short", expires_at=10)
    use = Use(1, 5, 20)
    assert settled(record, use) is record
    assert effect_of(settled(collected(record, as_archived=False), use)) == Effect(0, 20, KEPT)
    late = with_expiry(record, 30)
    assert settled(collected(late, as_archived=False), use).deleted


@given(memories(), st.builds(Use, st.integers(0, 9), st.just(0), st.sampled_from([0, 10, 25]), st.integers(0, 2)))
def test_settling_twice_changes_nothing_more(record: Record, use: Use) -> None:
    once = settled(record, use)
    assert settled(once, use) == once


def test_the_version_of_an_automatic_change_prints_and_reads_as_itself() -> None:
    changed = collected(memory(version(5, B), expires_at=10), as_archived=True)
    assert parse_version(str(changed.version)) == changed.version
