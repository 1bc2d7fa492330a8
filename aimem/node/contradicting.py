"""Contradictions, looked for among all memories that a question is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aimem.core.contradicting import contradictions, is_about
from aimem.core.namespace import check_namespace
from aimem.core.reach import Reach
from aimem.errors import Invalid
from aimem.limits import CONTRADICTIONS_LIMIT_DEFAULT, CONTRADICTIONS_LIMIT_MAX, ROWS_READ_AT_ONCE
from aimem.node import parameters
from aimem.node.parameters import Parameters
from aimem.node.seeing import seen
from aimem.node.touching import Touching
from aimem.store.base import Filter, Memory, Store


class Contradicting:
    """What may contradict what."""

    def __init__(self, store: Store, touching: Touching, now: Callable[[], int]) -> None:
        self._store = store
        self._touching = touching
        self._now = now

    async def listed(self, params: Parameters, reach: Reach | None) -> dict[str, Any]:
        """The memories about `topic`, or all of `namespace`, or both; and which of them contradict each other. The
        `limit` counts what fits, and all that is held is looked through.

        Raises:
            Invalid: neither topic nor namespace is named.
        """
        topic, namespace = parameters.text(params, "topic"), parameters.text(params, "namespace")
        if topic is None and namespace is None:
            raise Invalid("topic or namespace must be given")
        limit = parameters.count(params, "limit", CONTRADICTIONS_LIMIT_DEFAULT, CONTRADICTIONS_LIMIT_MAX)
        names = None if namespace is None else (check_namespace(namespace),)
        which = Filter(self._now(), namespaces=names, reach=reach)
        found = await (self._store.select(which, limit, 0) if topic is None else self._about(topic, which, limit))
        records = [each.record for each in found]
        links = await seen(self._store, await self._store.links([each.key for each in records]), reach)
        return {
            "memories": [self._touching.shown(each.record, each.use) for each in found],
            "links": contradictions(records, links, one_topic=topic is not None),
        }

    async def _about(self, topic: str, which: Filter, limit: int) -> list[Memory]:
        """The memories about a topic, most important first, then the latest."""
        rows = await self._store.rows(which)
        found: list[Memory] = []
        for start in range(0, len(rows), ROWS_READ_AT_ONCE):
            read = await self._store.by_rows(rows[start : start + ROWS_READ_AT_ONCE])
            found += [each for each in read if each is not None and is_about(each.record, topic)]
        found.sort(key=lambda each: (-each.record.body["priority"], -each.record.version.time, each.record.key))
        return found[:limit]
