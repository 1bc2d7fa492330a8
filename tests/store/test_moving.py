"""Moving what a store holds into another of any sort: whole, by merge, and never back to life."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from aimem.core.automatic import touch
from aimem.core.kinds import (
    ACCEPTOR,
    ARRIVED,
    IDEMPOTENCY,
    LINK,
    MEMORY,
    MOVED,
    QUARANTINE,
    VECTOR,
    VOTE,
    compound_key,
    link_key,
)
from aimem.core.moving import arrived, fence, lifted, unless_moved
from aimem.core.record import Record, Ref, from_wire
from aimem.core.upkeep import advance
from aimem.core.version import Version
from aimem.errors import Conflict, Moved
from aimem.store.base import Store
from aimem.store.migrate.report import Report
from aimem.store.moving.running import begin, move
from aimem.store.moving.source import Source
from aimem.store.moving.verifying import verify
from aimem.store.sqlite.store import open_sqlite
from tests.store.conftest import DAY, NOW, SECOND, OpenStore, body, creating, elsewhere, feed, putting, written
from tests.store.old_database import REAL, migrated
from tests.store.store_source import StoreSource

ORIGIN = "00000000000000aa"


def made(kind: str, key: str, fields: dict[str, object], at: int = NOW - SECOND, *, deleted: bool = False) -> Record:
    version = Version(at, ORIGIN)
    return Record.make(kind, key, version, version, fields, deleted=deleted)


async def moved(store: Store, *sources: Store, verified: bool = False) -> Report:
    """Everything that the sources hold, in the store."""
    named: list[Source] = [StoreSource(f"source {number}", source) for number, source in enumerate(sources)]
    return await move([], named, store, now=NOW, shown=lambda rows: None, verified=verified)


async def everything(store: Store, *, without: tuple[str, ...] = (ARRIVED, ACCEPTOR, MOVED)) -> dict[Ref, Record]:
    return {record.ref: record for _, record in await feed(store) if record.kind not in without}


async def filled(store: Store) -> None:
    """Records of every sort, odd ones among them."""
    await written(store, *(creating(f"note {number}") for number in range(30)))
    memory = next(record for _, record in await feed(store) if record.kind == MEMORY)
    wire = {
        "kind": "from_the_future",
        "key": "a/b%2F",
        "version": str(Version(NOW - SECOND, ORIGIN)),
        "deleted": False,
        "born": str(Version(NOW - 5 * SECOND, ORIGIN)),
        "body": {"text": "nul \0 and \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "number": 1.5},
        "signature": {"by": "ai:planner", "over": "all of it"},
    }
    nul = made(MEMORY, "with-nul", body("a\0title", content="before\0after", tags=["t\0g"]))
    await written(
        store,
        putting(
            from_wire(wire),
            nul,
            made(
                LINK,
                link_key(memory.key, "with-nul", "related_to"),
                {"source_id": memory.key, "target_id": "with-nul", "relation": "related_to", "created_at": NOW},
            ),
            made(
                VOTE, compound_key("p1", "ai:x", "approve"), {"pending_id": "p1", "voter": "ai:x", "verdict": "approve"}
            ),
            touch(memory, ORIGIN, Version(NOW - SECOND, ORIGIN), None, count=7, last=NOW - SECOND, expires=0),
            made(MEMORY, "gone", {}, deleted=True),
            made(IDEMPOTENCY, "key", {"request": "x"}),
            made(IDEMPOTENCY, "old key", {"request": "x"}, at=NOW - 3 * DAY),
            made(QUARANTINE, "peer/memory/x", {"peer": "p", "record": wire, "reason": "clock_skew", "since": 1}),
            made(ACCEPTOR, "p1", {"promised": "1.00000000000000aa", "accepted": None, "closed": False}),
        ),
        advance({"pull/n1/1234/5678": 42, "missed/abcd": 7, "embed/x": 99, f"caught/{store.incarnation}": NOW}),
    )
    vector = Record.make(
        VECTOR,
        memory.key,
        memory.version,
        memory.version,
        {"model": "m", "data": base64.b64encode(b"v" * 384).decode()},
    )
    await written(store, putting(vector), putting(_again(memory)))  # the memory now stands behind its vector


def _again(memory: Record) -> Record:
    return Record.make(MEMORY, memory.key, Version(NOW + SECOND, ORIGIN), memory.born, {**memory.body, "priority": 9})


async def test_everything_arrives_as_it_was(open_store: OpenStore) -> None:
    source, target = await open_store("a"), await open_store("b")
    await filled(source)
    report = await moved(target, source, verified=True)
    before, after = await everything(source), await everything(target)
    assert before.pop(Ref(IDEMPOTENCY, "old key")) is not None  # past its life
    assert after == before
    for ref, record in before.items():
        assert (after[ref].raw, after[ref].extra, after[ref].born, after[ref].deleted) == (
            *(record.raw, record.extra, record.born, record.deleted),
        )
    assert report.digest == target.digest.root() == source.digest.root()
    assert await target.check() == []
    assert target.clock >= source.clock
    assert {each.kind: each.missing for each in report.verified or ()}.keys() >= {"memories", "vectors", "tombstones"}
    assert not any(each.missing or each.newer for each in report.verified or ())
    assert await target.positions("") | {"pull/n1/1234/5678": 42, "missed/abcd": 7} == await target.positions("")
    assert await target.progress(f"caught/{target.incarnation}") == NOW
    assert await target.progress("embed/x") == 0  # it counts in the feed of the other


async def test_a_store_goes_on_above_what_it_was_filled_from(open_store: OpenStore) -> None:
    source, target = await open_store("a"), await open_store("b")
    await written(source, putting(elsewhere("x", "x", NOW + 900 * SECOND)))
    await written(source, putting(elsewhere("x", "x", NOW + 900 * SECOND + 1)))
    await moved(target, source)
    (reply,) = await written(target, creating("later"))
    assert reply.record.version.time > NOW + 900 * SECOND


async def test_another_run_takes_only_what_is_new(open_store: OpenStore) -> None:
    source, target = await open_store("a"), await open_store("b")
    await filled(source)
    await moved(target, source)
    head = target.head
    again = await moved(target, source)
    assert target.head == head
    assert sum(count.read for count in again.kinds.values()) == 0
    await written(source, creating("one more"))
    third = await moved(target, source)
    assert sum(count.written for count in third.kinds.values()) == 1
    assert target.digest == source.digest


async def test_diverged_stores_become_one_in_any_order(open_store: OpenStore) -> None:
    one, other = await open_store("a"), await open_store("b")
    await filled(one)
    await moved(other, one)
    await written(one, creating("only here"), putting(elsewhere("both", "both", NOW + 5 * SECOND)))
    await written(other, creating("only there"), putting(elsewhere("both", "both", NOW + 6 * SECOND, content="newer")))
    await written(other, putting(made(MEMORY, "only-here-deleted", {}, at=NOW + 9 * SECOND, deleted=True)))
    first, second = await open_store("c"), await open_store("d")
    report = await moved(first, one, other, verified=True)
    await moved(second, other, one)
    assert first.digest == second.digest
    assert (await first.get([Ref(MEMORY, "both")]))[0].body["content"] == "newer"  # type: ignore[union-attr]
    assert not any(each.missing for each in report.verified or ())
    assert await first.check() == []


@pytest.mark.parametrize("order", [0, 1])
async def test_what_was_deleted_and_swept_stays_deleted(open_store: OpenStore, order: int) -> None:
    """The other file never heard of the delete, whose tombstone is gone: what it holds is kept aside."""
    one, other = await open_store("a"), await open_store("b")
    at = NOW - 50 * DAY
    await written(one, putting(elsewhere("x", "x", at), elsewhere("y", "y", at)))
    await moved(other, one)
    await written(one, putting(made(MEMORY, "x", {}, at=at + SECOND, deleted=True)))
    await one.sweep(NOW + 1, one.head, NOW, 100)
    assert one.floor == at + SECOND
    assert await one.get([Ref(MEMORY, "x")]) == [None]
    target = await open_store("c")
    report = await moved(target, *((one, other) if order else (other, one)), verified=True)
    found = await everything(target)
    assert Ref(MEMORY, "x") not in found
    assert Ref(MEMORY, "y") in found
    assert [key for kind, key in found if kind == QUARANTINE] == [compound_key(other.incarnation, MEMORY, "x")]
    assert target.floor == one.floor
    assert [note.what.partition(":")[0] for note in report.not_taken] == ["x"]
    assert not any(each.missing for each in report.verified or ())


async def test_what_was_deleted_and_swept_does_not_come_back_by_its_vector(open_store: OpenStore) -> None:
    one, other = await open_store("a"), await open_store("b")
    memory = elsewhere("x", "x", NOW - 50 * DAY)
    vector = Record.make(VECTOR, memory.key, memory.version, memory.version, {"model": "m"})
    again = Record.make(MEMORY, "x", Version(memory.version.time + 1, ORIGIN), memory.born, memory.body)
    await written(one, putting(memory, vector))
    await moved(other, one)
    await written(other, putting(again))  # in its feed the memory stands behind its vector
    await written(one, putting(made(MEMORY, "x", {}, at=memory.version.time + SECOND, deleted=True)))
    await one.sweep(NOW + 1, one.head, NOW, 100)
    target = await open_store("c")
    await moved(target, other, one)
    assert {ref.kind for ref in await everything(target)} == {QUARANTINE}


async def test_a_store_that_has_read_the_delete_may_hold_old_rows(open_store: OpenStore) -> None:
    one, other = await open_store("a"), await open_store("b")
    await written(one, putting(made(MEMORY, "x", {}, at=NOW - 40 * DAY, deleted=True)))
    await written(one, advance({f"read/{other.incarnation}": 1}))
    await one.sweep(NOW + 1, one.head, NOW, 100)
    await written(other, putting(elsewhere("late", "late", NOW - 45 * DAY)))
    target = await open_store("c")
    await moved(target, one, other)
    assert Ref(MEMORY, "late") in await everything(target)


async def test_a_target_with_something_of_its_own_is_refused(open_store: OpenStore) -> None:
    source, target = await open_store("a"), await open_store("b")
    await filled(source)
    await begin(target, "b", NOW, merge=False)
    await moved(target, source)
    await begin(target, "b", NOW, merge=False)
    used = await open_store("c")
    await written(used, creating("mine"))
    with pytest.raises(Conflict, match="not empty"):
        await begin(used, "c", NOW, merge=False)
    await begin(used, "c", NOW, merge=True)


async def test_verifying_names_what_is_missing(open_store: OpenStore) -> None:
    source, target = await open_store("a"), await open_store("b")
    await filled(source)
    await moved(target, source)
    lost = elsewhere("lost", "lost", NOW)
    await written(source, putting(lost))
    await written(target, putting(elsewhere("with-nul", "newer here", NOW + SECOND)))
    found = {each.kind: each for each in await verify(StoreSource("s", source), target, NOW)}
    assert (found["memories"].missing, found["memories"].keys, found["memories"].newer) == (1, ["lost"], 1)


async def test_a_fence_does_not_move_along(open_store: OpenStore) -> None:
    source, target = await open_store("a"), await open_store("b")
    held = fence("m1", "elsewhere", Version(NOW, ORIGIN))
    await written(source, putting(held))
    await moved(target, source)
    assert [record for _, record in await feed(target) if record.kind == MOVED] == []
    await written(source, creating("not fenced here: only callers are"))
    (refused_,) = await source.write([unless_moved(creating("mine"))])
    assert isinstance(refused_, Moved)
    assert refused_.extra == {"moved_to": "elsewhere"}
    await written(target, arrived("m1", 0, {}), putting(held))
    await written(target, unless_moved(creating("mine")))
    await written(source, putting(lifted(held, Version(NOW + 1, ORIGIN))), unless_moved(creating("again")))


async def test_through_stores_of_both_sorts_and_back(open_store: OpenStore, tmp_path: Path) -> None:
    """A database of the existing system, into a file, into a store of each sort, and into a file again."""
    async with migrated(tmp_path / "first.db", REAL, now=NOW) as (first, _):
        middle = await open_store("middle")
        await moved(middle, first, verified=True)
        assert await middle.check() == []
        last = await open_sqlite(tmp_path / "last.db", now=lambda: NOW)
        try:
            report = await moved(last, middle, verified=True)
            assert last.digest == middle.digest == first.digest
            assert await everything(last) == await everything(first)
            assert not any(each.missing or each.newer for each in report.verified or ())
            assert await last.check() == []
        finally:
            await last.close()
