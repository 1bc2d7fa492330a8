"""What every store promises about its feed: one entry per address, pages, cursors, starts and incarnations."""

from __future__ import annotations

from aimem.core.feed import Cursor, betrays_the_past
from aimem.core.kinds import IDEMPOTENCY, MEMORY, TOUCH
from aimem.core.record import Record
from aimem.core.upkeep import Touched, fold, receive
from aimem.core.version import Version
from aimem.core.writes import delete, update
from aimem.store.base import Store
from tests.store.conftest import HOUR, NOW, OpenStore, creating, elsewhere, feed, putting, stored, written

LARGE = 1 << 40


async def test_seq_rises_by_one_with_every_change_and_each_address_comes_once(store: Store) -> None:
    """B-30."""
    first, second = await stored(store, creating("A")), await stored(store, creating("B"))
    changed = await stored(store, update(first.key, {"content": "new"}))
    gone = await stored(store, delete(second.key))
    assert await feed(store) == [(3, changed), (4, gone)]
    assert store.head == 4


async def test_received_records_are_in_the_feed_like_own_ones(store: Store) -> None:
    record = elsewhere("x", "X", NOW)
    await written(store, receive(record))
    assert await feed(store) == [(1, record)]


async def test_hiding_and_showing_another_memory_is_no_change(store: Store) -> None:
    await written(store, creating("A"), receive(elsewhere("x", "A", NOW + HOUR)))
    assert [seq for seq, _ in await feed(store)] == [1, 2]


async def test_every_kind_is_in_the_feed_and_a_reader_may_choose(store: Store) -> None:
    record = await stored(store, creating("A"))
    version = Version(NOW, "e" * 16)
    kept = Record.make(IDEMPOTENCY, "k", version, version, {"request": "", "status": 200, "reply": {}})
    await written(store, fold(record.key, Touched(1, NOW), {}), putting(kept))
    assert [each.kind for _, each in await feed(store)] == [MEMORY, TOUCH, IDEMPOTENCY]
    page = await store.changes(0, 10, LARGE, (MEMORY, IDEMPOTENCY))
    assert [each.kind for _, each in page.changes] == [MEMORY, IDEMPOTENCY]
    assert await store.changes(0, 10, LARGE, ()) == page._replace(changes=[])


async def test_a_page_is_cut_by_number_and_goes_on_where_it_ended(store: Store) -> None:
    await written(store, *(creating(title) for title in "ABCDE"))
    page = await store.changes(0, 2, LARGE)
    assert ([seq for seq, _ in page.changes], page.cursor.seq, page.more) == ([1, 2], 2, True)
    page = await store.changes(page.cursor.seq, 3, LARGE)
    assert ([seq for seq, _ in page.changes], page.cursor.seq, page.more) == ([3, 4, 5], 5, False)
    page = await store.changes(page.cursor.seq, 3, LARGE)
    assert (page.changes, page.cursor.seq, page.more) == ([], 5, False)


async def test_what_comes_late_with_an_older_version_is_read_last(store: Store) -> None:
    """A reader that has read the page before must not have passed it."""
    await written(store, creating("A"), creating("B"), receive(elsewhere("x", "X", NOW - HOUR)))
    page = await store.changes(0, 2, LARGE)
    assert ([seq for seq, _ in page.changes], page.cursor.seq, page.more) == ([1, 2], 2, True)
    assert [record.key for _, record in (await store.changes(2, 2, LARGE)).changes] == ["x"]


async def test_a_page_is_cut_by_size_but_holds_one_record_at_least(store: Store) -> None:
    await written(store, *(creating(title, content="x" * 1_000) for title in "ABC"))
    assert len((await store.changes(0, 10, 1)).changes) == 1
    page = await store.changes(0, 10, 2_900)
    assert (len(page.changes), page.more) == (2, True)


async def test_a_page_without_any_record_of_its_kinds_still_goes_forward(store: Store) -> None:
    await written(store, *(creating(title) for title in "ABC"))
    page = await store.changes(0, 1, LARGE, (TOUCH,))
    assert (page.changes, page.cursor.seq, page.more) == ([], 3, False)


async def test_what_few_rows_are_of_is_found_among_many_others_page_by_page(store: Store) -> None:
    """A store may look these up by their kind: they come by their place all the same, and none of them is passed."""
    ids = [(await stored(store, creating(title))).key for title in "CAB"]
    touches = [fold(each, Touched(1, NOW), {}) for each in (*ids, *ids[:1])]
    await written(store, *touches[:3], *(creating(f"other {number}") for number in range(40)), touches[3])
    after, found, more = 3, list[tuple[int, str]](), True
    while more:
        page = await store.changes(after, 2, LARGE, (TOUCH, IDEMPOTENCY))
        found += [(seq, each.key.partition("/")[0]) for seq, each in page.changes]
        assert len(page.changes) <= 2
        after, more = page.cursor.seq, page.more
    assert found == [(5, ids[1]), (6, ids[2]), (47, ids[0])]
    assert after == store.head
    assert len((await store.changes(4, 10, 1, (TOUCH,))).changes) == 1


async def test_a_cursor_names_incarnation_and_start(store: Store) -> None:
    assert (await store.changes(0, 1, LARGE)).cursor == Cursor(store.incarnation, store.start, 0)


async def test_a_cursor_of_an_earlier_start_goes_on_where_it_was(open_store: OpenStore) -> None:
    store = await open_store()
    await written(store, *(creating(title) for title in "ABC"))
    cursor = (await store.changes(0, 2, LARGE)).cursor
    store = await open_store.again(store)
    await written(store, creating("D"))
    assert store.start != cursor.start
    assert store.incarnation == cursor.incarnation
    assert await store.resolve_cursor(cursor) == 2


async def test_a_cursor_past_what_its_start_wrote_goes_back_to_the_first_seq_of_the_next(open_store: OpenStore) -> None:
    store = await open_store()
    await written(store, *(creating(title) for title in "ABC"))
    ahead = Cursor(store.incarnation, store.start, 9)
    store = await open_store.again(store)
    await written(store, creating("D"), creating("E"))
    assert await store.resolve_cursor(ahead) == 3


async def test_a_cursor_of_an_unknown_start_begins_anew(store: Store) -> None:
    await written(store, *(creating(title) for title in "ABC"))
    assert await store.resolve_cursor(Cursor(store.incarnation, "f" * 16, 2)) == 0


async def test_a_cursor_past_the_end_goes_back_to_the_end_and_betrays_the_past(store: Store) -> None:
    await written(store, creating("A"))
    ahead = Cursor(store.incarnation, store.start, 5)
    assert await store.resolve_cursor(ahead) == 1
    starts = [(store.start, 1)]
    assert betrays_the_past(ahead, incarnation=store.incarnation, starts=starts, head=store.head)


async def test_a_new_incarnation_lasts_and_changes_no_record(open_store: OpenStore) -> None:
    store = await open_store()
    await written(store, creating("A"))
    before, records = store.incarnation, await feed(store)
    cursor = (await store.changes(0, 9, LARGE)).cursor
    await store.renew_incarnation()
    renewed = store.incarnation
    assert renewed != before
    assert await store.resolve_cursor(cursor) == 1
    store = await open_store.again(store)
    assert store.incarnation == renewed
    assert await feed(store) == records


async def test_touches_are_counted_under_the_incarnation_in_hand(store: Store) -> None:
    record = await stored(store, creating("A"))
    await written(store, fold(record.key, Touched(1, NOW), {}))
    await store.renew_incarnation()
    await written(store, fold(record.key, Touched(2, NOW), {}))
    (memory,) = await store.memories([record.key])
    assert memory is not None
    assert memory.use.accesses == 3
    assert len((await store.changes(0, 9, LARGE, (TOUCH,))).changes) == 2
