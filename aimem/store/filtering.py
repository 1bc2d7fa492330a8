"""A filter as a condition in SQL, on the record `r`: what counts and who may see it. How a term is said is a dialect's.

The rule itself stands in `core.reach` and `core.visibility`; it is put into SQL here alone, for every store of tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from aimem.core.automatic import RANK
from aimem.core.namespace import inbox_of
from aimem.core.reach import Reach
from aimem.core.visibility import View, view_from
from aimem.store.base import Filter


class Condition(ABC):
    """One filter in one dialect: `terms` must all hold, `values` are their parameters."""

    visible: ClassVar[str]
    """Reads may show it."""
    scope: ClassVar[str]
    author: ClassVar[str]

    def __init__(self, which: Filter) -> None:
        self.values: dict[str, Any] = {}
        self.terms = [self.visible, f"(r.expires IS NULL OR r.expires > {self._given('now', which.now)})"]
        self._narrow(which)
        if which.visible_from is not None:
            self.terms.append(
                _any([f"{self.scope} = 'collective'", *self._viewed(view_from(which.visible_from), "as")])
            )
        if which.reach is not None:
            self.terms += self._reached(which.reach)

    def __str__(self) -> str:
        return " AND ".join(self.terms)

    def _narrow(self, which: Filter) -> None:
        """What the caller asks for."""
        if which.namespaces is not None:
            self.terms.append(self._among("r.namespace", "namespaces", which.namespaces))
        if which.tier is not None:
            self.terms.append(f"r.tier = {self._given('tier', RANK[which.tier])}")
        if which.min_priority is not None:
            self.terms.append(f"r.priority >= {self._given('priority', which.min_priority)}")
        if which.since is not None:
            self.terms.append(f"r.created >= {self._given('since', which.since)}")
        if which.until is not None:
            self.terms.append(f"r.created <= {self._given('until', which.until)}")
        if which.tag is not None:
            self.terms.append(self._tagged("tag", which.tag))
        if which.agent_id is not None:
            self.terms.append(f"{self.author} = {self._text('agent', which.agent_id)}")

    def _viewed(self, view: View, prefix: str) -> list[str]:
        """Conditions any of which brings a memory that is not collective into a view."""
        seen = [f"{self.scope} = 'private' AND r.namespace = {self._text(f'{prefix}_own', view.own)}"]
        for level, root in view.subtrees:
            seen.append(f"{self.scope} = '{level}' AND {self._inside(f'{prefix}_{level}', root)}")
        return seen

    def _inside(self, name: str, root: str) -> str:
        """The namespace is this one, or below it."""
        whole = self._text(name, root)
        return f"(r.namespace = {whole} OR r.namespace >= {whole} || '/' AND r.namespace < {whole} || '0')"

    def _reached(self, reach: Reach) -> list[str]:
        """Conditions all of which bring a memory into a reach: see `Reach.shows`."""
        who = reach.identity
        covered = [self._covered(f"namespace{index}", pattern) for index, pattern in enumerate(who.namespaces)]
        exactly = self._among("r.namespace", "exactly", who.namespaces)
        seen = [f"{self.scope} = 'collective'", f"{self.scope} = 'private' AND {exactly}"]
        for index, agent in enumerate(who.agents):
            for column, name, whole in ((self.author, "agent", agent), ("r.namespace", "inbox", inbox_of(agent))):
                asked = self._text(f"{name}{index}", whole.removesuffix("*"))
                seen.append(self._begins(column, asked) if agent.endswith("*") else f"{column} = {asked}")
        if reach.view is not None:
            seen += self._viewed(reach.view, "home")
        if not reach.granted:
            return [_any(covered), _any(seen)]
        granted = self._among("r.key || ' ' || r.born", "granted", [f"{key} {born}" for key, born in reach.granted])
        return [_any([f"{_any(covered)} AND {_any(seen)}", granted])]

    def _covered(self, name: str, pattern: str) -> str:
        """The namespace is one that a pattern of an allowlist covers."""
        path = pattern.removesuffix("/**")
        if pattern == "**":
            return "1 = 1"
        if "*" in path:
            return self._matches(name, pattern)
        return f"r.namespace = {self._text(name, path)}" if path == pattern else self._inside(name, path)

    def _given(self, name: str, value: Any) -> str:
        """A parameter of that value."""
        self.values[name] = value
        return self._parameter(name)

    # How a dialect says it.

    @abstractmethod
    def _parameter(self, name: str) -> str:
        """The parameter of a name."""

    @abstractmethod
    def _text(self, name: str, value: str) -> str:
        """A parameter that is a text."""

    @abstractmethod
    def _among(self, column: str, name: str, texts: Sequence[str]) -> str:
        """A column is one of these."""

    @abstractmethod
    def _tagged(self, name: str, tag: str) -> str:
        """It has this tag."""

    @abstractmethod
    def _begins(self, column: str, text: str) -> str:
        """A column begins with a text."""

    @abstractmethod
    def _matches(self, name: str, pattern: str) -> str:
        """The namespace matches a pattern in which `*` stands for one segment, and `/**` for all below."""


def _any(conditions: Sequence[str]) -> str:
    return f"({' OR '.join(conditions)})"
