"""Namespaces and who sees what in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.namespace import check_namespace, depth, is_within, lineage, recall_namespaces
from aimem.core.visibility import SCOPES, scope_of, view_from
from aimem.errors import Invalid

NAMES = st.lists(st.sampled_from(["a", "b", "ab", "a_", "a%", "a-b", "a.b", "é"]), min_size=1, max_size=5).map("/".join)


@pytest.mark.parametrize(
    "name",
    ["global", "*", "a/b/c/d/e/f/g/h", "_messages/bob", "a%_", "Ünïcode/日本", "...", "x" * 512, "a:b@c", "-"],
)
def test_takes_names(name: str) -> None:
    assert check_namespace(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("\u3000", "empty"),
        ("x" * 513, "513 characters long; at most 512"),
        ("a b", "U\\+0020 at character 2"),
        ("a\\b", "U\\+005C"),
        ("a\0", "U\\+0000"),
        ("a\tb", "U\\+0009"),
        ("a\x7f", "U\\+007F"),
        ("a\x85", "U\\+0085"),
        ("a\ud800", "U\\+D800"),
        ("/a", "empty segment"),
        ("a/", "empty segment"),
        ("a//b", "empty segment"),
        ("/", "empty segment"),
        (".", "'.' or '..'"),
        ("a/../b", "'.' or '..'"),
        ("a/b/c/d/e/f/g/h/i", "9 segments deep; at most 8"),
    ],
)
def test_refuses_names_and_says_why(name: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        check_namespace(name)


def test_lineage() -> None:
    assert lineage("a/b/c") == ("a/b/c", "a/b", "a")
    assert [depth(name) for name in lineage("a/b/c")] == [3, 2, 1]
    assert recall_namespaces("a/b") == ("a/b", "a")
    assert recall_namespaces("global") == ("global",)


@given(NAMES, NAMES)
def test_within_is_lineage_and_range(name: str, root: str) -> None:
    below = f"{root}/" <= name < f"{root}0"  # as stores search a sorted index: "0" follows "/"
    assert is_within(name, root) == (root in lineage(name)) == (name == root or below)


# wire-level examples: what a reader at a/b/c or elsewhere sees.
@pytest.mark.parametrize(
    ("reader", "scope", "namespace", "seen"),
    [
        ("a/b/c", "private", "a/b/c", True),
        ("a/b/d", "private", "a/b/c", False),
        ("a/b/c", "private", "a/b/c/d", False),
        ("a/b/c", "team", "a/b/c", True),
        ("a/b/d", "team", "a/b/c", True),
        ("a/b/c", "team", "a/b", True),
        ("a/b/c", "team", "a/bb", False),
        ("a/b/c", "team", "a/x", False),
        ("a/b/c", "unit", "a/x", True),
        ("a/b/c", "unit", "a", True),
        ("a/b/c", "unit", "aa", False),
        ("a/b/c", "org", "z", False),
        ("a/b/c", "org", "a/b/c", False),
        ("a/b/c/d", "org", "a/z/y", True),
        ("a/b/c/d/e", "org", "a/z", False),
        ("a/b/c", "collective", "anything", True),
        ("x", "private", "x", True),
        ("x", "team", "x", False),
        ("x", "collective", "y", True),
        ("a/b/c", "galaxy", "a/b/c", False),
        ("a/b/c", "", "a/b/c", False),
    ],
)
def test_scopes(reader: str, scope: str, namespace: str, seen: bool) -> None:
    assert view_from(reader).sees(scope, namespace) is seen


def test_view_as_data() -> None:
    view = view_from("acme/eng/platform/alice")
    assert view.own == "acme/eng/platform/alice"
    assert view.subtrees == (("team", "acme/eng/platform"), ("unit", "acme/eng"), ("org", "acme"))
    with pytest.raises(Invalid, match="as_agent"):
        view_from("a//b")


def test_scope_of_metadata() -> None:
    assert scope_of({}) == scope_of({"scope": None}) == "private"
    assert [scope_of({"scope": scope}) for scope in SCOPES] == list(SCOPES)
    assert not view_from("a").sees(scope_of({"scope": ["collective"]}), "a")
