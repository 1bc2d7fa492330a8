"""What a caller's write decides, played on a plain dict: no store."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.core.automatic import collected, with_rank
from aimem.core.intent import Decision, Intent
from aimem.core.kinds import DAY_NS, IDEMPOTENCY, TOUCH
from aimem.core.pairs import Pair, next_id, plain_id
from aimem.core.record import Record, Ref
from aimem.core.writes import Answer, Once, Stored, answered, create, delete, promote, request_hash, tombstone, update
from aimem.errors import Conflict, Invalid, KeyReused, NotFound, VersionConflict
from aimem.limits import TITLE_CHARS_MAX
from tests.core.made import B, memory, version
from tests.core.played import Played

PLAIN = plain_id(Pair("n", "t"))


def body(**fields: Any) -> dict[str, Any]:
    return dict(memory(version(1), **fields).body)


def only(decision: Decision) -> Record:
    (record,) = decision.records
    return record


def test_a_new_memory_is_born_with_its_version_under_the_derived_id() -> None:
    decision = Played().decide(create(body()))
    record = only(decision)
    assert record.key == PLAIN
    assert record.version == record.born
    assert decision.reply == Stored(record, True)


def test_a_create_on_a_held_pair_goes_to_its_holder_by_the_upsert_rules() -> None:
    held = memory(version(5), key="x", tier="long", metadata={"agent_id": "ai:a"})
    decision = Played(held).decide(create(body(content="new", tier="short")))
    record = only(decision)
    assert (record.key, record.born) == ("x", held.born)
    assert record.version > held.version
    assert (record.body["content"], record.body["tier"], record.body["metadata"]) == (
        "new",
        "long",
        {"agent_id": "ai:a"},
    )
    assert decision.reply == Stored(record, False)


def test_a_create_over_a_tombstone_is_a_new_birth_that_remembers_the_old_tier() -> None:
    grave = memory(version(5), key=PLAIN, deleted=True, tier="long")
    record, remembered = Played(grave).decide(create(body())).records
    assert (record.key, record.born) == (PLAIN, record.version)
    assert remembered.kind == TOUCH
    assert (remembered.body["rank"], remembered.body["count"]) == (2, 0)
    assert remembered.key.startswith(f"{PLAIN}/{grave.born}.")
    low = memory(version(5), key=PLAIN, deleted=True, tier="short")
    assert len(Played(low).decide(create(body())).records) == 1


def test_a_create_next_to_an_archived_or_renamed_record_takes_the_next_id() -> None:
    for blocking in ({"archived": {"at": 1, "reason": "done"}}, {"title": "other"}):
        held = memory(version(5), key=PLAIN, **blocking)
        assert only(Played(held).decide(create(body()))).key == next_id(Pair("n", "t"), held.version)


def test_on_conflict_error_names_the_holder() -> None:
    with pytest.raises(Conflict) as refusal:
        Played(memory(version(5), key="x")).decide(create(body(), on_conflict="error"))
    assert refusal.value.body()["existing_id"] == "x"
    assert Played().decide(create(body(), on_conflict="error")).reply.created


def test_on_conflict_version_takes_the_first_free_number_and_keeps_titles_in_their_bounds() -> None:
    held = [memory(version(5), key="x"), memory(version(5), key="y", title="t (2)")]
    assert only(Played(*held).decide(create(body(), on_conflict="version"))).body["title"] == "t (3)"
    long = "t" * TITLE_CHARS_MAX
    record = only(
        Played(memory(version(5), key="x", title=long)).decide(create(body(title=long), on_conflict="version"))
    )
    assert len(record.body["title"]) == TITLE_CHARS_MAX
    assert record.body["title"].endswith("t (2)")
    assert only(Played().decide(create(body(), on_conflict="version"))).body["title"] == "t"


def test_an_update_changes_what_it_names_and_keeps_id_and_birth() -> None:
    held = memory(version(5), content="old", key="x")
    record = only(Played(held).decide(update("x", {"content": "new"})))
    assert (record.key, record.born, record.body) == ("x", held.born, {**held.body, "content": "new"})
    assert record.version > held.version


def test_an_update_onto_a_pair_that_another_holds_is_refused() -> None:
    held, other = memory(version(5), key="x"), memory(version(6), key="y", title="u")
    with pytest.raises(Conflict) as refusal:
        Played(held, other).decide(update("x", {"title": "u"}))
    assert refusal.value.body()["existing_id"] == "y"
    archived = memory(version(6), key="y", title="u", archived={"at": 1, "reason": "done"})
    assert only(Played(held, archived).decide(update("x", {"title": "u"}))).body["title"] == "u"


WRITES = [update("x", {"content": "new"}), promote("x"), delete("x")]


@pytest.mark.parametrize("intent", WRITES)
@pytest.mark.parametrize(
    "held",
    [
        None,
        memory(version(5), key="x", deleted=True),
        memory(version(5), key="x", archived={"at": 1, "reason": "done"}),
        collected(memory(version(5), key="x", expires_at=1), as_archived=False),
    ],
    ids=["none", "deleted", "archived", "expired"],
)
def test_what_is_not_there_can_not_be_written(intent: Intent, held: Record | None) -> None:
    with pytest.raises(NotFound):
        (Played(held) if held else Played()).decide(intent)


@pytest.mark.parametrize("write", [lambda **more: update("x", {}, **more), promote, delete])
def test_a_version_that_somebody_else_replaced_is_refused_and_the_current_one_named(write: Any) -> None:
    before, now = version(5), version(6, B)
    intent = write("x", expected=str(before)) if write in (promote, delete) else write(expected=str(before))
    assert Played(memory(before, key="x")).decide(intent).records
    assert Played(with_rank(memory(before, key="x"), 2)).decide(intent).records
    with pytest.raises(VersionConflict) as refusal:
        Played(memory(now, key="x")).decide(intent)
    assert refusal.value.body()["current"] == str(now)


def test_what_is_no_version_is_refused_as_such() -> None:
    with pytest.raises(Invalid, match="not a version"):
        Played(memory(version(5), key="x")).decide(delete("x", expected="x"))


def test_writes_by_a_hidden_id_go_to_the_holder_and_a_delete_takes_both() -> None:
    held = Played(memory(version(5), key="x"), memory(version(6), key="y"))
    assert only(held.decide(update("x", {"content": "new"}))).key == "y"
    assert only(held.decide(promote("x"))).key == "y"
    graves = held.decide(delete("x")).records
    assert [(grave.key, grave.deleted) for grave in graves] == [("y", True), ("x", True)]
    assert len({grave.version for grave in graves}) == 2


def test_promotion_makes_long_without_an_end() -> None:
    record = only(Played(memory(version(5), key="x", tier="short", expires_at=9)).decide(promote("x")))
    assert record.body["tier"] == "long"
    assert "expires_at" not in record.body


def test_a_tombstone_keeps_no_content() -> None:
    grave = tombstone(memory(version(5), content="secret", metadata={"agent_id": "ai:a"}), version(6))
    assert grave.body == {"namespace": "n", "tier": "mid"}
    assert (grave.deleted, grave.born, grave.version) == (True, version(5), version(6))


def rendered(reply: Stored) -> tuple[int, dict[str, Any]]:
    return 201 if reply.created else 200, {"id": reply.record.key}


ONCE = Once("ai:a", "key", request_hash("POST", {"title": "t"}))


def test_an_answer_is_rendered_and_nothing_is_kept_without_a_key() -> None:
    decision = Played().decide(answered(create(body()), rendered))
    assert decision.reply == Answer(201, {"id": PLAIN})
    assert len(decision.records) == 1


def test_a_repeated_request_gets_its_first_answer_and_writes_nothing() -> None:
    world = Played()
    intent = answered(create(body()), rendered, ONCE)
    assert world.carry_out(intent).reply == Answer(201, {"id": PLAIN})
    again = world.carry_out(intent)
    assert again.reply[:3] == (201, {"id": PLAIN}, True)
    assert again.reply.wrote == (("memory", PLAIN), ("idempotency", ONCE.record_key()))
    assert not again.records


def test_a_key_that_comes_with_another_request_is_refused() -> None:
    world = Played()
    world.carry_out(answered(create(body()), rendered, ONCE))
    with pytest.raises(KeyReused):
        world.decide(answered(create(body()), rendered, ONCE._replace(request="other")))
    assert world.decide(answered(create(body()), rendered, ONCE._replace(caller="ai:b"))).records
    assert world.decide(answered(create(body()), rendered, ONCE._replace(key="other"))).records


def test_a_key_is_forgotten_after_a_day_even_before_it_is_swept() -> None:
    world = Played()
    world.carry_out(answered(create(body()), rendered, ONCE))
    world.now += DAY_NS + 2  # its version is two ticks later
    assert not world.carry_out(answered(create(body()), rendered, ONCE)).reply.replayed
    assert world.held[Ref(IDEMPOTENCY, ONCE.record_key())].version.time >= world.now


def test_a_refused_write_is_not_kept_under_its_key() -> None:
    world = Played()
    with pytest.raises(NotFound):
        world.carry_out(answered(delete("x"), rendered, ONCE))
    assert world.held == {}
