"""The tree of namespaces, made from the flat list of those in use. What stands between two of them has no memories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from aimem.core.namespace import depth, is_within, lineage


def taxonomy(counts: Iterable[tuple[str, int]], prefix: str | None, levels: int, limit: int) -> dict[str, Any]:
    """The namespaces at and below `prefix` (all without one) as a tree, at most so many `levels` below it.

    `counts` are names with their memories; the first `limit` of those that fit are shown, and `truncated` tells that
    there are more. The numbers also count what is not shown: `count` in a namespace itself, `subtree_count` with all
    that is below it. So cutting changes none of them.
    """
    inside = {name: count for name, count in counts if prefix is None or is_within(name, prefix)}
    root, base = prefix or "", 0 if prefix is None else depth(prefix)
    below: Counter[str] = Counter()
    for name, count in inside.items():
        for place in _below(name, base):
            below[place] += count
    total = sum(inside.values())
    nodes = {root: _node(root, inside.get(root, 0), total)}
    shown = {place for name in list(inside)[:limit] for place in _below(name, base) if depth(place) <= base + levels}
    for place in sorted(shown, key=lambda each: each.split("/")):  # a parent before its children
        nodes[place] = _node(place, inside.get(place, 0), below[place])
        parent = root if depth(place) == base + 1 else place.rpartition("/")[0]
        nodes[parent]["children"].append(nodes[place])
    return {"tree": nodes[root], "total_count": total, "truncated": len(inside) > limit}


def _below(name: str, base: int) -> list[str]:
    """The namespace and its ancestors, as far as they are deeper than `base`."""
    return [place for place in lineage(name) if depth(place) > base]


def _node(namespace: str, count: int, below: int) -> dict[str, Any]:
    name = namespace.rpartition("/")[2]
    return {"namespace": namespace, "name": name, "count": count, "subtree_count": below, "children": []}
