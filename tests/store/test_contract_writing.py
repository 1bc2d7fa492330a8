"""What every store promises about writing: order, atomicity, refusals, and who hears of it when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

import pytest

from aimem.core.digest import Digest
from aimem.core.intent import Decision, Intent, Plan, Stamp, get, holding, touches
from aimem.core.kinds import LINK, MEMORY, VECTOR
from aimem.core.pairs import Pair
from aimem.core.record import Record, Ref, from_wire
from aimem.core.upkeep import Touched, advance, fold, keep_vector, receive
from aimem.core.version import Version
from aimem.core.writes import Stored, delete, update
from aimem.errors import AimemError, Busy, Conflict, StorageFailed
from aimem.store.base import Change, Store, Written
from tests.store.conftest import (
    DAY,
    HOUR,
    NOW,
    Clock,
    OpenStore,
    archiving,
    creating,
    elsewhere,
    feed,
    held,
    putting,
    stored,
    titles,
    written,
)
from tests.waiting import PATIENCE_SECS

FOREIGN = "00000000-0000-4000-8000-000000000001"


def link(key: str, at: int = NOW, *, deleted: bool = False, **fields: object) -> Record:
    version = Version(at, "e" * 16)
    return Record.make(LINK, key, version, version, fields, deleted=deleted)


async def test_intents_run_in_order_and_have_one_outcome_each(store: Store) -> None:
    outcomes = await store.write([creating("A"), creating("A", on_conflict="error"), creating("B")])
    assert [type(outcome) for outcome in outcomes] == [Written, Conflict, Written]
    assert [record.body["title"] for _, record in await feed(store)] == ["A", "B"]


async def test_writing_nothing_is_answered_with_nothing(store: Store) -> None:
    assert await store.write([]) == []


async def test_an_intent_sees_what_those_before_it_in_the_group_wrote(store: Store) -> None:
    first, second = await written(store, creating("A"), creating("A", content="again"))
    assert (first.created, second.created) == (True, False)
    assert second.record.key == first.record.key


async def test_an_intent_reads_addresses_pairs_and_touches(store: Store) -> None:
    memory = await stored(store, creating("A"))
    await written(store, fold(memory.key, Touched(2, NOW), {}))

    def reading(stamp: Stamp) -> Plan:
        found = yield from get(MEMORY, memory.key)
        missing = yield from get(MEMORY, FOREIGN)
        state = yield from holding(Pair("notes", "A"))
        counted = yield from touches(memory.key)
        return Decision((), (found, missing, state.holder, [touch.body["count"] for touch in counted]))

    assert await written(store, reading) == [(memory, None, memory, [2])]


async def test_a_reply_comes_with_the_records_that_stand(store: Store) -> None:
    (outcome,) = await store.write([creating("A")])
    assert isinstance(outcome, Written)
    assert isinstance(outcome.reply, Stored)
    assert outcome.records == (outcome.reply.record,)


async def test_a_refused_intent_leaves_nothing(store: Store) -> None:
    before = (store.head, store.digest.root())

    def refusing(stamp: Stamp) -> Plan:
        stamp.version()
        yield from holding(Pair("notes", "A"))
        raise Conflict("no")

    (outcome,) = await store.write([refusing])
    assert isinstance(outcome, Conflict)
    assert (store.head, store.digest.root()) == before
    assert await feed(store) == []


async def test_a_fault_inside_an_intent_fails_its_write_whole_and_no_other(store: Store) -> None:
    def broken(stamp: Stamp) -> Plan:
        yield from ()
        raise ZeroDivisionError

    results = await asyncio.gather(
        store.write([creating("A"), broken]), store.write([creating("B")]), return_exceptions=True
    )
    assert isinstance(results[0], StorageFailed)
    assert not isinstance(results[1], BaseException)
    assert await titles(store) == ["B"]
    assert await store.check() == []


async def test_versions_rise_with_every_write_even_when_the_clock_falls_back(store: Store, clock: Clock) -> None:
    seen = [(await stored(store, creating("A"))).version]
    for step in (-DAY, -DAY, 1, HOUR):
        clock.now += step
        seen.append((await stored(store, creating("A"))).version)
    assert seen == sorted(set(seen))
    assert {version.origin for version in seen} == {store.start}


async def test_a_version_seen_from_elsewhere_is_below_all_that_follow(store: Store) -> None:
    await written(store, receive(elsewhere(FOREIGN, "X", NOW + DAY)))
    assert (await stored(store, creating("A"))).version.time == NOW + DAY + 1


async def test_the_clock_survives_a_restart_and_the_origin_is_new(open_store: OpenStore) -> None:
    store = await open_store()
    await written(store, receive(elsewhere(FOREIGN, "X", NOW + DAY)))
    before = store.start
    store = await open_store.again(store)
    record = await stored(store, creating("A"))
    assert record.version.time > NOW + DAY
    assert record.version.origin == store.start != before


async def test_everything_acknowledged_is_there_after_a_restart(open_store: OpenStore) -> None:
    store = await open_store()
    await written(store, creating("A"), creating("B"), advance({"embedded": 7}))
    before = (store.digest.root(), store.head, store.visible, store.incarnation, await feed(store))
    store = await open_store.again(store)
    assert (store.digest.root(), store.head, store.visible, store.incarnation, await feed(store)) == before
    assert await store.progress("embedded") == 7
    assert await store.check() == []


async def test_a_closed_store_takes_no_more_and_closes_twice(store: Store) -> None:
    await store.close()
    await store.close()
    with pytest.raises(Busy):
        await store.write([creating("A")])


async def test_listeners_hear_each_group_in_order_before_its_writers_are_answered(store: Store) -> None:
    heard: list[tuple[int, bool]] = []
    answered = False

    def listen(changes: Sequence[Change]) -> None:
        heard.extend((change.seq, answered) for change in changes)
        assert store.head >= changes[-1].seq

    store.subscribe(listen)
    for number in range(3):
        await written(store, creating(f"A{number}"), creating(f"B{number}"))
    answered = True
    assert heard == [(seq, False) for seq in range(1, 7)]


async def test_a_refusal_is_heard_by_nobody(store: Store) -> None:
    heard: list[Change] = []
    await written(store, creating("A"))
    store.subscribe(heard.extend)
    (outcome,) = await store.write([creating("A", on_conflict="error")])
    assert isinstance(outcome, AimemError)
    assert heard == []


async def test_a_change_tells_what_stood_there_and_whether_it_may_be_shown(store: Store) -> None:
    heard: list[Change] = []
    store.subscribe(heard.extend)
    first = await stored(store, creating("A"))
    second = await stored(store, update(first.key, {"content": "new"}))
    third = await stored(store, delete(first.key))
    assert [(change.record, change.old, change.visible) for change in heard] == [
        (first, None, True),
        (second, first, True),
        (third, second, False),
    ]
    assert len({change.row for change in heard}) == 1


async def test_a_change_is_heard_of_every_memory_that_becomes_hidden_or_seen(store: Store) -> None:
    first = await stored(store, creating("A"))
    shown = {first.key: True}

    def listen(changes: Sequence[Change]) -> None:
        shown.update({change.record.key: change.visible for change in changes})

    store.subscribe(listen)
    await written(store, receive(elsewhere(FOREIGN, "A", NOW + HOUR)))
    assert shown == {first.key: False, FOREIGN: True}
    await written(store, archiving(FOREIGN))
    assert shown == {first.key: True, FOREIGN: False}


async def test_visible_counts_what_reads_may_show(store: Store) -> None:
    records = [await stored(store, creating(title)) for title in "ABCD"]
    await written(store, archiving(records[0].key), delete(records[1].key))
    assert store.visible == 2
    await written(store, receive(elsewhere(FOREIGN, "C", NOW + HOUR)))
    assert store.visible == 2
    await written(store, update(FOREIGN, {"title": "E"}))
    assert store.visible == 3


async def test_the_digest_is_that_of_the_records(store: Store) -> None:
    memory = await stored(store, creating("A"))
    await written(store, creating("B"), putting(link("a/b")), fold(memory.key, Touched(1, NOW), {}))
    await written(store, update(memory.key, {"content": "new"}))
    records = [record for _, record in await feed(store)]
    assert store.digest == Digest.of(records)
    await written(store, delete(memory.key))
    assert store.digest != Digest.of(records)
    assert store.digest == Digest.of(record for _, record in await feed(store))


async def test_an_unknown_kind_and_unknown_fields_are_kept_as_they_came(store: Store) -> None:
    wire = {
        "kind": "vote/2",
        "key": "k",
        "version": f"{NOW:016x}-{'e' * 16}",
        "born": f"{NOW:016x}-{'e' * 16}",
        "deleted": False,
        "body": {"ü": [1, 2.5, None]},
        "signature": "abc",
    }
    record = from_wire(wire)
    await written(store, receive(record))
    kept = await held(store, "vote/2", "k")
    assert kept == record
    assert kept is not None
    assert kept.extra == b'{"signature":"abc"}'
    assert (await feed(store))[0][1].raw == record.raw
    assert store.digest == Digest.of([record])


async def test_a_received_record_replaces_only_what_is_older(store: Store) -> None:
    newer, older = link("k", NOW + 1, to="new"), link("k", NOW, to="old")
    assert await written(store, receive(newer), receive(older), receive(newer)) == [True, False, False]
    assert await held(store, LINK, "k") == newer
    assert store.head == 1


async def test_a_vector_goes_with_its_memory(store: Store) -> None:
    memory = await stored(store, creating("A"))
    assert await written(store, keep_vector(memory.key, memory.version, {"v": "AAAA"})) == [True]
    digest = store.digest.root()
    assert await held(store, VECTOR, memory.key) is not None
    await written(store, delete(memory.key))
    assert await held(store, VECTOR, memory.key) is None
    assert await written(store, keep_vector(memory.key, memory.version, {"v": "AAAA"})) == [False]
    assert store.digest.root() == Digest().root() != digest
    assert await store.check() == []


async def test_progress_is_kept_with_the_records_of_its_decision(store: Store) -> None:
    assert await store.progress("embedded") == 0
    await written(store, putting(link("a"), embedded=3))
    await written(store, putting(link("b"), other=5), advance({"embedded": 4}))
    assert [await store.progress(name) for name in ("embedded", "other", "none")] == [4, 5, 0]


async def test_an_intent_may_write_nothing_and_still_answer(store: Store) -> None:
    def asking(stamp: Stamp) -> Plan:
        yield from ()
        return Decision((), (stamp.now, stamp.incarnation))

    assert await written(store, asking) == [(NOW, store.incarnation)]
    assert store.head == 0


async def test_many_writers_at_once_each_get_their_own_answer(store: Store) -> None:
    intents: list[Intent] = [creating(f"note {number}") for number in range(50)]
    answers = await asyncio.gather(*(store.write([intent]) for intent in intents))
    replies = [answer[0].reply for answer in answers if isinstance(answer[0], Written)]
    assert [reply.record.body["title"] for reply in replies] == [f"note {number}" for number in range(50)]
    assert await store.get([Ref(MEMORY, reply.record.key) for reply in replies]) == [reply.record for reply in replies]


async def test_a_memory_is_renamed_while_the_clock_moves_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next id that its old title leads to derives from the version of this very write: that must stay the same as
    long as the write is carried out."""
    (made,) = await written(store, creating("first"))
    times = count(NOW, 1_000)
    monkeypatch.setattr(Clock, "__call__", lambda _: next(times))
    async with asyncio.timeout(PATIENCE_SECS):
        (renamed,) = await written(store, update(made.record.key, {"title": "second"}))
    assert renamed.record.body["title"] == "second"
