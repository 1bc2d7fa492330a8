"""Reads that need no ranking: one memory, lists, word search, namespaces, figures, and the change feed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aimem.core.feed import parse_cursor
from aimem.core.fields import check_id
from aimem.core.links import link_json
from aimem.core.namespace import check_namespace
from aimem.core.reach import Reach
from aimem.core.record import to_wire
from aimem.core.subscriptions import shown_record
from aimem.core.taxonomy import taxonomy
from aimem.core.text import search_terms
from aimem.core.wire import list_reply, memory_reply, search_reply
from aimem.errors import Invalid, NotFound
from aimem.limits import (
    CHANGES_BYTES_MAX,
    CHANGES_LIMIT_DEFAULT,
    CHANGES_LIMIT_MAX,
    LIST_LIMIT_DEFAULT,
    LIST_LIMIT_MAX,
    NAMESPACE_DEPTH_MAX,
    TAXONOMY_LIMIT_DEFAULT,
    TAXONOMY_LIMIT_MAX,
)
from aimem.node import parameters
from aimem.node.ids import by_prefix
from aimem.node.parameters import Parameters
from aimem.node.seeing import seen
from aimem.node.touching import Touching
from aimem.store.base import Memory, Store, Words

_OFFSET_MAX = (1 << 63) - 1


class Reading:
    """Get, list, search, namespaces, stats, changes."""

    def __init__(self, store: Store, touching: Touching, now: Callable[[], int]) -> None:
        self._store = store
        self._touching = touching
        self._now = now

    async def get(self, memory_id: str, reach: Reach | None) -> dict[str, Any]:
        """One memory, by id or by a prefix that only it has; also when it has expired and is not yet ended.

        Raises:
            NotFound: there is none. Ambiguous: several ids start so.
        """
        (memory,) = await self._store.memories([check_id(memory_id)])
        if memory is None:
            (memory,) = await self._store.memories([await by_prefix(self._store, memory_id, reach)])
        # It may be deleted since its prefix was looked up.
        if memory is None or (reach is not None and not reach.shows(memory.record)):
            raise NotFound("not found")
        links = await seen(self._store, await self._store.links([memory.record.key]), reach)
        return memory_reply(self.shown(memory), [link_json(each) for each in links])

    async def list(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """Memories that pass the filter, by priority and time of last write."""
        limit = parameters.count(params, "limit", LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX)
        offset = parameters.count(params, "offset", 0, _OFFSET_MAX)
        found = await self._store.select(parameters.memory_filter(params, self._now(), reach), limit, offset)
        return list_reply([self.shown(each) for each in found])

    async def search(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """Memories that hold all the words of `q` in title, content or tags, best first."""
        query = parameters.question(params, "q")
        limit = parameters.count(params, "limit", LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX)
        words = Words(search_terms(query), all_of=True, everywhere=False)
        hits = await self._store.match(words, parameters.memory_filter(params, self._now(), reach), limit)
        found = await self._store.by_rows([hit.row for hit in hits])
        return search_reply([self.shown(each) for each in found if each is not None], query)

    async def namespaces(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """Namespaces with the number of their memories."""
        found = await self._store.namespaces(self._now(), reach)
        return {"namespaces": [{"namespace": each.name, "count": each.memories} for each in found]}

    async def taxonomy(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """The namespaces at and below `prefix` as a tree, `depth` levels of it; the largest `limit` of them."""
        prefix = parameters.text(params, "prefix")
        prefix = check_namespace(prefix.removesuffix("/"), "prefix") if prefix else None
        levels = parameters.count(params, "depth", NAMESPACE_DEPTH_MAX, NAMESPACE_DEPTH_MAX)
        limit = parameters.count(params, "limit", TAXONOMY_LIMIT_DEFAULT, TAXONOMY_LIMIT_MAX)
        if limit == 0:
            raise Invalid("limit is 0; a tree shows at least one namespace")
        found = await self._store.namespaces(self._now(), reach)
        return taxonomy([(each.name, each.memories) for each in found], prefix, levels, limit)

    async def stats(self, reach: Reach | None) -> dict[str, Any]:
        """Figures of the whole store, or of what the caller sees of it."""
        stats = await self._store.stats(self._now(), reach)
        return {
            "total": stats.total,
            "by_tier": [{"tier": each.name, "count": each.memories} for each in stats.by_tier],
            "by_namespace": [{"namespace": each.name, "count": each.memories} for each in stats.by_namespace],
            "expiring_soon": stats.expiring,
            "links_count": stats.links,
            "db_size_bytes": stats.size,
        }

    async def changes(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """The change feed after the cursor `after` (from the beginning without one): records whole, tombstones
        included, and the cursor to go on with. `kinds` names the kinds wanted, separated by commas."""
        after = parameters.text(params, "after")
        kinds = parameters.text(params, "kinds")
        limit = parameters.count(params, "limit", CHANGES_LIMIT_DEFAULT, CHANGES_LIMIT_MAX)
        if limit == 0:
            raise Invalid("limit is 0; a page holds at least one change")
        position = await self._store.resolve_cursor(parse_cursor(after)) if after else 0
        page = await self._store.changes(position, limit, CHANGES_BYTES_MAX, tuple(kinds.split(",")) if kinds else None)
        shown = {record.ref for record in await seen(self._store, [record for _, record in page.changes], reach)}
        changes = [{"seq": seq, **shown_record(to_wire(record))} for seq, record in page.changes if record.ref in shown]
        return {
            "changes": changes,
            "count": len(changes),
            "cursor": str(page.cursor),
            "more": page.more,
        }

    def shown(self, memory: Memory) -> dict[str, Any]:
        """A memory as callers see it."""
        return self._touching.shown(memory.record, memory.use)
