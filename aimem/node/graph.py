"""The graph of memories and links: what is found from one memory, what became of its links, what it was made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from aimem.core.graph import Path, Step, clean_graph_query, event_json, since, steps
from aimem.core.kinds import MEMORY
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.errors import Invalid, NotFound
from aimem.limits import GRAPH_DEPTH_MAX, GRAPH_LIMIT_DEFAULT, GRAPH_LIMIT_MAX, LINEAGE_NODES_MAX
from aimem.node import parameters
from aimem.node.ids import known_id
from aimem.node.lookup import Lookup
from aimem.node.parameters import Parameters
from aimem.node.seeing import seen
from aimem.store.base import Store

_DERIVED: Final = "derived_from"
_DESCENT: Final = (_DERIVED, "supersedes")
_ANCESTORS: Final = "ancestors"
_DIRECTIONS: Final = (_ANCESTORS, "descendants")


class Graph:
    """Query, timeline, lineage. Of links and memories that the caller does not see nothing is told."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._made_of = Lookup(store, MEMORY, _sources_of)

    async def query(self, raw: Any, reach: Reach | None) -> dict[str, Any]:
        """The links out of a memory, out of what they lead to, and so on: those nearest first, then by time. Each link
        comes once, with one of the shortest paths. None for a memory that is not there."""
        asked, now = clean_graph_query(raw), self._now()
        source = await self._id_or_given(asked.source_id, reach)
        found: list[Step] = []
        paths: dict[str, Path] = {source: (source,)}
        visited = {source}
        for _ in range(asked.depth):
            links = await self._links(list(paths), reach)
            found += steps(links, paths, visited, lambda link: asked.follows(link, now))
            paths = {step.path[-1]: step.path for step in reversed(found) if step.path[-1] not in visited}
            visited |= paths.keys()
            if not paths or len(found) >= asked.limit:
                break
        rows = await self._rows([(step.link, step.path) for step in found[: asked.limit]])
        return {
            "source_id": source,
            "max_depth": asked.depth,
            "memories": rows,
            "paths": [row["path"] for row in rows],
            "count": len(rows),
        }

    async def timeline(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """The links out of a memory, ended ones too, by the time since when they hold."""
        named = parameters.text(params, "source_id")
        if not named:
            raise Invalid("source_id is missing")
        limit = parameters.count(params, "limit", GRAPH_LIMIT_DEFAULT, GRAPH_LIMIT_MAX)
        if limit == 0:
            raise Invalid("limit is 0; at least 1")
        begin, end = parameters.instant(params, "since"), parameters.instant(params, "until")
        source = await self._id_or_given(named, reach)
        links = [each for each in await self._links([source], reach) if each.body["source_id"] == source]
        fitting = [
            each for each in links if (begin is None or since(each) >= begin) and (end is None or since(each) <= end)
        ]
        fitting.sort(key=lambda each: (since(each), each.key))
        events = await self._rows([(each, None) for each in fitting[:limit]])
        return {"source_id": source, "events": events, "count": len(events)}

    async def lineage(self, memory_id: str, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """What a memory was made of (`ancestors`) or what was made of it (`descendants`): by links that say
        derived_from or supersedes, and by `derived_from` in metadata, which names what a consolidation took in. `cid`
        is the hash of a content, null where that is not there any more.

        Raises:
            NotFound: there is no such memory.
        """
        direction = parameters.text(params, "direction") or _ANCESTORS
        if direction not in _DIRECTIONS:
            raise Invalid(f"direction is {direction[:64]!r}; one of {', '.join(_DIRECTIONS)}")
        deepest = parameters.count(params, "max_depth", GRAPH_DEPTH_MAX, GRAPH_DEPTH_MAX)
        source = await known_id(self._store, memory_id, reach)
        visited, edge, nodes = {source}, [source], list[dict[str, Any]]()
        for depth in range(1, deepest + 1):
            edge = await self._descent(edge, visited, depth, nodes, reach, up=direction == _ANCESTORS)
            if not edge or len(nodes) >= LINEAGE_NODES_MAX:
                break
        nodes = nodes[:LINEAGE_NODES_MAX]
        return {"id": source, "direction": direction, "nodes": nodes, "count": len(nodes)}

    async def _descent(
        self,
        edge: Sequence[str],
        visited: set[str],
        depth: int,
        nodes: list[dict[str, Any]],
        reach: Reach | None,
        *,
        up: bool,
    ) -> list[str]:
        """Add the nodes one step beyond `edge`; the ids of those that are there, to go on from."""
        near, far = ("source_id", "target_id") if up else ("target_id", "source_id")
        starts = set(edge)
        relations = {
            link.body[far]: link.body["relation"]
            for link in await self._links(edge, reach)
            if link.body["relation"] in _DESCENT and link.body[near] in starts
        }
        for memory_id in edge:
            for other in await self._named(memory_id, up=up):
                relations.setdefault(other, _DERIVED)
        fresh = [each for each in relations if each not in visited][:LINEAGE_NODES_MAX]
        visited.update(fresh)
        held = await self._store.get([Ref(MEMORY, each) for each in fresh])
        there = {each.key for each in await seen(self._store, [one for one in held if one is not None], reach)}
        onward = []
        for other, record in zip(fresh, held, strict=True):
            is_there = record is not None and not record.deleted and other in there
            if not up and not is_there:
                continue
            cid = _content_id(record) if record is not None and is_there else None
            nodes.append({"id": other, "cid": cid, "relation": relations[other], "depth": depth})
            if is_there:
                onward.append(other)
        return onward

    async def _named(self, memory_id: str, *, up: bool) -> Sequence[str]:
        """The memories that metadata name as sources of this one, or those whose metadata name this one."""
        if not up:
            return await self._made_of.of(memory_id)
        (held,) = await self._store.get([Ref(MEMORY, memory_id)])
        return [] if held is None else _sources_of(held)

    async def _links(self, ids: Sequence[str], reach: Reach | None) -> list[Record]:
        return await seen(self._store, await self._store.links(ids), reach)

    async def _rows(self, found: Sequence[tuple[Record, Path | None]]) -> list[dict[str, Any]]:
        targets = await self._store.memories([link.body["target_id"] for link, _ in found])
        rows = []
        for (link, path), target in zip(found, targets, strict=True):
            if target is not None:  # else it has gone since its link was read
                along = {} if path is None else {"depth": len(path) - 1, "path": "->".join(path)}
                rows.append({**event_json(link, target.record.body), **along})
        return rows

    async def _id_or_given(self, named: str, reach: Reach | None) -> str:
        try:
            return await known_id(self._store, named, reach)
        except NotFound:
            return named


def _sources_of(record: Record) -> list[str]:
    """What a memory's metadata say that it was made of."""
    if record.deleted or b'"derived_from"' not in record.raw:  # parsing every body would cost too much
        return []
    metadata = record.body.get("metadata")
    named = metadata.get(_DERIVED) if isinstance(metadata, dict) else None
    return [each for each in named if isinstance(each, str)] if isinstance(named, list) else []


def _content_id(record: Record) -> str:
    return hashlib.sha256(str(record.body["content"]).encode()).hexdigest()
