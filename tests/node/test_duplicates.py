"""Whether a text is there already."""

from __future__ import annotations

import pytest

from aimem.core.allowlist import parse_keys
from aimem.core.identity_words import Identity
from aimem.errors import Invalid, NotOffered, WrongShape
from aimem.node.duplicates import clean_threshold
from aimem.node.node import Node

from .conftest import Open, caller, embedded

GATE = {"title": "Gate stuck", "content": "Gate 3 in the harbour is stuck half open."}


async def test_the_same_text_is_a_duplicate_and_another_is_none(meaning_node: Node) -> None:
    made = (await meaning_node.create({**GATE, "namespace": "ops", "tier": "long"}, caller("ai:mara"))).body["id"]
    await meaning_node.create({"title": "Lunch", "content": "Soup on Friday.", "namespace": "kitchen"}, caller())
    await embedded(meaning_node)
    found = await meaning_node.check_duplicate(GATE)
    assert found["nearest"] == {
        "id": made,
        "title": "Gate stuck",
        "namespace": "ops",
        "similarity": pytest.approx(1, abs=1e-4),
    }
    assert (found["is_duplicate"], found["suggested_merge"], found["candidates_scanned"]) == (True, made, 2)
    assert found["threshold"] == 0.8500000238418579
    elsewhere = await meaning_node.check_duplicate({**GATE, "namespace": "kitchen", "threshold": 0.5})
    assert (elsewhere["is_duplicate"], elsewhere["suggested_merge"], elsewhere["candidates_scanned"]) == (
        False,
        None,
        1,
    )
    assert (await meaning_node.check_duplicate({**GATE, "namespace": "nowhere"}))["nearest"] is None
    near = {"title": "Harbour gate", "content": "The third gate of the harbour is jammed, halfway open."}
    assert (await meaning_node.check_duplicate({**near, "threshold": 0.5}))["nearest"]["id"] == made


async def test_what_was_granted_is_a_duplicate_for_who_may_read_it_and_for_nobody_else(meaning_node: Node) -> None:
    """The private row of another, in a namespace of the line and out of it."""
    bob, eve = parse_keys("k # agents=ai:bob namespaces=org/**\nl # agents=ai:eve namespaces=org/**\n").entries
    for namespace in ("org/x", "zoo"):
        body = {**GATE, "namespace": namespace, "tier": "long", "scope": "private"}
        made = (await meaning_node.create(body, caller("ai:mara"))).body["id"]
        await embedded(meaning_node)

        async def nearest(identity: Identity) -> str | None:
            found = await meaning_node.check_duplicate(GATE, meaning_node.reach(identity))
            assert found["is_duplicate"] is (found["nearest"] is not None)
            assert found["candidates_scanned"] == int(found["is_duplicate"])
            return found["nearest"] and str(found["nearest"]["id"])

        assert await nearest(bob) is None
        await meaning_node.grant(made, {"agent_id": "ai:bob"}, caller("ai:mara"))
        assert (await nearest(bob), await nearest(eve)) == (made, None)
        await meaning_node.revoke(made, {"agent_id": "ai:bob"}, caller("ai:mara"))
        assert await nearest(bob) is None
        await meaning_node.delete(made, None, caller("ai:mara"))


async def test_a_node_without_a_model_says_so(open_node: Open) -> None:
    with pytest.raises(NotOffered):
        await (await open_node()).check_duplicate(GATE)


def test_a_threshold_has_32_bits_and_a_floor() -> None:
    assert clean_threshold(0.1) == 0.5
    assert clean_threshold(None) == 0.8500000238418579
    with pytest.raises(Invalid):
        clean_threshold(1.5)
    with pytest.raises(WrongShape):
        clean_threshold("0.9")
