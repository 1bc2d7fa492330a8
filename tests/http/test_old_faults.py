"""Faults of the old program that no other test is about. The number is that of aimem-compat(7)."""

from __future__ import annotations

import re

import pytest

from aimem.store.sqlite.reading import Readers

from .conftest import Checked


def _fsyncs(api: Checked) -> int:
    found = re.search(r"^aimem_fsyncs_total (\d+)$", api.send("GET", "/metrics").body.decode(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_every_row_of_a_bulk_has_the_author_who_sent_it(api: Checked) -> None:
    """B-35."""
    rows = [{"title": "A", "content": "x"}, {"title": "B", "content": "y", "agent_id": "bob", "scope": "team"}]
    ids = api.ok("POST", "/memories/bulk", rows, X_Agent_Id="alice")["ids"]
    a, b = (api.ok("GET", f"/memories/{memory_id}")["metadata"] for memory_id in ids)
    assert a["agent_id"] == "alice"
    assert (b["agent_id"], b["scope"]) == ("bob", "team")


def test_a_bulk_is_not_a_commit_for_each_row(api: Checked) -> None:
    """B-40."""
    before = _fsyncs(api)
    api.ok("POST", "/memories/bulk", [{"title": f"row {number}", "content": "x"} for number in range(300)])
    assert 1 <= _fsyncs(api) - before <= 10


def test_health_reads_no_rows(api: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    """B-19: it answers with every reading of the database shut."""
    api.ok("POST", "/memories", {"title": "A", "content": "x"})

    def shut(*_: object, **__: object) -> None:
        raise AssertionError("health read the database")

    monkeypatch.setattr(Readers, "run", shut)
    assert api.ok("GET", "/health")["status"] == "ok"
    assert api.send("GET", "/memories").status == 500


def test_a_source_that_the_old_program_wrote_is_taken(api: Checked) -> None:
    """B-29: by an import; who stores a memory anew keeps to the list."""
    row = {"id": "x", "title": "A", "content": "x", "source": "ai-memory curator (autonomy)"}
    assert api.ok("POST", "/import", {"memories": [row, {**row, "title": "B", "source": "s" * 65}]})["imported"] == 1
    assert api.ok("GET", "/memories/x")["source"] == row["source"]
    api.refused(400, "POST", "/memories", {"title": "C", "content": "x", "source": row["source"]})
