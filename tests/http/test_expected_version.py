"""Storing on what the caller last saw: a memory that was changed since is not written over."""

from __future__ import annotations

from .conftest import Checked

NEW = {"title": "A", "content": "x"}


def test_a_store_upon_the_version_that_stands_is_taken(api: Checked) -> None:
    seen = api.ok("POST", "/memories", NEW)["version"]
    seen = api.ok("POST", "/memories", NEW, If_Match=f'"{seen}"')["version"]
    api.ok("POST", "/memories", {**NEW, "expected_version": seen})


def test_a_store_upon_an_older_version_is_refused_with_the_one_that_stands(api: Checked) -> None:
    seen = api.ok("POST", "/memories", NEW)["version"]
    current = api.ok("POST", "/memories", {**NEW, "content": "y"})["version"]
    refusal = api.refused(409, "POST", "/memories", NEW, If_Match=f'"{seen}"')
    assert (refusal["code"], refusal["current"]) == ("version_conflict", current)
    absent = api.refused(409, "POST", "/memories", {**NEW, "title": "B"}, If_Match=f'"{seen}"')
    assert (absent["code"], absent["current"]) == ("version_conflict", None)


def test_each_row_of_a_bulk_names_its_own(api: Checked) -> None:
    seen = api.ok("POST", "/memories", NEW)["version"]
    row = {**NEW, "expected_version": seen}
    outcome = api.ok("POST", "/memories/bulk", [row, row, {**NEW, "title": "B"}])
    assert [each["status"] for each in outcome["results"]] == [201, 409, 201]
    assert outcome["results"][1]["current"] == outcome["results"][0]["version"]
