"""Whose store it is: nodes of two fleets that open one at once, and what is kept of the name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aimem.errors import Misconfigured
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.store import PostgresStore
from aimem.store.postgres.url import read_target
from tests.postgres_server import PostgresServer, name_of

pytestmark = pytest.mark.bad_luck


async def test_of_two_fleets_that_start_at_once_one_has_the_store(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    url = database()
    target = read_target(url)
    names = ("eu", "us") * 3
    opened = await asyncio.gather(*(open_store(target, fleet=name) for name in names), return_exceptions=True)
    try:
        owners = {name for name, each in zip(names, opened, strict=True) if isinstance(each, PostgresStore)}
        (owner,) = owners
        refused = [each for each in opened if isinstance(each, Misconfigured)]
        assert len(refused) == 3
        assert {each.message for each in refused} == {
            f"the store is that of the fleet {owner}, and this node is of {'us' if owner == 'eu' else 'eu'}"
        }
        await (await open_store(target)).close()  # one that says no fleet
    finally:
        for each in opened:
            if isinstance(each, PostgresStore):
                await each.close()
    with pytest.raises(Misconfigured, match="this node is of another") as caught:
        await open_store(target, fleet="another")
    statement = (caught.value.hint or "").rpartition(": ")[2]
    postgres.sql(statement, name_of(url))  # as it is told
    await (await open_store(target, fleet="another")).close()
