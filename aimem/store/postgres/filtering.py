"""A filter as a condition in SQL: what counts and who may see it, on the record `r`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aimem.core.automatic import RANK
from aimem.core.namespace import inbox_of
from aimem.core.reach import Reach
from aimem.core.visibility import View, view_from
from aimem.store.base import Filter
from aimem.store.postgres.text import stored

_ALIVE = "r.visible AND (r.expires IS NULL OR r.expires > %(now)s)"


def where(which: Filter) -> tuple[str, dict[str, Any]]:
    """A filter as a condition on the record `r`, and its parameters."""
    terms, values = [_ALIVE], dict[str, Any](now=which.now)

    def require(condition: str, **more: Any) -> None:
        terms.append(condition)
        values.update(more)

    if which.namespaces is not None:
        require("r.namespace = ANY(%(namespaces)s::text[])", namespaces=list(map(stored, which.namespaces)))
    if which.tier is not None:
        require("r.tier = %(tier)s", tier=RANK[which.tier])
    if which.min_priority is not None:
        require("r.priority >= %(priority)s", priority=which.min_priority)
    if which.since is not None:
        require("r.created >= %(since)s", since=which.since)
    if which.until is not None:
        require("r.created <= %(until)s", until=which.until)
    if which.tag is not None:
        require("%(tag)s = ANY(r.tags)", tag=stored(which.tag))
    if which.agent_id is not None:
        require("r.agent = %(agent)s", agent=stored(which.agent_id))
    if which.visible_from is not None:
        require(_any(["r.scope = 'collective'", *_viewed(view_from(which.visible_from), "as", values)]))
    if which.reach is not None:
        terms.extend(_reached(which.reach, values))
    return " AND ".join(terms), values


def _any(conditions: Sequence[str]) -> str:
    return f"({' OR '.join(conditions)})"


def _inside(name: str) -> str:
    """The namespace is the one of this parameter, or below it."""
    whole = f"%({name})s::text"
    return f"(r.namespace = {whole} OR r.namespace >= {whole} || '/' AND r.namespace < {whole} || '0')"


def _viewed(view: View, prefix: str, values: dict[str, Any]) -> list[str]:
    """Conditions any of which brings a memory that is not collective into a view; their parameters go to `values`."""
    values[f"{prefix}_own"] = stored(view.own)
    seen = [f"r.scope = 'private' AND r.namespace = %({prefix}_own)s"]
    for level, root in view.subtrees:
        values[f"{prefix}_{level}"] = stored(root)
        seen.append(f"r.scope = '{level}' AND {_inside(f'{prefix}_{level}')}")
    return seen


def _reached(reach: Reach, values: dict[str, Any]) -> list[str]:
    """Conditions all of which bring a memory into a reach: see `Reach.shows`."""
    who, covered = reach.identity, list[str]()
    for index, pattern in enumerate(who.namespaces):
        name, path = f"namespace{index}", pattern.removesuffix("/**")
        if pattern == "**":
            covered.append("true")
        elif "*" in path:
            values[name] = _expression(path, below=path != pattern)
            covered.append(f"r.namespace ~ %({name})s")
        else:
            values[name] = stored(path)
            covered.append(f"r.namespace = %({name})s" if path == pattern else _inside(name))
    seen = ["r.scope = 'collective'", "r.scope = 'private' AND r.namespace = ANY(%(exactly)s::text[])"]
    values["exactly"] = list(map(stored, who.namespaces))
    for index, agent in enumerate(who.agents):
        for column, name, whole in (("r.agent", "agent", agent), ("r.namespace", "inbox", inbox_of(agent))):
            values[f"{name}{index}"] = stored(whole.removesuffix("*"))
            asked = f"%({name}{index})s"
            seen.append(f"starts_with({column}, {asked})" if agent.endswith("*") else f"{column} = {asked}")
    if reach.view is not None:
        seen += _viewed(reach.view, "home", values)
    if not reach.granted:
        return [_any(covered), _any(seen)]
    values["granted"] = [stored(f"{key} {born}") for key, born in reach.granted]
    granted = "r.key || ' ' || r.born = ANY(%(granted)s::text[])"
    return [_any([f"{_any(covered)} AND {_any(seen)}", granted])]


def _expression(path: str, *, below: bool) -> str:
    """A path in which `*` stands for one segment, as a regular expression of the server."""
    segments = ("[^/]*" if segment == "*" else re.sub(r"(\W)", r"\\\1", stored(segment)) for segment in path.split("/"))
    return f"^(?:{'/'.join(segments)}){'(?:/.*)?' if below else ''}$"
