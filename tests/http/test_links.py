"""Links over the API: made, ended, made anew, removed; shown while both ends are there."""

from __future__ import annotations

import pytest

from .conftest import Checked


@pytest.fixture
def ends(api: Checked) -> tuple[str, str]:
    first, second = (str(api.ok("POST", "/memories", {"title": title, "content": "x"})["id"]) for title in "AB")
    return first, second


def link(ends: tuple[str, str], **more: object) -> dict[str, object]:
    return {"source_id": ends[0], "target_id": ends[1], **more}


def relations(api: Checked, memory_id: str) -> list[str]:
    return sorted(each["relation"] for each in api.ok("GET", f"/links/{memory_id}")["links"])


def test_a_link_is_seen_from_both_ends_and_with_the_memory(api: Checked, ends: tuple[str, str]) -> None:
    assert api.send("POST", "/links", link(ends)).status == 201
    for end in ends:
        (found,) = api.ok("GET", f"/links/{end}")["links"]
        assert (found["source_id"], found["target_id"], found["relation"]) == (*ends, "related_to")
        assert api.ok("GET", f"/memories/{end}")["links"] == [found]
    assert api.ok("GET", f"/links/{ends[0][:8]}")["links"] == [found]
    assert api.ok("GET", "/links/nobody")["links"] == []
    assert api.ok("GET", "/stats")["links_count"] == 1


def test_linking_twice_is_one_link(api: Checked, ends: tuple[str, str]) -> None:
    first = api.ok("POST", "/links", link(ends))
    assert api.ok("POST", "/links", link(ends))["version"] == first["version"]
    assert relations(api, ends[0]) == ["related_to"]


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (400, {"relation": "depends_on"}),
        (404, {"target_id": "nobody"}),
        (404, {"source_id": "nobody"}),
        (422, {"source_id": 7}),
        (400, {"valid_from": "2030-01-01T00:00:00Z", "valid_until": "2029-01-01T00:00:00Z"}),
        (400, {"valid_from": "soon"}),
    ],
)
def test_a_link_that_can_not_be_is_refused(
    api: Checked, ends: tuple[str, str], status: int, change: dict[str, object]
) -> None:
    """B-12."""
    api.refused(status, "POST", "/links", link(ends) | change)
    assert relations(api, ends[0]) == []


def test_a_memory_is_not_linked_to_itself(api: Checked, ends: tuple[str, str]) -> None:
    api.refused(400, "POST", "/links", {"source_id": ends[0], "target_id": ends[0]})


def test_removing_one_relation_leaves_the_others(api: Checked, ends: tuple[str, str]) -> None:
    """B-8."""
    for relation in ("related_to", "supersedes", "contradicts"):
        api.ok("POST", "/links", link(ends, relation=relation))
    assert api.ok("DELETE", "/links", link(ends, relation="supersedes"))["deleted"] is True
    assert relations(api, ends[0]) == ["contradicts", "related_to"]
    assert api.ok("DELETE", "/links", link(ends, relation="supersedes"))["deleted"] is False
    assert api.ok("DELETE", "/links", link(ends))["count"] == 2
    assert relations(api, ends[0]) == []


def test_an_invalidated_link_holds_anew_when_it_is_made_again(api: Checked, ends: tuple[str, str]) -> None:
    """B-9."""
    api.ok("POST", "/links", link(ends))
    ended = api.ok("POST", "/kg/invalidate", link(ends))
    assert (ended["found"], ended["previous_valid_until"]) == (True, None)
    (shown,) = api.ok("GET", f"/links/{ends[0]}")["links"]
    assert shown["valid_until"] == ended["valid_until"]
    again = api.ok("POST", "/kg/invalidate", link(ends, valid_until="2031-01-01T00:00:00Z"))
    assert again["previous_valid_until"] == ended["valid_until"]
    api.ok("POST", "/kg/invalidate", link(ends))
    api.ok("POST", "/links", link(ends))
    (shown,) = api.ok("GET", f"/links/{ends[0]}")["links"]
    assert "valid_until" not in shown


def test_invalidating_what_is_not_there_says_so_in_the_known_shape(api: Checked, ends: tuple[str, str]) -> None:
    refusal = api.refused(404, "POST", "/kg/invalidate", link(ends))
    assert refusal["found"] is False
    assert refusal["relation"] == "related_to"


def test_who_made_a_link_is_kept(api: Checked, ends: tuple[str, str]) -> None:
    """B-10."""
    api.ok("POST", "/links", link(ends), X_Agent_Id="ai:mara")
    (found,) = api.ok("GET", f"/links/{ends[0]}")["links"]
    assert found["observed_by"] == "ai:mara"


def test_the_links_of_a_deleted_memory_are_gone_also_when_it_comes_back(api: Checked, ends: tuple[str, str]) -> None:
    api.ok("POST", "/links", link(ends))
    api.ok("DELETE", f"/memories/{ends[1]}")
    assert relations(api, ends[0]) == []
    assert api.ok("POST", "/memories", {"title": "B", "content": "again"})["id"] == ends[1]
    assert relations(api, ends[0]) == []


def test_the_links_of_an_archived_memory_come_back_with_it(api: Checked, ends: tuple[str, str]) -> None:
    """B-7."""
    api.ok("POST", "/links", link(ends))
    api.ok("POST", "/archive", {"ids": [ends[1]]})
    assert relations(api, ends[0]) == []
    api.ok("POST", f"/archive/{ends[1]}/restore")
    assert relations(api, ends[0]) == ["related_to"]


def test_a_repeat_under_its_key_is_the_same_write(api: Checked, ends: tuple[str, str]) -> None:
    api.ok("POST", "/links", link(ends), Idempotency_Key="k")
    api.ok("DELETE", "/links", link(ends))
    assert api.send("POST", "/links", link(ends), Idempotency_Key="k").headers["idempotent-replayed"] == "true"
    assert relations(api, ends[0]) == []
