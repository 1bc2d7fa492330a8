"""Who shares a transaction: those who came while other nodes had the writers' lock go along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from aimem.core.intent import Intent, Plan, Stamp
from aimem.errors import StorageFailed
from aimem.limits import GROUP_INTENTS_MAX
from aimem.store.grouping import Job, Jobs
from aimem.store.postgres.group import Group
from aimem.store.postgres.schema import WRITING
from aimem.store.postgres.table import Transaction
from tests.postgres_server import PostgresServer, name_of
from tests.store.conftest import storing, written
from tests.store.shared import Node, all_hear, nodes
from tests.waiting import until

_WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@asynccontextmanager
async def _before(
    node: Node, other: Node, url: str, postgres: PostgresServer
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """A write of `other` and then one of `node` wait for the lock, which is let go of at the end: these two."""
    holder = await other.store.connections.alone()
    await holder.execute("BEGIN")
    await holder.execute("SELECT pg_advisory_xact_lock(%s)", (WRITING,))
    waiting = []
    for count, (who, title) in enumerate(((other, "other"), (node, "first")), 1):
        waiting.append(asyncio.create_task(written(who.store, storing(title))))
        await _until_wait(count, url, postgres)
    yield waiting
    await holder.execute("COMMIT")
    holder.pgconn.finish()


async def _until_wait(count: int, url: str, postgres: PostgresServer) -> None:
    await until(lambda: postgres.sql(_WAITS, name_of(url)) == [(count,)])


async def _queued(node: Node, *intents: Intent) -> list[asyncio.Task[Any]]:
    """Writes of their own that have come as far as the queue."""
    tasks = [asyncio.create_task(node.store.write([intent])) for intent in intents]
    await until(lambda: len(list(node.store._writer._jobs)) == len(tasks))
    return tasks


async def test_who_came_while_the_lock_was_waited_for_shares_the_transaction(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    url = database()
    async with nodes(url, 2) as (node, other):
        async with _before(node, other, url, postgres) as waiting:
            joined = await _queued(node, *(storing(title) for title in ("other", "first", "new")))
        await asyncio.gather(*waiting)
        outcomes = [outcome for task in joined for outcome in await task]
        assert [outcome.reply.created for outcome in outcomes] == [False, False, True], "each sees what was before it"
        assert node.store.fsyncs == 1
        await all_hear((node, other), 5)
        assert node.store.digest.root() == other.store.digest.root()
        assert await other.store.check() == []


async def test_one_who_joined_and_fails_takes_no_other_with_it(
    database: Callable[[], str], postgres: PostgresServer
) -> None:
    def broken(stamp: Stamp) -> Plan:
        yield from ()
        raise RuntimeError("a bug")

    url = database()
    async with nodes(url, 2) as (node, other):
        async with _before(node, other, url, postgres) as waiting:
            joined = await _queued(node, storing("A"), broken, storing("B"))
        await asyncio.gather(*waiting)
        outcomes = await asyncio.gather(*joined, return_exceptions=True)
        assert [isinstance(each, StorageFailed) for each in outcomes] == [False, True, False]
        assert node.store.visible == 4


async def test_who_joined_an_attempt_that_was_lost_is_in_the_next_one(
    database: Callable[[], str], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, save = 0, Transaction.save

    async def losing(transaction: Transaction, *arguments: Any) -> None:
        nonlocal lost
        if not lost and transaction._origin == node.store.start:
            lost += 1
            raise psycopg.OperationalError("the connection is lost")
        await save(transaction, *arguments)

    monkeypatch.setattr(Transaction, "save", losing)
    url = database()
    async with nodes(url, 2) as (node, other):
        async with _before(node, other, url, postgres) as waiting:
            joined = await _queued(node, storing("A"), storing("B"))
        await asyncio.gather(*waiting, *joined)
        assert (lost, node.store.fsyncs, node.store.visible) == (1, 1, 4)
        assert await node.store.check() == []


def _job(*intents: Intent, work: Any = None) -> Job[Any]:
    return Job(intents, asyncio.get_running_loop().create_future(), work)


@pytest.mark.parametrize(
    "group_of",
    [lambda job: Group([job], again=True), lambda job: Group([job], may_grow=False)],
    ids=["again", "alone"],
)
async def test_nobody_joins_what_may_have_been_committed_or_is_looked_at_alone(
    group_of: Callable[[Job[Any]], Group],
) -> None:
    waiting = Jobs[Any]()
    waiting.add(_job(storing("B")))
    assert group_of(_job(storing("A"))).grow(waiting) == []
    assert waiting


async def test_as_many_join_as_there_is_room_for() -> None:
    waiting = Jobs[Any]()
    for _ in range(3):
        waiting.add(_job(storing("B")))
    group = Group([_job(*[storing("A")] * (GROUP_INTENTS_MAX - 2))])
    assert len(group.grow(waiting)) == 2
    assert len(group.jobs) == 3
    assert group.grow(waiting) == []
    assert len(waiting.next_group()) == 1


async def test_nobody_joins_or_overtakes_the_group_that_is_looked_at_ahead_of_its_turn() -> None:
    waiting = Jobs[Any]()
    first, second = _job(storing("A")), _job(storing("B"))
    waiting.add(first)
    assert waiting.upcoming() == [first]
    waiting.add(second)
    assert Group([_job(storing("C"))]).grow(waiting) == []
    assert waiting.upcoming() == [first]
    assert list(waiting) == [first, second]
    assert [waiting.next_group() for _ in range(3)] == [[first], [second], []]
    assert not waiting


async def test_who_wants_a_transaction_alone_neither_joins_nor_is_joined() -> None:
    async def work(*_: Any) -> Any:
        return lambda transaction: None

    waiting = Jobs[Any]()
    waiting.add(_job(work=work))
    waiting.add(_job(storing("B")))
    assert Group([_job(storing("A"))]).grow(waiting) == []
    alone = Group(waiting.next_group())
    assert len(alone.jobs) == 1
    assert alone.grow(waiting) == []
