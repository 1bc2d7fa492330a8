"""An attempt at a write that ends without an answer: whether it was committed is found out, never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg

from aimem.core.kinds import MEMORY
from aimem.store.postgres.schema import WRITING
from tests.store.conftest import held, storing, written
from tests.store.shared import nodes
from tests.waiting import PATIENCE_SECS

WAITS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def test_an_attempt_that_was_cut_before_its_commit_is_made_again(database: Callable[[], str]) -> None:
    """The counterpart of a commit whose answer is lost: from outside both look the same."""
    url = database()
    async with nodes(url, 1) as (node,), await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
        await other.execute("SELECT pg_advisory_lock(%s)", (WRITING,))
        writing = asyncio.create_task(written(node.store, storing("A")))
        async with asyncio.timeout(PATIENCE_SECS):
            while (waits := await (await other.execute(WAITS)).fetchone()) is None:
                await asyncio.sleep(0.01)
        await other.execute("SELECT pg_terminate_backend(%s)", waits)
        await other.execute("SELECT pg_advisory_unlock(%s)", (WRITING,))
        (memory,) = await writing
        assert (memory.created, node.store.head) == (True, 1)
        assert await held(node.store, MEMORY, memory.record.key) == memory.record
