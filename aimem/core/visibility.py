"""Scopes: what a reader who stands at a namespace path sees of the memories.

Each memory has a scope in its metadata; a reader's path and the scope decide. This is the rule alone, as a predicate
and as data from which a store builds its filter; whether a reader stands where it says is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aimem.core.namespace import check_namespace, is_within, lineage

PRIVATE, TEAM, UNIT, ORG, COLLECTIVE = "private", "team", "unit", "org", "collective"
SCOPES = (PRIVATE, TEAM, UNIT, ORG, COLLECTIVE)

_LEVELS = (TEAM, UNIT, ORG)  # visible from the parent, the grandparent, the great-grandparent down


class View(NamedTuple):
    """What one reader sees: `private` in exactly `own`; each scope of `subtrees` in and below its root; `collective`
    everywhere; nothing else."""

    own: str
    subtrees: tuple[tuple[str, str], ...]

    def sees(self, scope: str, namespace: str) -> bool:
        """True when a memory of this scope in this namespace is visible."""
        if scope == COLLECTIVE:
            return True
        if scope == PRIVATE:
            return namespace == self.own
        return any(scope == level and is_within(namespace, root) for level, root in self.subtrees)


def view_from(path: str) -> View:
    """The view of a reader at a namespace path. A scope whose ancestor the path is too short to have sees nothing.

    Raises:
        Invalid: when the path is not a namespace.
    """
    own, *ancestors = lineage(check_namespace(path, "as_agent"))
    return View(own, tuple(zip(_LEVELS, ancestors, strict=False)))


def scope_of(metadata: Mapping[str, Any]) -> str:
    """The scope that a memory's metadata gives it: `private` without one. Whatever is no known scope is visible to no
    reader with a view, so a typing error hides and never reveals."""
    scope = metadata.get("scope")
    if scope is None:
        return PRIVATE
    return scope if isinstance(scope, str) else ""
