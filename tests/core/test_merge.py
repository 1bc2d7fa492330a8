"""Merge: the laws that make equal digests mean equal state, and what is kept of a loser."""

from __future__ import annotations

import functools
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.automatic import RANK, deleted_by_user, effect_of, with_rank
from aimem.core.kinds import LINK, SUPERSEDED
from aimem.core.merge import loser_to_keep, merge, superseded_copy, wins
from aimem.core.record import Record
from tests.core.made import B, memories, memory, version

LINKS = st.builds(
    lambda time, value, deleted: Record.make(LINK, "a", version(time), version(1), {"v": value}, deleted=deleted),
    st.integers(1, 3),
    st.integers(0, 2),
    st.booleans(),
)
RECORDS = st.one_of(memories(), LINKS)
THREE = st.one_of(st.tuples(memories(), memories(), memories()), st.tuples(LINKS, LINKS, LINKS))


@given(THREE)
def test_merge_is_commutative(three: tuple[Record, ...]) -> None:
    one, other, _ = three
    assert merge(one, other) == merge(other, one)


@given(RECORDS)
def test_merge_is_idempotent(one: Record) -> None:
    assert merge(one, one) == one
    assert merge(None, one) == one


@given(THREE)
def test_merge_is_associative_for_one_birth_and_for_every_other_kind(three: tuple[Record, ...]) -> None:
    if len({record.born for record in three}) == 1:
        assert len({functools.reduce(merge, order) for order in itertools.permutations(three)}) == 1


@given(THREE)
def test_merge_takes_one_record_whole_but_for_the_tier(three: tuple[Record, ...]) -> None:
    one, other, _ = three
    winner = max(one, other, key=lambda record: record.order)
    merged = merge(one, other)
    assert merged in (winner, with_rank(winner, 1), with_rank(winner, 2))
    assert merged.order >= winner.order


@given(memories(), memories())
def test_within_a_birth_no_tier_is_lowered(one: Record, other: Record) -> None:
    merged = merge(one, other)
    if one.born == other.born and not deleted_by_user(merged):
        assert effect_of(merged).rank == max(effect_of(one).rank, effect_of(other).rank)


def test_every_field_is_the_winners() -> None:
    older = memory(version(1), content="old", tags=["x"], priority=9, confidence=1.0, metadata={"agent_id": "a"})
    newer = memory(version(2), version(1), content="new", tags=[], priority=1, confidence=0.5, metadata={})
    assert merge(older, newer) is newer
    assert merge(newer, older) is newer


def test_a_tombstone_loses_to_what_is_newer_and_beats_what_is_older() -> None:
    older, grave, newer = memory(version(1)), memory(version(2), version(1), deleted=True), memory(version(3))
    assert merge(older, grave) is grave
    assert merge(grave, older) is grave
    assert merge(grave, newer) is newer


def test_a_users_tombstone_does_not_rise_to_a_higher_tier() -> None:
    grave = memory(version(2), version(1), deleted=True, tier="short")
    assert merge(memory(version(1), tier="long"), grave) is grave


def test_the_tier_rule_holds_within_one_birth_only() -> None:
    high, low = memory(version(1), tier="long"), memory(version(2), tier="short")
    assert merge(high, low) is low
    again = memory(version(2), version(1), tier="short")
    assert effect_of(merge(high, again)).rank == RANK["long"]


def test_equal_versions_are_ordered_by_their_content() -> None:
    one, other = memory(version(1), content="a"), memory(version(1), content="b")
    assert wins(one, other) != wins(other, one)
    assert not wins(one, one)


@pytest.mark.parametrize("keep_all", [True, False])
def test_of_two_authors_the_loser_is_kept_of_one_only_if_all_are(keep_all: bool) -> None:
    first = memory(version(1), metadata={"agent_id": "a"})
    same = memory(version(2), metadata={"agent_id": "a"})
    other = memory(version(3, B), metadata={"agent_id": "b"})
    assert loser_to_keep(first, other, keep_all=keep_all) is first
    assert loser_to_keep(other, first, keep_all=keep_all) is first
    assert loser_to_keep(first, same, keep_all=keep_all) is (first if keep_all else None)


def test_neither_tombstones_nor_automatic_steps_nor_other_kinds_leave_a_copy() -> None:
    record = memory(version(1), metadata={"agent_id": "a"})
    newer = memory(version(2), metadata={"agent_id": "b"})
    grave = memory(version(1), deleted=True, metadata={"agent_id": "a"})
    links = [Record.make(LINK, "a", version(at), version(1), {}) for at in (1, 2)]
    later = memory(version(3), deleted=True, metadata={"agent_id": "b"})
    assert loser_to_keep(grave, newer, keep_all=True) is None
    assert loser_to_keep(record, later, keep_all=True) is None
    assert loser_to_keep(later, record, keep_all=True) is None
    assert loser_to_keep(record, with_rank(record, 2), keep_all=True) is None
    assert loser_to_keep(*links, keep_all=True) is None


def test_the_copy_of_a_loser_derives_from_it_alone() -> None:
    loser = memory(version(1), content="lost")
    copy = superseded_copy(loser)
    assert copy == superseded_copy(memory(version(1), content="lost"))
    assert (copy.kind, copy.key, copy.version) == (SUPERSEDED, f"{loser.key}/{loser.version}", loser.version)
    assert copy.body == {**loser.body, "id": loser.key}
