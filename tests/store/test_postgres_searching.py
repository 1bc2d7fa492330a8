"""Searching by vector in a shared store: computed or by the graph, few that pass, and what settles behind writes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext

import psycopg
import pytest

from aimem.core.kinds import MEMORY, VECTOR
from aimem.core.record import Record
from aimem.core.searching import EXACT
from aimem.store.base import Filter
from aimem.store.postgres import graph, leases, nearest, settling
from aimem.store.postgres.nearest import Asked, Sizes
from aimem.store.postgres.vectors import with_vectors
from tests.store.conftest import NOW
from tests.store.planted import MODEL, VERSION, Planted, Vector, drawn, find, memory, note_searches, settle, vector
from tests.waiting import PATIENCE_SECS

MANY = 3_000
"""Enough that a graph misses what a filter leaves of them."""


@pytest.fixture
async def planted(database: Callable[[], str]) -> AsyncIterator[Planted]:
    async with await psycopg.AsyncConnection.connect(database(), autocommit=True) as connection:
        store = Planted(connection)
        await store.open()
        yield store


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def row(planted: Planted, record: Record) -> int:
    return planted.rows[f"{record.kind}/{record.key}"]


async def test_a_memory_scores_by_its_best_piece_and_brings_all_its_vectors(planted: Planted) -> None:
    rng = random.Random(1)
    question = drawn(rng)
    near, far = drawn(rng, question, 0.02), drawn(rng)
    first, second, third = memory(1), memory(2), memory(3)
    await planted.put([first, second, third, vector(first, far, near, mark=2**64 - 1), vector(second, far)])
    assert await settle(planted) == 1
    found = await find(planted, question, 2)
    assert [number for number, _ in found.near] == [row(planted, first), row(planted, second)]
    assert [round(value, 2) for _, value in found.near] == [round(cosine(question, each), 2) for each in (near, far)]
    assert set(found.held) == {row(planted, first), row(planted, second)}
    asked = [row(planted, third), row(planted, first), row(planted, second), 1_000]
    memories, held_of = await with_vectors(planted.connection, asked, MODEL, cut=False)
    assert [each and each.record.key for each in memories] == [third.key, first.key, second.key, None]
    assert held_of == found.held
    assert (await with_vectors(planted.connection, asked, "other", cut=False))[1] == {}
    held = found.held[row(planted, first)]
    assert (held.mark, len(held.pieces)) == (2**64 - 1, 2)
    numbers = memoryview(b"".join(held.pieces)).cast("B")
    assert len(numbers) == 2 * 2 * len(question)
    assert (await find(planted, question, model="other")).near == []
    assert found.more
    assert not (await find(planted, question, 3)).more


async def test_what_changes_settles_behind_the_writes(planted: Planted) -> None:
    rng = random.Random(2)
    question, other = drawn(rng), drawn(rng)
    kept, gone, moved = memory(1), memory(2), memory(3)
    await planted.put([vector(kept, question), kept, gone, vector(gone, question), moved, vector(moved, question)])
    await settle(planted)
    assert len((await find(planted, question)).near) == 3
    ended = Record.make(MEMORY, gone.key, VERSION, VERSION, gone.body, deleted=True)
    elsewhere = memory(3, namespace="elsewhere")
    await planted.put([ended, elsewhere, vector(kept, other, mark=8)])
    found = await find(planted, question)
    assert {number for number, _ in found.near} == {row(planted, kept), row(planted, moved)}  # at once
    assert {number for number, _ in (await find(planted, question, namespaces=("elsewhere",))).near} == {
        row(planted, moved)
    }
    await settle(planted)
    assert (await find(planted, question)).held[row(planted, kept)].mark == 8
    count = await planted.connection.execute("SELECT count(*) FROM embedding")
    assert await count.fetchone() == (2,)
    dropped = Record.make(VECTOR, kept.key, VERSION, VERSION, {}, deleted=True)
    await planted.put([dropped])
    await settle(planted)
    assert {number for number, _ in (await find(planted, question)).near} == {row(planted, moved)}


async def test_a_vector_that_cannot_be_used_is_passed_over(planted: Planted, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(3)
    good = drawn(rng)
    memories = [memory(number) for number in range(5)]
    records = [vector(each, good) for each in memories]
    bodies = [{**each.body} for each in records]
    bodies[0]["pieces"] = ["not base64"]
    bodies[1]["pieces"] = [bodies[1]["pieces"][0][:100]]
    bodies[2] = {"model": MODEL}
    bodies[3] = vector(memories[3], tuple(3 * number for number in good)).body
    wrong = [Record.make(VECTOR, each.key, VERSION, VERSION, told) for each, told in zip(memories, bodies, strict=True)]
    await planted.put([*memories, *wrong])
    await settle(planted)
    assert [number for number, _ in (await find(planted, good)).near] == [row(planted, memories[4])]
    assert len(caplog.records) == 4


async def test_only_one_at_a_time_settles(planted: Planted, database: Callable[[], str]) -> None:
    await planted.put([each for number in range(300) for each in _planted(number)])
    assert await settle(planted) == 4
    await planted.put(_planted(301))
    info = planted.connection.info
    connecting = psycopg.AsyncConnection.connect(info.dsn, password=info.password)
    async with await connecting as other, planted.connection.transaction():
        await settling.settle(planted.connection, MODEL)
        async with other.transaction():
            assert not await settling.settle(other, MODEL)
    count = await planted.connection.execute("SELECT count(*) FROM embedding")
    assert await count.fetchone() == (301,)


def _planted(number: int) -> list[Record]:
    made = memory(number)
    return [made, vector(made, drawn(random.Random(number)))]


async def test_a_small_namespace_is_computed_and_a_graph_that_finds_too_few_is_followed_by_computing(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the size of a test: the bounds of the plan are lowered, so that the graph is built and chosen."""
    monkeypatch.setattr(graph, "EXACT_SEARCH_ROWS_MAX", 1_000)
    monkeypatch.setattr(nearest, "SEARCH_SECS", PATIENCE_SECS)
    rng = random.Random(4)
    common, rare = drawn(rng), drawn(rng)
    records = []
    for number in range(MANY):
        small = number % 500 == 0  # six rows, far from what is asked, among thousands near it
        made = memory(number, namespace="small" if small else "large", tags=["odd"] if small else [])
        records += [made, vector(made, drawn(rng, rare if small else common, 0.3))]
    await planted.put(records)
    await planted.connection.execute("ANALYZE")
    await settle(planted)
    async with planted.connection.transaction():
        await settling.build_graph(planted.connection, MODEL)
    small_rows = {row(planted, each) for each in records if each.kind == MEMORY and each.body["namespace"] == "small"}
    tried = note_searches(monkeypatch)
    assert {number for number, _ in (await find(planted, common, namespaces=("small",))).near} == small_rows
    assert tried == [False]
    sizes = Sizes()
    assert await sizes.passing(planted.connection, Filter(NOW, namespaces=("small",)), 10**6) == 6
    assert await sizes.passing(planted.connection, Filter(NOW), 10**6) == 10**6
    assert 0 < await sizes.passing(planted.connection, Filter(NOW, tag="odd"), 10**6) < 100
    # The plan takes all for large: the graph, which finds too few of the small ones.
    monkeypatch.setattr(nearest, "EXACT_SEARCH_ROWS_MAX", 100)
    monkeypatch.setattr("aimem.core.searching.EXACT_SEARCH_ROWS_MAX", 1)
    monkeypatch.setattr("aimem.core.searching.EXACT_SEARCH_TRIED_MAX", 1)
    assert await Sizes().passing(planted.connection, Filter(NOW, namespaces=("large",)), 10**6) > MANY / 3
    tried.clear()
    found = await find(planted, common)
    assert tried == [True]
    truth = await _computed(planted, common)
    assert len(truth.intersection(number for number, _ in found.near)) >= 7  # levels are drawn anew
    tried.clear()
    monkeypatch.setattr(nearest, "_SCANNED_MAX", 10)
    found = await find(planted, common, 6, tag="odd")
    assert {number for number, _ in found.near} == small_rows
    assert tried == [True, False]
    assert not found.truncated


async def _computed(planted: Planted, question: Vector) -> set[int]:
    async with planted.connection.transaction():
        asked = Asked(planted.connection, question, MODEL, Filter(NOW), 10)
        found = await asked._tried(EXACT)
    assert found is not None
    return {number for number, _ in found.near}


async def test_a_search_without_time_says_so(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    await planted.put(_planted(1))
    await settle(planted)
    monkeypatch.setattr(nearest, "_COMPUTED", nearest._COMPUTED.replace("WHERE", ", pg_sleep(9) WHERE"))
    monkeypatch.setattr(nearest, "SEARCH_SECS", 1)
    found = await find(planted, drawn(random.Random(1)))
    assert found.truncated
    assert len(found.near) == 1


@pytest.mark.parametrize("pipelined", [False, True])
async def test_where_the_nearest_are_hidden_all_are_computed(
    planted: Planted, monkeypatch: pytest.MonkeyPatch, *, pipelined: bool
) -> None:
    """Their vectors stand there until it is settled that they are gone."""
    rng = random.Random(5)
    question = drawn(rng)
    near = [memory(number) for number in range(20)]
    far = [memory(number) for number in range(20, 24)]
    await planted.put([*near, *(vector(each, drawn(rng, question, 0.01)) for each in near)])
    await planted.put([*far, *(vector(each, drawn(rng)) for each in far)])
    await settle(planted)
    await planted.put([Record.make(MEMORY, each.key, VERSION, VERSION, each.body, deleted=True) for each in near[1:]])
    tried = note_searches(monkeypatch)
    async with planted.connection.pipeline() if pipelined else nullcontext():
        assert [number for number, _ in (await find(planted, question, 1)).near] == [row(planted, near[0])]
        assert len(tried) == 1
        found = await find(planted, question, 4)
        assert len(tried) == 3
        monkeypatch.setattr(nearest, "_COMPUTED", nearest._COMPUTED.replace("WHERE", ", pg_sleep(9) WHERE"))
        monkeypatch.setattr(nearest, "SEARCH_SECS", 1)
        cut_short = await find(planted, question, 4)
    assert {number for number, _ in found.near} < {row(planted, each) for each in (near[0], *far)}
    assert (len(found.near), found.truncated) == (4, False)
    assert ([number for number, _ in cut_short.near], cut_short.truncated) == ([row(planted, near[0])], True)


async def test_a_lease_is_one_nodes_until_it_ends_or_is_given_back(planted: Planted) -> None:
    connection = planted.connection
    assert await leases.take(connection, "embed", "a", 60)
    assert await leases.take(connection, "embed", "a", 0)  # it may keep it, for as long as it says
    assert await leases.take(connection, "embed", "b", 60)  # that ended at once
    assert not await leases.take(connection, "embed", "a", 60)
    assert await leases.take(connection, "other", "a", 60)
    await leases.release(connection, "embed", "a")
    assert not await leases.take(connection, "embed", "a", 60)
    await leases.release(connection, "embed", "b")
    assert await leases.take(connection, "embed", "a", 60)
