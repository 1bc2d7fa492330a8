"""What a write does to a memory that is there."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.automatic import RANK, TIERS
from aimem.core.upsert import apply_update, merge_upsert, promoted

METADATA = st.fixed_dictionaries({}, optional={"agent_id": st.sampled_from(["ai:a", "ai:b"]), "k": st.integers(0, 3)})
BODIES = st.fixed_dictionaries(
    {
        "title": st.just("t"),
        "content": st.text(max_size=3),
        "tier": st.sampled_from(TIERS),
        "namespace": st.just("n"),
        "tags": st.lists(st.text(max_size=2), max_size=2),
        "priority": st.integers(1, 10),
        "confidence": st.floats(0, 1),
        "source": st.sampled_from(["api", "cli"]),
        "metadata": METADATA,
    },
    optional={"expires_at": st.integers(0, 9), "created_at": st.integers(0, 9), "updated_at": st.integers(0, 9)},
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "content": st.text(max_size=3),
        "tier": st.sampled_from(TIERS),
        "priority": st.integers(1, 10),
        "confidence": st.floats(0, 1),
        "metadata": METADATA,
        "expires_at": st.none() | st.integers(0, 9),
    },
)


def body(**fields: Any) -> dict[str, Any]:
    base = {"title": "t", "content": "c", "tier": "mid", "namespace": "n", "tags": ["x"], "priority": 5}
    return {**base, "confidence": 0.5, "source": "api", "metadata": {"agent_id": "ai:old"}, **fields}


def test_upsert_takes_text_tags_source_and_metadata() -> None:
    new = body(content="d", tags=[], source="cli", metadata={"agent_id": "ai:new", "scope": "team"})
    merged = merge_upsert(body(metadata={"agent_id": "ai:old", "gone": 1}), new)
    assert merged == body(content="d", tags=[], source="cli", metadata={"agent_id": "ai:old", "scope": "team"})


def test_upsert_gives_an_author_to_what_has_none() -> None:
    merged = merge_upsert(body(metadata={}), body(metadata={"agent_id": "ai:new"}))
    assert merged["metadata"] == {"agent_id": "ai:new"}


@pytest.mark.parametrize(
    ("name", "old", "new", "merged"),
    [
        ("priority", 6, 2, 6),
        ("priority", 2, 6, 6),
        ("confidence", 0.9, 0.1, 0.9),
        ("confidence", 0.1, 0.9, 0.9),
        ("tier", "mid", "short", "mid"),
        ("tier", "short", "mid", "mid"),
        ("tier", "long", "short", "long"),
        ("tier", "short", "long", "long"),
    ],
)
def test_upsert_keeps_the_higher(name: str, old: Any, new: Any, merged: Any) -> None:
    assert merge_upsert(body(**{name: old}), body(**{name: new}))[name] == merged


@pytest.mark.parametrize(
    ("old", "new", "expires"),
    [
        ({"expires_at": 1}, {"expires_at": 2}, 2),
        ({"expires_at": 2}, {"expires_at": 1}, 1),
        ({"expires_at": 1}, {}, 1),
        ({}, {"expires_at": 2}, 2),
        ({"tier": "long", "expires_at": 1}, {"expires_at": 2}, None),
        ({"expires_at": 1}, {"tier": "long"}, None),
        ({"expires_at": 1}, {"tier": "long", "expires_at": 2}, None),
    ],
)
def test_upsert_of_the_expiry(old: dict[str, Any], new: dict[str, Any], expires: int | None) -> None:
    assert merge_upsert(body(**old), body(**new)).get("expires_at") == expires


@pytest.mark.parametrize(
    ("old", "changes", "expires"),
    [
        ({"expires_at": 1}, {}, 1),
        ({"expires_at": 1}, {"expires_at": 2}, 2),
        ({"expires_at": 1}, {"expires_at": None}, None),
        ({"expires_at": 1}, {"tier": "long"}, None),
        ({"expires_at": 1}, {"tier": "long", "expires_at": 2}, 2),
        ({"tier": "long", "expires_at": 1}, {"tier": "short"}, 1),
        ({"tier": "long", "expires_at": 1}, {"tier": "long"}, None),
        ({"tier": "short", "expires_at": 1}, {"tier": "mid"}, 1),
        ({}, {"expires_at": None}, None),
    ],
)
def test_update_of_the_expiry(old: dict[str, Any], changes: dict[str, Any], expires: int | None) -> None:
    changed = apply_update(body(**old), changes)
    assert changed.get("expires_at") == expires
    assert ("expires_at" in changed) is (expires is not None)


def test_update_sets_exactly_and_tier_only_rises() -> None:
    changed = apply_update(
        body(priority=9, confidence=0.9, tier="long"), {"priority": 1, "confidence": 0.0, "tier": "mid"}
    )
    assert changed == body(priority=1, confidence=0.0, tier="long")
    assert apply_update(body(tier="short"), {"tier": "mid"})["tier"] == "mid"


def test_update_keeps_the_author_and_replaces_the_rest_of_metadata() -> None:
    changed = apply_update(
        body(metadata={"agent_id": "ai:old", "gone": 1}), {"metadata": {"agent_id": "ai:new", "k": 1}}
    )
    assert changed["metadata"] == {"agent_id": "ai:old", "k": 1}
    assert apply_update(body(), {"title": "u"})["metadata"] == {"agent_id": "ai:old"}


def test_promoted() -> None:
    assert promoted(body(tier="short", expires_at=1, created_at=2, updated_at=3)) == body(tier="long", created_at=2)


def test_unknown_fields_are_kept() -> None:
    assert merge_upsert(body(later=1), body())["later"] == 1
    assert apply_update(body(later=1), {"title": "u"})["later"] == 1


@given(BODIES, BODIES, CHANGES)
def test_what_always_holds(old: dict[str, Any], new: dict[str, Any], changes: dict[str, Any]) -> None:
    before = copy.deepcopy((old, new, changes))
    for after in (merge_upsert(old, new), apply_update(old, changes), promoted(old)):
        assert RANK[after["tier"]] >= RANK[old["tier"]]
        assert "agent_id" not in old["metadata"] or after["metadata"]["agent_id"] == old["metadata"]["agent_id"]
        assert after.get("created_at") == old.get("created_at")
        assert "updated_at" not in after
        assert after.get("expires_at", 0) is not None
    assert merge_upsert(merge_upsert(old, new), new) == merge_upsert(old, new)
    assert (old, new, changes) == before
