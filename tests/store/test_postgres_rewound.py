"""A shared store is taken back to an earlier state under a node that has it open (see `tests/mesh/test_rewound.py` for
how that comes about)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aimem.core.upkeep import advance
from aimem.errors import StoreUnreachable
from tests.postgres_server import PostgresServer, name_of
from tests.store.conftest import storing, written
from tests.store.shared import opened

pytestmark = pytest.mark.bad_luck


async def test_what_a_node_knew_before_is_not_written_into_it(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    """How far it had read the feed of another store, for one: it would be believed, and what was lost not fetched."""
    url = database()
    async with opened(url) as node:
        for title in ("a", "b"):
            await written(node, storing(title))
        before = node.incarnation
        postgres.sql("DELETE FROM record WHERE seq = (SELECT head FROM state)", name_of(url))
        postgres.sql("UPDATE state SET revision = revision - 1, head = head - 1", name_of(url))
        for _ in range(2):  # by which it is found out, and the next
            with pytest.raises(StoreUnreachable, match="was taken back to an earlier time"):
                await node.write([advance({"pull/other": 7})])
        assert postgres.sql("SELECT count(*) FROM progress WHERE name = 'pull/other'", name_of(url)) == [(0,)]
    async with opened(url) as node:
        assert node.incarnation != before
        await written(node, advance({"pull/other": 7}))
