"""Export and import over the API: what goes out comes in again, whole, in either form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimem.http.offline import open_offline

from .conftest import Checked

LINES = "application/x-ndjson"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Checked]:
    caller = open_offline(tmp_path / "other.db")
    yield Checked(caller)
    caller.close()


ROWS: dict[str, dict[str, Any]] = {
    "A": {"tier": "long", "tags": ["x"], "metadata": {"deep": {"er": [1, 2.5, None]}}, "scope": "team"},
    "B": {"priority": 9, "confidence": 0.25},
    "C": {"namespace": "org/team", "tier": "short"},
    "gone": {},
}


def fill(api: Checked) -> dict[str, str]:
    ids = {
        title: api.ok(
            "POST", "/memories", {"title": title, "content": f"what {title} says", **fields}, X_Agent_Id="ai:mara"
        )["id"]
        for title, fields in ROWS.items()
    }
    api.ok("POST", "/links", {"source_id": ids["A"], "target_id": ids["B"], "relation": "supersedes"})
    api.ok("POST", "/links", {"source_id": ids["A"], "target_id": ids["C"]})
    api.ok("POST", "/kg/invalidate", {"source_id": ids["A"], "target_id": ids["C"]})
    api.ok("GET", "/recall", query={"context": "what does B say"})
    api.ok("POST", "/archive", {"ids": [ids["gone"]], "reason": "old"})
    return ids


def lines_of(api: Checked) -> bytes:
    return api.send("GET", "/export", Accept=LINES).body


def everything(api: Checked) -> dict[str, Any]:
    """All that callers can see, without what only this store could know."""
    memories = api.ok("GET", "/export")
    seen = [{key: value for key, value in each.items() if key != "version"} for each in memories["memories"]]
    archive = [
        {k: v for k, v in row.items() if k not in ("version", "updated_at")}
        for row in api.ok("GET", "/archive")["archived"]
    ]
    return {
        "memories": sorted(seen, key=lambda each: each["id"]),
        "links": sorted(memories["links"], key=lambda each: (each["target_id"], each["relation"])),
        "archive": archive,
    }


def test_the_object_form_has_memories_links_and_their_count(api: Checked) -> None:
    ids = fill(api)
    found = api.ok("GET", "/export")
    assert {memory["id"] for memory in found["memories"]} == {ids["A"], ids["B"], ids["C"]}
    assert found["count"] == 3
    assert len(found["links"]) == 2
    assert found["exported_at"]


def test_lines_come_in_again_as_they_went_out(api: Checked, other: Checked) -> None:
    """B-28."""
    fill(api)
    outcome = other.ok("POST", "/import", lines_of(api), Content_Type=LINES)
    assert (outcome["imported"], outcome["archived"], outcome["links"], outcome["failed"]) == (3, 1, 2, 0)
    assert everything(other) == everything(api)


def test_links_of_what_is_in_the_archive_go_with_it(api: Checked, other: Checked) -> None:
    made = [api.ok("POST", "/memories", {"title": title, "content": "x"})["id"] for title in ("A", "B", "C")]
    link = {"source_id": made[0], "relation": "related_to"}
    for target in made[1:]:
        api.ok("POST", "/links", {**link, "target_id": target})
    api.ok("POST", "/archive", {"ids": [made[1]]})
    api.ok("DELETE", f"/memories/{made[2]}")  # nothing leads to what is gone
    assert api.ok("GET", "/export")["links"] == []
    outcome = other.ok("POST", "/import", lines_of(api), Content_Type=LINES)
    assert (outcome["imported"], outcome["archived"], outcome["links"], outcome["failed"]) == (1, 1, 1, 0)
    assert other.ok("GET", f"/links/{made[0]}")["links"] == []
    other.ok("POST", f"/archive/{made[1]}/restore")
    assert [each["target_id"] for each in other.ok("GET", f"/links/{made[0]}")["links"]] == [made[1]]


def test_the_object_comes_in_again_as_it_went_out(api: Checked, other: Checked) -> None:
    fill(api)
    outcome = other.ok("POST", "/import", api.ok("GET", "/export"))
    assert (outcome["imported"], outcome["errors"]) == (3, [])
    left = everything(other)
    assert {**left, "archive": []} == {**everything(api), "archive": []}


def test_importing_twice_changes_nothing(api: Checked, other: Checked) -> None:
    fill(api)
    other.ok("POST", "/import", lines_of(api), Content_Type=LINES)
    digest = other.ok("GET", "/digest")["digest"]
    other.ok("POST", "/import", lines_of(api), Content_Type=LINES)
    assert other.ok("GET", "/digest")["digest"] == digest


def test_an_old_row_does_not_overwrite_what_was_written_later(api: Checked) -> None:
    ids = fill(api)
    exported = lines_of(api)
    api.ok("PUT", f"/memories/{ids['A']}", {"content": "newer"})
    api.ok("POST", "/import", exported, Content_Type=LINES)
    assert api.ok("GET", f"/memories/{ids['A']}")["content"] == "newer"


def test_an_imported_row_of_a_held_pair_goes_to_its_holder(api: Checked, other: Checked) -> None:
    fill(api)
    row = next(each for each in api.ok("GET", "/export")["memories"] if each["title"] == "A")
    other.ok("POST", "/import", {"memories": [{**row, "id": "from-elsewhere"}]})
    other.ok("POST", "/import", {"memories": [row]})
    (found,) = other.ok("GET", "/memories")["memories"]
    assert found["id"] == "from-elsewhere"


def test_the_author_of_a_row_is_kept_and_an_expired_one_is_taken(other: Checked) -> None:
    row = {
        "id": "x",
        "title": "t",
        "content": "c",
        "metadata": {"agent_id": "bob"},
        "expires_at": "2001-01-01T00:00:00Z",
    }
    assert other.ok("POST", "/import", {"memories": [row]}, X_Agent_Id="alice")["imported"] == 1
    found = other.ok("GET", "/memories/x")
    assert found["metadata"]["agent_id"] == "bob"
    assert found["expires_at"].startswith("2001-01-01")


def test_a_bad_row_is_named_by_its_line_and_the_others_are_taken(other: Checked) -> None:
    lines = [json.dumps({"memory": {"title": f"t{number}", "content": "c"}}) for number in range(500)]
    lines[300] = '{"memory": {"title": ""'
    lines[400] = '{"memory": {"title": "", "content": "c"}}'
    lines[450] = "[1]"
    outcome = other.ok("POST", "/import", "\n".join(lines).encode(), Content_Type=LINES)
    assert (outcome["imported"], outcome["failed"], outcome["lines"]) == (497, 3, 500)
    assert [error["index"] for error in outcome["errors"]] == [301, 401, 451]


def test_kinds_without_a_shape_of_their_own_are_carried_as_records(api: Checked, other: Checked) -> None:
    record = {
        "kind": "policy",
        "key": "ops",
        "version": f"{10**18:016x}-{'a' * 16}",
        "born": f"{10**18:016x}-{'a' * 16}",
        "deleted": False,
        "body": {"namespace": "ops", "policy": {"write": "owner"}},
        "signature": "kept",
    }
    assert api.ok("POST", "/import", json.dumps({"record": record}).encode(), Content_Type=LINES)["records"] == 1
    (line,) = [json.loads(each) for each in lines_of(api).splitlines()]
    assert (line["record"]["body"], line["record"]["signature"]) == (record["body"], "kept")
    other.ok("POST", "/import", lines_of(api), Content_Type=LINES)
    assert [json.loads(each)["record"]["body"] for each in lines_of(other).splitlines()] == [record["body"]]
    for kind in ("memory", "vector", "idempotency"):
        outcome = other.ok(
            "POST", "/import", json.dumps({"record": record | {"kind": kind}}).encode(), Content_Type=LINES
        )
        assert outcome["failed"] == 1


def test_the_object_form_is_bounded_and_lines_are_not(other: Checked) -> None:
    rows = [{"title": f"t{number}", "content": "c"} for number in range(1_001)]
    assert "x-ndjson" in other.refused(400, "POST", "/import", {"memories": rows})["hint"]
    other.refused(422, "POST", "/import", {"memories": "many"})
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    assert other.ok("POST", "/import", body, Content_Type=LINES)["imported"] == 1_001
    assert len(lines_of(other).splitlines()) == 1_001


def test_a_line_over_the_bound_ends_the_import_and_says_what_was_done(other: Checked) -> None:
    body = b'{"title": "t", "content": "c"}\n' + b"x" * (2 << 20) + b"xxx"
    other.refused(413, "POST", "/import", body, Content_Type=LINES)


def test_vectors_of_other_programs_go_round_and_end_with_their_memory(api: Checked, other: Checked) -> None:
    stored = api.ok("POST", "/memories", {"title": "A", "content": "x"})
    body = {"model": "m", "dims": 1, "data": "AACAPw=="}
    names = {"kind": "embedding", "key": f"{stored['id']}/m", "version": stored["version"], "born": stored["version"]}
    line = json.dumps({"record": {**names, "deleted": False, "body": body}}).encode()
    for node in (api, other):
        importing(node, line)
    assert lines_of(other) == b""  # its memory is not there
    api.ok("PUT", f"/memories/{stored['id']}", {"content": "y"})  # changed last, and still ahead of what goes with it
    exported = lines_of(api)
    assert [next(iter(json.loads(row))) for row in exported.splitlines()] == ["memory", "record"]
    importing(other, exported)
    assert json.loads(lines_of(other).splitlines()[1])["record"]["body"] == body
    other.ok("DELETE", f"/memories/{stored['id']}")
    assert lines_of(other) == b""


def importing(api: Checked, lines: bytes) -> None:
    assert api.ok("POST", "/import", lines, Content_Type=LINES)["failed"] == 0
