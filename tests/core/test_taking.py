"""What becomes of a record that another store sends: taken, superseded or refused, each by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.kinds import DAY_NS, IDEMPOTENCY, LINK, QUARANTINE, SUPERSEDED, TOUCH
from aimem.core.merge import merge, superseded_copy
from aimem.core.record import Record, from_wire
from aimem.core.taking import (
    APPLIED,
    CLOCK_SKEW,
    LOCAL,
    MALFORMED,
    REFUSED,
    RESEED,
    SUPERSEDED_BY,
    Taken,
    flaw,
    outlived,
    quarantine,
    release,
    rescue,
    set_aside,
    take,
)
from aimem.core.version import STEP_MAX, Version
from aimem.errors import Conflict
from tests.core.made import A, memories, memory, version
from tests.core.played import NOW, Played


def made(kind: str, body: dict[str, Any], at: Version | None = None, key: str = "k") -> Record:
    at = at or version(1)
    return Record.make(kind, key, at, at, body)


def flaw_of(record: Record) -> str | None:
    return flaw(record, now=NOW, ahead_max=10)


def test_a_memory_a_link_and_an_unknown_kind_are_taken() -> None:
    link = made(LINK, {"source_id": "a", "target_id": "b", "created_at": 1})
    for record in (memory(version(1)), link, made("kind-of-tomorrow", {"any": ["thing"]})):
        assert flaw_of(record) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"tier": "eternal"},
        {"title": 7},
        {"content": None},
        {"tags": "a"},
        {"tags": [1]},
        {"priority": True},
        {"metadata": []},
        {"namespace": {}},
        {"priority": 1 << 63},
        {"created_at": "then"},
        {"expires_at": 1 << 70},
        {"updated_at": None},
        {"confidence": "high"},
        {"archived": True},
        {"archived": {"at": 1.5, "reason": "r"}},
    ],
)
def test_a_memory_with_a_value_of_an_unknown_form_is_refused_by_itself(fields: dict[str, Any]) -> None:
    told = flaw_of(memory(version(1), **fields))
    assert told is not None
    assert told.startswith(MALFORMED)
    gone = memory(version(1), deleted=True, **fields)
    assert flaw_of(gone) is None, "of a tombstone only the address and the version count"


@pytest.mark.parametrize("kind", [LINK, TOUCH, SUPERSEDED])
def test_a_record_without_what_its_kind_needs_is_refused(kind: str) -> None:
    assert (flaw_of(made(kind, {})) or "").startswith(MALFORMED)


def test_what_is_local_stays_where_it_is() -> None:
    assert flaw_of(made(QUARANTINE, {})) == LOCAL


def test_a_version_or_a_birth_too_far_ahead_waits() -> None:
    assert flaw_of(memory(version(NOW + 10))) is None
    assert flaw_of(memory(version(NOW + 11))) == CLOCK_SKEW
    assert flaw_of(memory(version(NOW), version(NOW + 11))) == CLOCK_SKEW


def test_a_kind_of_a_fixed_life_is_not_taken_past_it() -> None:
    now = 10 * DAY_NS
    assert outlived(made(IDEMPOTENCY, {}, version(now - DAY_NS - 1)), now)
    assert not outlived(made(IDEMPOTENCY, {}, version(now - DAY_NS)), now)
    assert not outlived(memory(version(1)), now)


def taken(node: Played, record: Record, floor: int = 0) -> Taken:
    reply: Taken = node.carry_out(take(record, floor=floor)).reply
    return reply


def test_the_newer_is_applied_the_older_is_superseded_and_the_same_is_applied_again() -> None:
    node = Played()
    assert taken(node, memory(version(2))) == Taken(APPLIED)
    assert taken(node, memory(version(2))) == Taken(APPLIED)
    assert taken(node, memory(version(1))) == Taken(SUPERSEDED_BY, version(2))
    assert taken(node, memory(version(3), deleted=True)) == Taken(APPLIED)
    assert taken(node, memory(version(2))) == Taken(SUPERSEDED_BY, version(3))


def test_a_write_that_stands_here_in_a_later_step_is_held() -> None:
    node = Played(memory(version(2, A, step=4 << 65)))
    assert taken(node, memory(version(2))) == Taken(APPLIED)


@given(memories(), memories())
def test_what_stands_after_taking_is_the_merge_of_both(held: Record, incoming: Record) -> None:
    node = Played(held)
    told = taken(node, incoming)
    stands = node.held[incoming.ref]
    assert stands == merge(held, incoming)
    if stands.version.same_write(incoming.version):
        assert told == Taken(APPLIED)
    else:
        assert told == Taken(SUPERSEDED_BY, stands.version), "though it may have raised the tier of what stands"


@given(st.permutations([version(1), version(2), version(3)]), st.integers(0, 3))
def test_below_the_floor_only_what_is_held_or_deleted_is_taken(versions: list[Version], floor: int) -> None:
    for at in versions:
        refused = Taken(REFUSED, reason=RESEED) if at.time <= floor else Taken(APPLIED)
        assert taken(Played(), memory(at), floor) == refused
        assert taken(Played(), memory(at, deleted=True), floor) == Taken(APPLIED)
        assert taken(Played(memory(version(0))), memory(at), floor) == Taken(APPLIED)


def test_a_derived_record_is_taken_below_the_floor_when_its_source_is_held() -> None:
    copy = superseded_copy(memory(version(1)))
    assert taken(Played(), copy, floor=5).reason == RESEED
    assert taken(Played(memory(version(9))), copy, floor=5) == Taken(APPLIED)


def test_what_is_set_aside_leaves_a_tombstone_that_any_newer_write_beats() -> None:
    old = memory(version(3))
    node = Played(old)
    assert node.carry_out(set_aside(old.ref, "peer", 5)).reply is True
    grave = node.held[old.ref]
    assert grave.deleted
    assert grave.version == version(3)._replace(step=STEP_MAX)
    assert taken(node, memory(version(4))) == Taken(APPLIED)
    assert node.carry_out(set_aside(old.ref, "peer", 2)).reply is False


def kept(node: Played) -> list[Record]:
    return [each for each in node.held.values() if each.kind == QUARANTINE and not each.deleted]


def test_the_newest_of_an_address_is_kept_aside_and_can_be_released() -> None:
    node = Played()
    for at in (2, 3, 1):
        node.carry_out(quarantine(memory(version(at)), "peer", CLOCK_SKEW))
    (aside,) = kept(node)
    assert from_wire(aside.body["record"]) == memory(version(3))
    assert node.carry_out(release(aside.key)).reply is True
    assert kept(node) == []
    assert node.carry_out(release(aside.key)).reply is False


def test_rescue_writes_it_anew_and_never_over_what_is_newer() -> None:
    node = Played()
    node.carry_out(quarantine(memory(version(2), content="old"), "peer", RESEED))
    (aside,) = kept(node)
    anew = node.carry_out(rescue(aside.key)).reply
    assert node.held[anew.ref] == anew
    assert anew.version.time >= NOW
    assert anew.body["content"] == "old"
    assert kept(node) == []
    assert node.carry_out(rescue(aside.key)).reply is None
    node.carry_out(quarantine(memory(version(2)), "peer", RESEED))
    with pytest.raises(Conflict):
        node.decide(rescue(kept(node)[0].key))


def test_what_became_of_it_as_it_travels() -> None:
    assert Taken(APPLIED).to_wire() == "applied"
    assert Taken(SUPERSEDED_BY, version(1)).to_wire() == ["superseded", str(version(1))]
    assert Taken(REFUSED, reason=RESEED).to_wire() == ["refused", "reseed"]
