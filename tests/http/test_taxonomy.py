"""Namespaces as a tree."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Checked

PLACES = {"ops": 1, "ops/rack-a": 2, "ops/rack-b/x": 1, "ops_": 1, "opsx": 1, "o%s/y": 1}


@pytest.fixture
def held(api: Checked) -> Checked:
    for place, count in PLACES.items():
        for number in range(count):
            api.ok("POST", "/memories", {"title": f"{number}", "content": "x", "namespace": place})
    return api


def flat(node: dict[str, Any]) -> dict[str, tuple[int, int]]:
    found = {node["namespace"]: (node["count"], node["subtree_count"])}
    for child in node["children"]:
        assert child["name"] == child["namespace"].rpartition("/")[2]
        found |= flat(child)
    return found


def tree(api: Checked, **query: str) -> dict[str, Any]:
    return api.ok("GET", "/taxonomy", query=query)


def test_what_is_between_is_there_and_sums_are_whole(held: Checked) -> None:
    found = tree(held)
    assert (found["total_count"], found["truncated"]) == (7, False)
    assert flat(found["tree"]) == {
        "": (0, 7),
        "ops": (1, 4),
        "ops/rack-a": (2, 2),
        "ops/rack-b": (0, 1),
        "ops/rack-b/x": (1, 1),
        "ops_": (1, 1),
        "opsx": (1, 1),
        "o%s": (0, 1),
        "o%s/y": (1, 1),
    }


@pytest.mark.parametrize(("prefix", "total"), [("ops", 4), ("ops/", 4), ("ops_", 1), ("o%s", 1), ("op", 0), ("x/y", 0)])
def test_a_prefix_is_a_namespace_and_no_pattern(held: Checked, prefix: str, total: int) -> None:
    """B-34."""
    found = tree(held, prefix=prefix)
    assert found["tree"]["namespace"] == prefix.removesuffix("/")
    assert found["total_count"] == found["tree"]["subtree_count"] == total


def test_depth_and_limit_cut_what_is_shown_and_no_sum(held: Checked) -> None:
    assert flat(tree(held, prefix="ops", depth="1")["tree"]) == {
        "ops": (1, 4),
        "ops/rack-a": (2, 2),
        "ops/rack-b": (0, 1),
    }
    assert flat(tree(held, depth="0")["tree"]) == {"": (0, 7)}
    found = tree(held, limit="1")
    assert flat(found["tree"]) == {"": (0, 7), "ops": (1, 4), "ops/rack-a": (2, 2)}
    assert (found["truncated"], found["total_count"]) == (True, 7)


def test_only_what_lives_is_counted(held: Checked) -> None:
    held.ok("POST", "/forget", {"namespace": "ops/rack-a"})
    assert tree(held, prefix="ops")["total_count"] == 2


@pytest.mark.parametrize("query", [{"limit": "0"}, {"depth": "-1"}, {"prefix": "a//b"}, {"limit": "many"}])
def test_what_can_not_be_asked_is_refused(api: Checked, query: dict[str, str]) -> None:
    api.refused(400, "GET", "/taxonomy", query=query)
