"""Ids and pairs: what derives from what, and who holds a pair."""

from __future__ import annotations

import itertools
import uuid

from hypothesis import given
from hypothesis import strategies as st

from aimem.core.automatic import collected, with_rank
from aimem.core.pairs import Pair, by_age, next_id, pair_of, plain_id, resolve
from aimem.core.record import Record
from tests.core.made import B, memory, version

PAIR = Pair("n", "t")
PLAIN = plain_id(PAIR)
TEXT = st.text(max_size=4)


def state_of(*records: Record) -> tuple[str | None, list[str], str, Record | None]:
    """Who has the pair, of all these records."""
    held = {record.key: record for record in records}
    others = [record for record in records if pair_of(record) == PAIR and record.key != PLAIN]
    state = resolve(PAIR, held.get, others)
    return (
        state.holder.key if state.holder else None,
        [each.key for each in state.hidden],
        state.free_id,
        state.tombstone,
    )


@given(TEXT, TEXT, TEXT, TEXT)
def test_different_pairs_derive_different_ids(a: str, b: str, c: str, d: str) -> None:
    separated = all("\0" not in part for part in (a, b, c, d))
    if separated and (a, b) != (c, d):
        assert plain_id(Pair(a, b)) != plain_id(Pair(c, d))


@given(TEXT, TEXT)
def test_a_derived_id_is_a_uuid_of_ones_own_making(namespace: str, title: str) -> None:
    for each in (plain_id(Pair(namespace, title)), next_id(Pair(namespace, title), version(5))):
        parsed = uuid.UUID(each)
        assert (str(parsed), parsed.version, parsed.variant) == (each, 8, uuid.RFC_4122)


def test_the_ids_of_a_pair_never_change() -> None:
    assert plain_id(Pair("notes", "first")) == "8103a032-c33e-8bef-9ec8-3353c9441a2a"
    assert next_id(Pair("notes", "first"), version(5)) == "026ed505-6bd7-8987-84b4-567c0388bdfb"


def test_the_next_id_depends_on_the_write_that_blocks_not_on_its_automatic_steps() -> None:
    record = memory(version(5), tier="short", expires_at=10)
    assert next_id(PAIR, with_rank(record, 2).version) == next_id(PAIR, record.version)
    assert len({PLAIN, next_id(PAIR, version(5)), next_id(PAIR, version(6)), next_id(PAIR, version(5, B))}) == 4


def test_deleted_and_archived_memories_claim_no_pair() -> None:
    assert pair_of(memory(version(5))) == PAIR
    assert pair_of(memory(version(5), deleted=True)) is None
    assert pair_of(memory(version(5), archived={"at": 1, "reason": "done"})) is None
    assert pair_of(collected(memory(version(5), expires_at=9), as_archived=True)) is None


def test_a_free_pair_takes_the_plain_id() -> None:
    assert state_of() == (None, [], PLAIN, None)


def test_a_tombstone_leaves_its_id_free() -> None:
    grave = memory(version(5), deleted=True, key=PLAIN)
    assert state_of(grave) == (None, [], PLAIN, grave)


def test_a_renamed_or_archived_record_blocks_its_id_and_the_next_derives_from_it() -> None:
    renamed = memory(version(5), key=PLAIN, title="other")
    second = next_id(PAIR, version(5))
    assert state_of(renamed) == (None, [], second, None)
    archived = memory(version(6), key=second, archived={"at": 1, "reason": "done"})
    third = next_id(PAIR, version(6))
    assert state_of(renamed, archived) == (None, [], third, None)
    grave = memory(version(7), key=third, deleted=True)
    assert state_of(renamed, archived, grave) == (None, [], third, grave)
    live = memory(version(8), key=third)
    assert state_of(renamed, archived, live)[:2] == (third, [])


def test_the_newest_of_several_holds_the_pair_in_any_order() -> None:
    records = [memory(version(1), key="x"), memory(version(3), key=PLAIN), memory(version(2), key="y")]
    for order in itertools.permutations(records):
        assert state_of(*order)[:2] == (PLAIN, ["y", "x"])
    assert [record.key for record in by_age(records)] == [PLAIN, "y", "x"]


def test_equal_records_under_two_ids_are_ordered_by_id() -> None:
    assert state_of(memory(version(1), key="x"), memory(version(1), key="y"))[:2] == ("y", ["x"])
