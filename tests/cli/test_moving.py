"""`export` and `import`: what goes out comes in again, in every form and at any size."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from aimem.limits import BODY_BYTES_MAX

from .conftest import FakeNode, Life, Run

IMPORTED = {"imported": 0, "archived": 0, "links": 0, "records": 0, "failed": 0, "errors": []}


def memory(number: int) -> dict[str, Any]:
    return {"id": f"id-{number}", "title": f"t{number}", "content": f"line one\nline {number}", "tier": "long"}


def filled(aimem: Life, count: int) -> None:
    rows = [memory(number) for number in range(count)]
    links = [{"source_id": "id-0", "target_id": "id-1", "relation": "supersedes"}]
    outcome = aimem("import", stdin=json.dumps({"links": links, "memories": rows}, indent=1))
    assert (outcome.code, outcome.out) == (0, f"imported: {count}, links: 1\n"), outcome.err
    aimem("archive", "add", f"id-{count - 1}")


def test_lines_go_round(aimem: Life, run: Run, tmp_path: Path) -> None:
    filled(aimem, 700)
    exported = aimem("export").out
    rows = [json.loads(line) for line in exported.splitlines()]
    assert {next(iter(row)) for row in rows} == {"memory", "archived", "link"}
    assert len(rows) == 701
    assert aimem("export", "--out", "rows.jsonl").out == ""
    assert (tmp_path / "rows.jsonl").read_text() == exported
    for _ in range(2):
        outcome = run("--db", "other.db", "import", "rows.jsonl")
        assert (outcome.code, outcome.out) == (0, "imported: 699, archived: 1, links: 1\n")
    again = [json.loads(line) for line in run("--db", "other.db", "export").out.splitlines()]
    assert sorted(map(plain, again)) == sorted(map(plain, rows))


def plain(row: dict[str, Any]) -> str:
    """A row without what the receiving store says itself."""
    form = next(iter(row))
    fields = row[form]
    own = {"version", "updated_at", "valid_from"}
    return json.dumps([form, {name: value for name, value in fields.items() if name not in own}], sort_keys=True)


def test_the_object_goes_round(aimem: Life, run: Run) -> None:
    filled(aimem, 5)
    exported = aimem("export", "--object").json
    assert (len(exported["memories"]), len(exported["links"]), exported["count"]) == (4, 1, 4)
    assert aimem("export", "--json").json["schema"] == 1
    outcome = run("--db", "other.db", "import", "-", stdin=aimem("export", "--json").out)
    assert outcome.out == "imported: 4, links: 1\n"
    assert run("--db", "other.db", "link", "--list", "id-0").out.startswith("id-0\tsupersedes\tid-1\t")


def test_an_object_over_the_bound_of_a_body_goes_in(aimem: Life) -> None:
    """As the old program exports it: sorted fields, so that the links come first."""
    rows = [{**memory(number), "content": "x" * 20_000} for number in range(2 * BODY_BYTES_MAX // 20_000)]
    rows[7]["priority"] = 11
    links = [{"source_id": "id-0", "target_id": f"id-{n}"} for n in range(1, 3)] + [{"source_id": "id-0"}]
    old = {"memories": rows, "links": links, "count": len(rows), "exported_at": "2026-01-01T00:00:00+00:00"}
    outcome = aimem("import", "--trust-source", stdin=json.dumps(old, sort_keys=True))
    assert (outcome.code, outcome.out) == (1, f"imported: {len(rows) - 1}, links: 2, failed: 2\n")
    first, second = outcome.err.splitlines()
    assert first.startswith("stdin: memories[7]: priority")
    assert second.startswith("stdin: links[2]: ")


def test_a_bad_line_is_named_and_the_rest_goes_in(aimem: Life, tmp_path: Path) -> None:
    lines = [json.dumps({"memory": memory(number)}) for number in range(3_000)]
    lines[10], lines[2_500] = "not json", json.dumps({"memory": {"title": "", "content": "c"}})
    lines[20] = json.dumps({"title": "long", "content": "x" * BODY_BYTES_MAX})
    lines[30] = ""
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines))
    outcome = aimem("import", str(file))
    assert (outcome.code, outcome.out) == (1, "imported: 2996, failed: 3\n")
    assert [line.split(": ")[0] for line in outcome.err.splitlines()] == [f"{file}:{n}" for n in (11, 21, 2_501)]
    reply = aimem("import", str(file), "--json").json
    assert (reply["failed"], reply["schema"], reply["lines"]) == (3, 1, 3_000)
    assert [error["where"] for error in reply["errors"]] == [f"{file}:{n}" for n in (11, 21, 2_501)]


def test_an_object_that_is_damaged_goes_in_up_to_there(aimem: Life) -> None:
    whole = json.dumps({"memories": [memory(number) for number in range(300)]})
    outcome = aimem("import", stdin=whole[: whole.index("t250")])
    assert (outcome.code, outcome.out) == (1, "imported: 250\n")
    assert outcome.err.startswith("aimem: stdin: not JSON at character ")
    assert aimem("stats", "--json").json["total"] == 250


def test_nothing_is_imported_of_nothing(aimem: Life) -> None:
    assert aimem("import", stdin="").out == "imported: 0\n"
    assert aimem("import", stdin='{"memories": []}').out == "imported: 0\n"
    assert aimem("export").out == ""


def test_lines_are_sent_as_they_are(run: Run, node: FakeNode) -> None:
    node.answers["POST", "/api/v1/import"] = (200, {**IMPORTED, "imported": 2})
    text = '{"memory": {"a": 1.50}}\n\n {"x" :2}'
    assert run("import", "--agent-id", "ai:a", stdin=text).code == 0
    assert node.last.body == [*text.split("\n"), ""]
    assert node.last.headers["x-agent-id"] == "ai:a"
    odd = '{"links": [{"l": 1}], "more": [1, 2], "memories": [{"m":\n1.50}], "count": 9}'
    assert run("import", stdin=odd).err == "left out: 2 of more\n"
    assert node.last.body == ['{"memory":{"m": 1.50}}', '{"link":{"l": 1}}', ""]


def test_refused_rows_that_a_reply_does_not_name_are_counted(run: Run, node: FakeNode) -> None:
    errors = [{"index": 2, "title": None, "error": "bad\nrow", "code": "invalid"}]
    node.answers["POST", "/api/v1/import"] = (200, {**IMPORTED, "failed": 9, "errors": errors})
    assert run("import", stdin="{}\n{}").err == "stdin:2: bad row\nand 8 more\n"


@pytest.mark.parametrize(
    ("status", "code", "expected"), [(401, "unauthenticated", 5), (503, "busy", 75), (507, "disk_full", 75)]
)
def test_a_refusal_is_the_exit_code(run: Run, node: FakeNode, status: int, code: str, expected: int) -> None:
    for method, path in (("POST", "/api/v1/import"), ("GET", "/api/v1/export")):
        node.answers[method, path] = (status, {"error": "words of the node", "code": code})
    assert run("import", stdin="{}").code == expected
    assert run("export", "--out", "x").code == expected
    assert os.listdir() == []


def test_a_break_is_7_and_says_what_to_do(run: Run, node: FakeNode) -> None:
    node.answers["POST", "/api/v1/import"] = lambda seen: None
    outcome = run("import", stdin="{}")
    assert outcome.code == 7
    assert "safe to run the same command again" in outcome.err
    assert len(node.seen) == 1


def test_a_file_is_replaced_whole_and_read_by_its_owner_only(run: Run, node: FakeNode, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("old")
    node.answers["GET", "/api/v1/export"] = lambda seen: None
    assert run("export", "--out", "rows.jsonl").code == 7
    assert (file.read_text(), os.listdir()) == ("old", ["rows.jsonl"])
    node.answers["GET", "/api/v1/export"] = (200, {"memory": {}})
    assert run("export", "--out", "rows.jsonl").code == 0
    assert (file.read_text(), os.listdir()) == ('{"memory": {}}', ["rows.jsonl"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert node.last.headers["accept"] == "application/x-ndjson"
    assert run("export", "--out", "/dev/null").code == 0
    assert not stat.S_ISREG(os.stat("/dev/null").st_mode)
    assert run("export", "--out", "nowhere/x").code == 1
