"""Walking the links between memories: what is asked of a walk, and the one step that every walk repeats.

A walk goes breadth first and expands each memory once, however many paths lead to it: its cost is the number of links
it meets, not the number of paths. Reading the links is the caller's; this is the rule alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from aimem.core.fields import integer_of, object_of, required, text_of, wrong_shape
from aimem.core.links import is_valid
from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp, parse_timestamp
from aimem.errors import Invalid
from aimem.limits import GRAPH_DEPTH_MAX, GRAPH_LIMIT_DEFAULT, GRAPH_LIMIT_MAX

Path = tuple[str, ...]


class GraphQuery(NamedTuple):
    """What a query of the graph asks. `valid_at` (ns): links that held then, None for those that hold now; `observers`:
    only links that one of these agents made, None for all."""

    source_id: str
    depth: int
    valid_at: int | None
    observers: frozenset[str] | None
    limit: int

    def follows(self, link: Record, now: int) -> bool:
        """Whether a link counts."""
        if self.observers is not None and link.body.get("observed_by") not in self.observers:
            return False
        if self.valid_at is None:
            return is_valid(link, now)
        return since(link) <= self.valid_at and is_valid(link, self.valid_at)


class Step(NamedTuple):
    """A link that was followed, and the memories on the way to its far end, that included."""

    link: Record
    path: Path


def clean_graph_query(raw: Any) -> GraphQuery:
    """The query that a request is.

    Raises:
        WrongShape: a field is missing or of the wrong type, or the depth is out of its bounds (wire). Invalid: a time
            can't be read, or the limit is not positive.
    """
    fields = object_of(raw)
    depth = fields.get("max_depth")
    depth = 1 if depth is None else integer_of(depth, "max_depth")
    if not 1 <= depth <= GRAPH_DEPTH_MAX:
        raise wrong_shape("max_depth", f"from 1 to {GRAPH_DEPTH_MAX}", depth)
    limit = fields.get("limit")
    limit = GRAPH_LIMIT_DEFAULT if limit is None else integer_of(limit, "limit")
    if limit < 1:
        raise Invalid(f"limit is {limit}; at least 1")
    agents = fields.get("allowed_agents")
    if agents is not None and not isinstance(agents, list):
        raise wrong_shape("allowed_agents", "a list of agent ids", agents)
    at = fields.get("valid_at")
    return GraphQuery(
        source_id=text_of(required(fields, "source_id"), "source_id"),
        depth=depth,
        valid_at=None if at is None else parse_timestamp(text_of(at, "valid_at"), "valid_at"),
        observers=None if agents is None else frozenset(text_of(each, "allowed_agents[]") for each in agents),
        limit=min(limit, GRAPH_LIMIT_MAX),
    )


def since(link: Record) -> int:
    """Since when a link holds, in ns: as far as is known, since it was made."""
    begin: int | None = link.body.get("valid_from")
    made: int = link.body["created_at"]
    return made if begin is None else begin


def steps(
    links: Iterable[Record], paths: Mapping[str, Path], visited: set[str], counts: Callable[[Record], bool]
) -> list[Step]:
    """The steps out of the memories that `paths` lead to, by those links that count, to memories that are not
    `visited` yet: by time, then key."""
    found = [
        Step(link, (*paths[link.body["source_id"]], link.body["target_id"]))
        for link in links
        if link.body["source_id"] in paths and link.body["target_id"] not in visited and counts(link)
    ]
    return sorted(found, key=lambda step: (since(step.link), step.link.key))


def event_json(link: Record, target: Mapping[str, Any]) -> dict[str, Any]:
    """A link as seen from its source; `target` is the body of the memory at its far end."""
    until = link.body.get("valid_until")
    return {
        "target_id": link.body["target_id"],
        "relation": link.body["relation"],
        "valid_from": format_timestamp(since(link)),
        "valid_until": None if until is None else format_timestamp(until),
        "observed_by": link.body.get("observed_by"),
        "title": target["title"],
        "target_namespace": target["namespace"],
    }
