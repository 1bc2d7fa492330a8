"""The archive over the API, and what fills it: archive, forget, consolidate, gc."""

from __future__ import annotations

import pytest

from tests.waiting import eventually

from .conftest import Checked


def put(api: Checked, title: str, content: str = "x", **fields: object) -> str:
    stored: str = api.ok("POST", "/memories", {"title": title, "content": content, **fields}, X_Agent_Id="ai:mara")[
        "id"
    ]
    return stored


def archived(api: Checked, **query: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = api.ok("GET", "/archive", query=query)["archived"]
    return found


def test_archiving_takes_a_memory_out_of_sight_and_names_what_was_missing(api: Checked) -> None:
    memory_id = put(api, "A", tags=["t"])
    outcome = api.ok("POST", "/archive", {"ids": [memory_id, "missing-id"], "reason": "retired"})
    assert outcome == {"archived": [memory_id], "missing": ["missing-id"], "count": 1, "reason": "retired"}
    api.refused(404, "GET", f"/memories/{memory_id}")
    assert api.ok("GET", "/recall", query={"context": "A"})["count"] == 0
    (row,) = archived(api)
    assert (row["id"], row["archive_reason"], row["tags"]) == (memory_id, "retired", ["t"])
    assert row["metadata"] == {"agent_id": "ai:mara"}
    assert row["last_accessed_at"] is None


def test_a_restored_memory_is_what_it_was(api: Checked) -> None:
    """B-7: neither the tier nor the end of its life is changed."""
    memory_id = put(api, "A", tier="short")
    before = api.ok("GET", f"/memories/{memory_id}")
    api.ok("POST", "/archive", {"ids": [memory_id]})
    assert api.ok("POST", f"/archive/{memory_id}/restore")["restored"] is True
    after = api.ok("GET", f"/memories/{memory_id}")
    changing = ("version", "updated_at", "memory")
    assert {k: v for k, v in after.items() if k not in changing} == {
        k: v for k, v in before.items() if k not in changing
    }
    assert api.refused(404, "POST", f"/archive/{memory_id}/restore")["error"] == "not found in archive"


def test_an_archived_memory_does_not_hold_its_title(api: Checked) -> None:
    first = put(api, "A", "first")
    api.ok("POST", "/archive", {"ids": [first]})
    second = put(api, "A", "second")
    assert second != first
    api.ok("POST", "/archive", {"ids": [second]})
    third = put(api, "A", "third")
    assert len({first, second, third}) == 3
    assert {row["id"] for row in archived(api)} == {first, second}
    assert api.refused(409, "POST", f"/archive/{first}/restore")["existing_id"] == third
    api.ok("DELETE", f"/memories/{third}")
    api.ok("POST", f"/archive/{first}/restore")
    assert api.ok("GET", f"/memories/{first}")["content"] == "first"


def test_the_archive_is_listed_by_page_and_namespace_latest_first(api: Checked) -> None:
    ids = [put(api, f"n{number}", namespace=f"ns{number % 2}") for number in range(4)]
    for each in ids:
        api.ok("POST", "/archive", {"ids": [each]})
    assert [row["id"] for row in archived(api)] == ids[::-1]
    assert [row["id"] for row in archived(api, limit="2", offset="1")] == ids[::-1][1:3]
    assert [row["id"] for row in archived(api, namespace="ns0")] == [ids[2], ids[0]]
    api.refused(400, "GET", "/archive", query={"limit": "0"})
    stats = api.ok("GET", "/archive/stats")
    assert stats == {
        "archived_total": 4,
        "by_namespace": [{"namespace": "ns0", "count": 2}, {"namespace": "ns1", "count": 2}],
    }


def test_purging_removes_for_good_what_is_old_enough(api: Checked) -> None:
    memory_id = put(api, "A")
    api.ok("POST", "/archive", {"ids": [memory_id]})
    assert api.ok("DELETE", "/archive", query={"older_than_days": "1"})["purged"] == 0
    assert api.ok("DELETE", "/archive")["purged"] == 1
    assert archived(api) == []
    api.refused(404, "POST", f"/archive/{memory_id}/restore")
    api.refused(400, "DELETE", "/archive", query={"older_than_days": "-1"})


def test_more_ids_than_the_bound_are_refused(api: Checked) -> None:
    api.refused(400, "POST", "/archive", {"ids": ["x"] * 1_001})
    api.refused(422, "POST", "/archive", {"ids": "x"})


@pytest.mark.parametrize("in_query", [True, False])
def test_forgetting_archives_all_that_fits_with_its_metadata(api: Checked, in_query: bool) -> None:
    """B-6; and the published client sends what to forget in the query string."""
    for number in range(3):
        put(api, f"pump {number}", namespace="ops")
    put(api, "gate", namespace="ops")
    put(api, "pump elsewhere")
    asked = {"namespace": "ops", "pattern": "pump"}
    reply = api.send("POST", "/forget", None if in_query else asked, query=asked if in_query else None)
    assert reply.json() == {"deleted": 3}
    assert api.ok("GET", "/stats")["total"] == 2
    assert {row["archive_reason"] for row in archived(api)} == {"forget"}
    assert all(row["metadata"] == {"agent_id": "ai:mara"} for row in archived(api))


def test_forgetting_more_than_a_page_forgets_all(api: Checked) -> None:
    rows = [{"title": f"n{number}", "content": "x", "tier": "short"} for number in range(450)]
    api.ok("POST", "/memories/bulk", rows)
    put(api, "kept", tier="long")
    assert api.ok("POST", "/forget", {"tier": "short"})["deleted"] == 450
    assert api.ok("GET", "/stats")["total"] == 1


@pytest.mark.parametrize("body", [{}, None, {"namespace": ""}, {"tier": "LONG"}])
def test_forgetting_everything_by_mistake_is_refused(api: Checked, body: object) -> None:
    put(api, "A")
    api.refused(400, "POST", "/forget", body)
    assert api.ok("GET", "/stats")["total"] == 1


def test_a_consolidation_says_what_its_sources_said_and_archives_them(api: Checked) -> None:
    """B-13."""
    ids = [put(api, "week 1", tags=["b", "a"], priority=8), put(api, "week 2", tags=["c"], metadata={"shift": 4})]
    asked = {"ids": ids, "title": "week 1", "summary": "both"}
    reply = api.send("POST", "/consolidate", asked, X_Agent_Id="ai:ilse")
    assert reply.status == 201
    made = api.ok("GET", f"/memories/{reply.json()['id']}")
    assert reply.json()["consolidated"] == 2
    assert (made["content"], made["tags"], made["priority"], made["tier"]) == ("both", ["a", "b", "c"], 8, "long")
    assert made["metadata"] == {
        "agent_id": "ai:ilse",
        "consolidated_from_agents": ["ai:mara"],
        "derived_from": ids,
        "shift": 4,
    }
    assert made["source"] == "consolidation"
    assert "expires_at" not in made
    assert {row["id"]: row["archive_reason"] for row in archived(api)} == dict.fromkeys(ids, "consolidated")
    assert api.ok("GET", "/stats")["total"] == 1
    api.ok("POST", f"/archive/{ids[1]}/restore")
    (found,) = api.ok("GET", f"/links/{made['id']}")["links"]
    assert (found["target_id"], found["relation"]) == (ids[1], "derived_from")


def test_a_consolidation_that_can_not_be_changes_nothing(api: Checked) -> None:
    """B-12."""
    ids = [put(api, "A"), put(api, "B")]
    put(api, "taken")
    for status, change in (
        (404, {"ids": [ids[0], "nobody"]}),
        (409, {"title": "taken"}),
        (400, {"ids": [ids[0]]}),
        (400, {"ids": [ids[0], ids[0]]}),
        (400, {"title": ""}),
        (422, {"tier": "LONG"}),
    ):
        api.refused(
            status, "POST", "/consolidate", {"ids": ids, "title": "C", "summary": "s", "namespace": "global"} | change
        )
    assert api.ok("GET", "/stats")["total"] == 3
    assert archived(api) == []


def test_gc_ends_what_has_expired_and_archives_it(api: Checked) -> None:
    put(api, "B", ttl_secs=86_400)
    assert api.ok("POST", "/gc") == {"expired_deleted": 0}
    memory_id = put(api, "A", ttl_secs=1)
    eventually(lambda: api.ok("GET", "/stats")["total"] == 1)
    assert api.ok("POST", "/gc") == {"expired_deleted": 1}
    (row,) = archived(api)
    assert (row["id"], row["archive_reason"]) == (memory_id, "ttl_expired")
