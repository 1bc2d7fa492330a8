"""What is wrong with the table that searches by vector look in is found, whatever it is, and nothing else is told."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from aimem.core.kinds import MEMORY, VECTOR
from aimem.core.record import Record
from tests.store.planted import MODEL, VERSION, Planted, drawn, memory, settle, vector, wrong_vectors


@pytest.fixture
async def planted(database: Callable[[], str]) -> AsyncIterator[Planted]:
    """Five memories, one with two pieces, all settled; and what no search finds, which is well so."""
    rng = random.Random(7)
    memories = [memory(number) for number in range(7)]
    vectors = [vector(each, drawn(rng), *([drawn(rng)] if number == 0 else [])) for number, each in enumerate(memories)]
    gone = Record.make(MEMORY, memories[5].key, VERSION, VERSION, memories[5].body, deleted=True)
    junk = Record.make(VECTOR, memories[6].key, VERSION, VERSION, {"model": MODEL, "text": "?", "pieces": "?"})
    async with await psycopg.AsyncConnection.connect(database(), autocommit=True) as connection:
        made = Planted(connection)
        await made.open()
        await made.put([*memories, *vectors, gone, junk])
        await settle(made)
        yield made


async def test_a_store_that_is_well_is_told_so_also_while_vectors_wait(planted: Planted) -> None:
    assert await wrong_vectors(planted) == []
    rng = random.Random(8)
    await planted.put([memory(8), vector(memory(8), drawn(rng)), vector(memory(1), drawn(rng), mark=8)])
    assert await wrong_vectors(planted) == []
    await settle(planted)
    assert await wrong_vectors(planted) == []


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("DELETE FROM embedding WHERE row = {row}", "that of memory 00000000 is missing"),
        ("DELETE FROM embedding WHERE row = {row} AND piece = 1", "that of memory 00000000 is missing"),
        ("UPDATE embedding SET mark = mark + 1 WHERE row = {row}", "that of memory 00000000 is another"),
        (
            "UPDATE embedding SET vector = vector - vector - vector WHERE row = {row}",
            "that of memory 00000000 is another",
        ),
        ("UPDATE embedding SET model = 'old' WHERE row = {row}", "that of memory 00000000 is another"),
        ("UPDATE embedding SET row = 9999 WHERE row = {row}", "row 9999, piece 0 belongs to no vector"),
        ("UPDATE embedding SET piece = 2 WHERE row = {row} AND piece = 1", "piece 2 belongs to no vector"),
        ("DELETE FROM record WHERE row = {row}", "piece 0 belongs to no vector"),
        ("UPDATE record SET deleted = true WHERE row = {row}", "piece 0 belongs to no vector"),
        ("UPDATE record SET deleted = true WHERE kind = 'vector'", "piece 0 belongs to no vector"),
    ],
)
async def test_what_is_wrong_is_found(planted: Planted, harm: str, words: str) -> None:
    row = planted.rows[f"{MEMORY}/00000000"]
    await planted.connection.execute(harm.format(row=row).encode())
    told = await wrong_vectors(planted)
    assert any(words in each for each in told), told


async def test_without_a_model_there_is_nothing_to_say(database: Callable[[], str]) -> None:
    async with await psycopg.AsyncConnection.connect(database(), autocommit=True) as connection:
        made = Planted(connection)
        await made.open()
        await made.put([memory(1), vector(memory(1), drawn(random.Random(1)))])
        assert await wrong_vectors(made) == []
