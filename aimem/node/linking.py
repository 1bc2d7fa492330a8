"""Links: made, ended, removed and listed."""

from __future__ import annotations

from functools import partial
from typing import Any

from aimem.core import links
from aimem.core.fields import check_id
from aimem.core.links import Linked, LinkSpec, link_json
from aimem.core.reach import Reach
from aimem.core.timestamp import format_timestamp
from aimem.core.writes import Answer, answered
from aimem.errors import NotFound
from aimem.node.caller import Caller
from aimem.node.ids import by_prefix
from aimem.node.lane import CallersLane
from aimem.node.seeing import seen
from aimem.store.base import Store


class Linking:
    """Links between memories."""

    def __init__(self, store: Store, lane: CallersLane) -> None:
        self._store = store
        self._lane = lane

    async def create(self, raw: Any, caller: Caller) -> Answer:
        """Link two memories: 201, also when they were linked already."""
        spec = links.clean_link(raw)
        intent = links.create_link(spec, caller.claim())
        return await self._answered("link", raw, caller, intent, _linked)

    async def remove(self, raw: Any, caller: Caller) -> Answer:
        """Remove one relation, or without one all links between the two: 200, whether or not there was one."""
        spec = links.clean_link(raw, default_relation=None)
        return await self._answered("unlink", raw, caller, links.remove_link(spec), _removed)

    async def invalidate(self, raw: Any, caller: Caller) -> Answer:
        """Say that a link no longer holds: 200, or 404 when there is none."""
        spec = links.clean_link(raw)
        try:
            render = partial(_invalidated, spec)
            return await self._answered("invalidate", raw, caller, links.invalidate_link(spec), render)
        except NotFound:
            return Answer(404, {**_named(spec), "found": False, "error": "no such link", "code": NotFound.code})

    async def listed(self, memory_id: str, reach: Reach | None) -> dict[str, Any]:
        """The links from and to a memory, by its id or unique prefix. None for a memory that is not there."""
        (memory,) = await self._store.memories([check_id(memory_id)])
        if memory is None:
            try:
                memory_id = await by_prefix(self._store, memory_id, reach)
            except NotFound:
                return {"links": []}
        found = await self._store.links([memory.record.key if memory is not None else memory_id])
        return {"links": [link_json(each) for each in await seen(self._store, found, reach)]}

    async def _answered(self, name: str, raw: Any, caller: Caller, intent: Any, render: Any) -> Answer:
        answer: Answer = await self._lane.of(caller).one(answered(intent, render, caller.once(name, None, raw)))
        return answer


def _linked(linked: Linked) -> tuple[int, dict[str, Any]]:
    return 201, {"linked": True, **link_json(linked.record), "version": str(linked.record.version)}


def _removed(count: int) -> tuple[int, dict[str, Any]]:
    return 200, {"deleted": count > 0, "count": count}


def _named(spec: LinkSpec) -> dict[str, Any]:
    return {
        "source_id": spec.source_id,
        "target_id": spec.target_id,
        "relation": spec.relation,
        "valid_until": None,
        "previous_valid_until": None,
    }


def _invalidated(spec: LinkSpec, linked: Linked) -> tuple[int, dict[str, Any]]:
    before = linked.before.body.get("valid_until") if linked.before is not None else None
    return 200, {
        **_named(spec),
        "found": True,
        "valid_until": format_timestamp(linked.record.body["valid_until"]),
        "previous_valid_until": None if before is None else format_timestamp(before),
        "version": str(linked.record.version),
    }
