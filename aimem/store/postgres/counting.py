"""How much there is: namespaces, tiers, links, the archive. Functions of a connection, as in `reading`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

from aimem.core.automatic import TIERS
from aimem.core.kinds import LINK
from aimem.core.reach import Reach
from aimem.store.base import Counted, Filter, Stats
from aimem.store.postgres.filtering import where
from aimem.store.postgres.session import Connection, first, rows
from aimem.store.postgres.text import told

T = TypeVar("T", int, str)

_HOUR_NS = 3_600 * 10**9


async def namespaces(connection: Connection, now: int, reach: Reach | None = None) -> list[Counted]:
    """Namespaces with their live, unexpired memories."""
    if reach is None:
        return await _counted(connection, IN_USE, {"now": now})
    condition, values = where(Filter(now, reach=reach))
    return await _counted(
        connection,
        f"SELECT r.namespace, count(*) AS n FROM record r WHERE {condition} GROUP BY r.namespace ORDER BY n DESC, 1",
        values,
    )


IN_USE = (
    "SELECT namespace, sum(n)::bigint AS n FROM ("
    "SELECT namespace, count(*) AS n FROM record WHERE visible GROUP BY namespace UNION ALL "
    "SELECT namespace, -count(*) FROM record WHERE visible AND expires <= %(now)s GROUP BY namespace) AS counted "
    "GROUP BY namespace HAVING sum(n) > 0 ORDER BY n DESC, 1"
)
"""How many there are by an index that has no expiry in it, less the few that have expired, which have one of their own:
among a million memories 7,700 pages, where the records themselves are 280,000."""


async def _counted(connection: Connection, statement: str, values: dict[str, Any] | None = None) -> list[Counted]:
    return [Counted(told(name), number) for name, number in await rows(connection, statement, values)]


async def stats(connection: Connection, now: int, reach: Reach | None = None) -> Stats:
    """Figures of the whole store, or of what is in reach."""
    condition, values = where(Filter(now, reach=reach))
    alive = await rows(
        connection,
        f"SELECT r.namespace, r.tier, count(*) FROM record r WHERE {condition} GROUP BY r.namespace, r.tier",
        values,
    )
    by_namespace, by_tier = Counter[str](), Counter[int]()
    for namespace, tier, number in alive:
        by_namespace[namespace] += number
        by_tier[tier] += number
    between = f"(SELECT r.key FROM record r WHERE {condition})"
    source = "replace(replace(split_part(key, '/', 1), '%%2F', '/'), '%%25', '%%')"  # see `kinds.compound_key`
    near = "" if reach is None else f"AND target IN {between} AND {source} IN {between}"
    (expiring, links, size) = await first(
        connection,
        f"SELECT (SELECT count(*) FROM record r WHERE {condition} AND r.expires <= %(soon)s), "
        f"(SELECT count(*) FROM record WHERE kind = %(kind)s AND NOT deleted {near}), "
        "pg_database_size(current_database())",
        {**values, "soon": now + _HOUR_NS, "kind": LINK},
    )
    return Stats(
        total=by_tier.total(),
        by_tier=[Counted(TIERS[tier], number) for tier, number in _most_first(by_tier)],
        by_namespace=[Counted(told(name), number) for name, number in _most_first(by_namespace)],
        expiring=expiring,
        links=links,
        size=size,
    )


def _most_first(counted: Mapping[T, int]) -> list[tuple[T, int]]:
    return sorted(counted.items(), key=lambda each: (-each[1], each[0]))


async def archived_counts(connection: Connection) -> list[Counted]:
    """Namespaces with what the archive holds of them."""
    return await _counted(
        connection,
        "SELECT namespace, count(*) AS n FROM record WHERE archived IS NOT NULL GROUP BY namespace ORDER BY n DESC, 1",
    )
