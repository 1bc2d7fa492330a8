"""What `/namespaces` and `/stats` cost on a shared store: the counts themselves are in the contract of every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from aimem.store.base import Counted
from aimem.store.postgres.counting import IN_USE
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.url import read_target
from tests.store.conftest import HOUR, NOW, creating, written

PLAIN = (
    "SELECT namespace, count(*) FROM record WHERE visible AND (expires IS NULL OR expires > %s) GROUP BY 1 "
    "ORDER BY 2 DESC, 1"
)


async def test_namespaces_are_counted_in_an_index_alone_but_for_what_has_expired(
    database: Callable[[], str],
) -> None:
    url = database()
    store = await open_store(read_target(url), now=lambda: NOW)
    for number in range(60):
        more: dict[str, Any] = {"tier": "short", "expires_at": NOW + (1 + number % 3) * HOUR} if number % 2 else {}
        await written(store, creating(f"{number}", namespace=f"n/{number % 7}", **more))
    await written(store, creating("alone", namespace="ends", tier="short", expires_at=NOW + HOUR))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for now in (NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + 9 * HOUR):
            plain = await (await connection.execute(PLAIN, (now,))).fetchall()
            assert await store.namespaces(now) == [Counted(*each) for each in plain]
            assert (await store.stats(now)).by_namespace == [Counted(*each) for each in plain]
        await connection.execute("VACUUM ANALYZE record")
        await connection.execute("SET enable_seqscan = off")  # a table this small is read whole
        steps = await (await connection.execute(f"EXPLAIN {IN_USE}", {"now": NOW})).fetchall()
    plan = "\n".join(step for (step,) in steps)
    assert "Index Only Scan using record_namespace" in plan
    assert "using record_expires" in plan
    await store.close()
