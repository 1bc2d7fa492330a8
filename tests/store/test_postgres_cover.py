"""What a namespace of a shared store has, side by side in an index: the same answers by it, and how it comes there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest

from aimem.core.record import Record
from aimem.core.searching import Search
from aimem.store.base import Filter, Nearest
from aimem.store.postgres import nearest, tuning
from aimem.store.postgres.cover import COVER, build_cover, has_cover, names_namespaces
from aimem.store.postgres.namespaces import NAMESPACES, has_numbers
from aimem.store.postgres.nearest import Asked, Sizes
from aimem.store.postgres.partitioning import partition
from aimem.store.postgres.schema import INDEXES
from aimem.store.postgres.session import rows
from aimem.store.postgres.upkeep import maintain
from tests.store.conftest import NOW
from tests.store.planted import MODEL, Planted, drawn, find, memory, planting, session, settle, vector, wrong_vectors

MANY = 400
FILTERS: tuple[dict[str, Any], ...] = (
    {"namespaces": ("a/0",)},
    {"namespaces": ("a/1", "b/0")},
    {"namespaces": ("a/0",), "tag": "odd"},  # passes few of those that are near
    {"namespaces": ("nowhere",)},
    {},
)


@pytest.fixture
async def planted(database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Planted]:
    monkeypatch.setattr(nearest, "EXACT_SEARCH_ROWS_MAX", MANY // 2)  # so that who passes is counted
    async with planting(database(), (each for number in range(MANY) for each in pair(number))) as store:
        yield store


def pair(number: int, namespace: str = "") -> list[Record]:
    """A memory with its vectors, in one of four namespaces."""
    where = namespace or f"{'ab'[number % 2]}/{number // 2 % 2}"
    made = memory(number, namespace=where, tags=["odd"] if number % 40 == 0 else [])
    return [made, vector(made, *[drawn(random.Random(number))] * (1 + (number % 9 == 0)))]


async def cover(planted: Planted) -> None:
    async with session(planted.connection) as connection:
        await build_cover(connection)


async def answers(planted: Planted) -> list[Nearest]:
    questions = [drawn(random.Random(seed)) for seed in (4, -1, -2)]
    return [await find(planted, question, 10, **which) for which in FILTERS for question in questions]


async def used(planted: Planted, **which: object) -> tuple[list[int], bool]:
    """How many of the nearest each try of a search looked for first, and whether it read the covering index."""
    tried: list[int] = []

    class Noted(Asked):
        async def _tried(self, search: Search) -> Nearest | None:
            tried.append(search.inner)
            return await super()._tried(search)

    async with session(planted.connection) as connection, connection.transaction():
        for other in ("seqscan", "bitmapscan"):  # so few rows are otherwise read through
            await connection.execute(f"SET LOCAL enable_{other} = off")
        narrow = Filter(NOW, **which)  # type: ignore[arg-type]
        await Noted(connection, drawn(random.Random(4)), MODEL, narrow, 10).find(Sizes(), MANY)
        read = "SELECT FROM pg_class WHERE relname LIKE 'embedding%namespace' AND pg_stat_get_xact_numscans(oid) > 0"
        return tried, bool(await rows(connection, read))


@pytest.mark.parametrize("parts", [0, 1, 3])
async def test_answers_are_the_same_by_it(planted: Planted, parts: int) -> None:
    if parts:
        async with session(planted.connection) as connection:
            await partition(connection, parts)
    before = await answers(planted)
    assert [len(found.near) for found in before] == [10] * 9 + [0] * 3 + [10] * 3
    assert await used(planted, namespaces=("a/0",)) == ([0], False)
    await cover(planted)
    assert await has_cover(planted.connection)
    assert await answers(planted) == before
    assert await used(planted, namespaces=("a/0",)) == ([30], True)
    assert await used(planted, namespaces=("a/0",), tag="odd") == ([30, 0], True)  # too few of them pass
    await cover(planted)  # nothing is done twice
    assert await answers(planted) == before


async def test_a_memory_that_moves_is_found_where_it_is_when_it_is_settled(planted: Planted) -> None:
    await cover(planted)
    question = drawn(random.Random(4))
    row = planted.rows[f"memory/{4:08}"]
    assert row in dict((await find(planted, question, namespaces=("a/0",))).near)
    await planted.put(pair(4, "elsewhere"))
    assert row not in dict((await find(planted, question, namespaces=("a/0",))).near)  # at once
    await settle(planted)
    assert [row] == [each for each, _ in (await find(planted, question, namespaces=("elsewhere",))).near]
    assert await wrong_vectors(planted) == []
    await planted.connection.execute("UPDATE embedding SET namespace = 'astray' WHERE row = %s", (row,))
    assert await wrong_vectors(planted) == [f"vectors: row {row}, piece 0 is not in its namespace"]


async def test_a_cut_keeps_it_and_a_build_that_was_cut_off_is_finished(planted: Planted) -> None:
    await cover(planted)
    before = await answers(planted)
    async with session(planted.connection) as connection:
        await partition(connection, 3)
    assert await has_cover(planted.connection)
    assert await answers(planted) == before


async def test_a_build_that_was_cut_off_is_finished(planted: Planted) -> None:
    async with session(planted.connection) as reader, session(planted.connection) as connection:
        async with reader.transaction():
            await reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await reader.execute("SELECT FROM embedding LIMIT 1")  # a build waits for whoever sees what was before
            await connection.execute("SET statement_timeout = '100ms'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                await build_cover(connection)
        left = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
        assert await rows(connection, left, (COVER,)) == [(False,)]
        assert not await has_cover(connection)
        await connection.execute("RESET statement_timeout")
        await build_cover(connection)
        assert await has_cover(connection)


@pytest.mark.parametrize("parts", [0, 2])
async def test_tune_fills_in_what_an_older_program_left_and_makes_the_index(
    planted: Planted, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parts:
        async with session(planted.connection) as connection:
            await partition(connection, parts)
    monkeypatch.setattr(tuning, "_COVERED", MANY)
    monkeypatch.setattr(tuning, "_partitions", lambda vectors, roots: parts or 1)
    await planted.connection.execute("ALTER TABLE embedding ALTER namespace DROP NOT NULL")
    await planted.connection.execute("UPDATE embedding SET namespace = NULL")
    before = await answers(planted)
    await planted.put(pair(1))
    await settle(planted)
    filled = "SELECT count(*) FROM embedding WHERE namespace IS NOT NULL"
    assert await rows(planted.connection, filled) == [(0,)]  # it would be a new row of the graph
    assert await wrong_vectors(planted) == []
    async with session(planted.connection) as connection:
        found = {each.setting: each.met for each in tuning.advise(await tuning.measure(connection))}
        assert not found[tuning.COVERING]
        done = (await tuning.apply(connection)).done
    assert done[-1] == "covering index: there"
    assert await names_namespaces(planted.connection)
    assert await used(planted, namespaces=("a/0",)) == ([30], True)
    assert await answers(planted) == before
    assert await wrong_vectors(planted) == []
    async with session(planted.connection) as connection:
        assert not [each for each in (await tuning.apply(connection)).done if "covering" in each]
        assert len(await rows(connection, "SELECT FROM pg_class WHERE relname = 'embedding_old'")) == 0
        await maintain(connection)
    assert await has_cover(planted.connection)


async def test_tune_gives_the_index_of_namespaces_the_numbers_that_an_older_program_left_out(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_COVERED", MANY)
    await planted.connection.execute("UPDATE state SET visible = %s", (MANY,))
    assert await has_numbers(planted.connection)  # of a new store
    old = INDEXES[NAMESPACES].replace(" INCLUDE (row)", "")
    await planted.connection.execute(f"DROP INDEX {NAMESPACES}; CREATE INDEX {NAMESPACES} ON {old}")
    for name in ("next", "old"):  # of runs that were cut off
        await planted.connection.execute(f"CREATE INDEX {NAMESPACES}_{name} ON {old}")
    async with session(planted.connection) as connection:
        found = {each.setting: each.met for each in tuning.advise(await tuning.measure(connection))}
        assert not found[tuning.NUMBERED]
    async with session(planted.connection) as connection:
        assert f"{tuning.NUMBERED}: with rows" in (await tuning.apply(connection)).done
    assert await has_numbers(planted.connection)
    known = "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname LIKE %s"
    assert await rows(planted.connection, known, (f"{NAMESPACES}%",)) == [(NAMESPACES, True)]
    async with session(planted.connection) as connection:
        assert not [each for each in (await tuning.apply(connection)).done if tuning.NUMBERED in each]
