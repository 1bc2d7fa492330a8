"""What every store promises about reads: filters, order, words, touches, expiry, figures."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.core.identity_words import parse_words
from aimem.core.intent import Decision, Plan, Stamp, look
from aimem.core.kinds import LINK, MEMORY, POLICY, TOUCH, VECTOR, VOTE, compound_key
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref, canonical
from aimem.core.text import recall_terms, search_terms
from aimem.core.upkeep import Touched, collect, fold, keep_vector, receive
from aimem.core.version import Version
from aimem.core.writes import delete, update
from aimem.store.base import Counted, Filter, Store, Vector, Words, Written
from tests.store.conftest import (
    HOUR,
    NOW,
    Clock,
    archiving,
    creating,
    elsewhere,
    held,
    putting,
    stored,
    titles,
    written,
)

FOREIGN = "00000000-0000-4000-8000-000000000001"
EXTENSION = {"short": HOUR}


async def found(store: Store, words: Words, limit: int = 100, **which: Any) -> set[str]:
    """Ids of the matches of a lexical question, as titles."""
    hits = await store.match(words, Filter(which.pop("now", NOW), **which), limit)
    memories = await store.memories([hit.id for hit in hits])
    return {memory.record.body["title"] for memory in memories if memory}


async def test_get_answers_in_order_with_tombstones_and_archived_ones(store: Store) -> None:
    first, second, third = [await stored(store, creating(title)) for title in "ABC"]
    await written(store, delete(first.key), archiving(second.key))
    refs = [Ref(MEMORY, key) for key in (third.key, FOREIGN, first.key, second.key)]
    live, missing, grave, put_away = await store.get(refs)
    assert live == third
    assert missing is None
    assert grave is not None
    assert grave.deleted
    assert put_away is not None
    assert "archived" in put_away.body


async def test_memories_answers_in_order_and_only_what_may_be_shown(store: Store) -> None:
    first, second, third = [await stored(store, creating(title)) for title in "ABC"]
    await written(store, delete(first.key), archiving(second.key))
    found = await store.memories([third.key, first.key, second.key, FOREIGN, third.key])
    assert [memory and memory.record for memory in found] == [third, None, None, None, third]


async def test_a_memory_comes_with_what_its_touches_add_up_to(store: Store) -> None:
    record = await stored(store, creating("A", tier="short", expires_at=NOW + HOUR))
    await written(store, fold(record.key, Touched(2, NOW), EXTENSION), fold(record.key, Touched(1, NOW + 5), EXTENSION))
    (memory,) = await store.memories([record.key])
    assert memory is not None
    assert (memory.use.accesses, memory.use.last, memory.use.expires) == (3, NOW + 5, NOW + HOUR + 5)
    assert memory.record == record


async def test_rows_name_memories_for_their_life(store: Store) -> None:
    record = await stored(store, creating("A"))
    (row,) = await store.rows(Filter(NOW))
    await written(store, creating("B"), update(record.key, {"content": "new"}))
    assert len(set(await store.rows(Filter(NOW)))) == 2
    memory, missing = await store.by_rows([row, 1_000])
    assert memory is not None
    assert (memory.row, memory.record.key) == (row, record.key)
    assert missing is None
    await written(store, archiving(record.key))
    assert await store.by_rows([row]) == [None]


async def test_select_orders_by_priority_then_last_write_then_id(store: Store, clock: Clock) -> None:
    await written(store, creating("low", priority=1), creating("high", priority=9))
    for title in ("old", "new"):
        clock.now += 1
        await written(store, creating(title))
    await written(store, creating("imported", updated_at=1), creating("imported too", updated_at=1))
    same = sorted([await stored(store, creating(title, updated_at=1)) for title in "ST"], key=lambda each: each.key)
    order = await titles(store)
    assert order[:3] == ["high", "new", "old"]
    assert order[-1] == "low"
    assert [title for title in order if title in "ST"] == [record.body["title"] for record in same]


async def test_a_reach_holds_what_was_sent_to_its_agents(store: Store) -> None:
    places = ("_messages/ai:a", "_messages/ai:ab", "_messages", "ai:a")
    await written(store, *(creating(place, namespace=place) for place in places))

    async def seen(words: str) -> set[str]:
        found = await store.select(Filter(NOW, reach=reach(words)), 10, 0)
        return {memory.record.body["title"] for memory in found}

    assert await seen("agents=ai:a") == {"_messages/ai:a"}
    assert await seen("agents=x,ai:a*") == {"_messages/ai:a", "_messages/ai:ab"}
    assert await seen("agents=ai:a namespaces=org/**") == set()


async def test_select_is_cut_by_limit_and_offset(store: Store) -> None:
    await written(store, *(creating(f"{number}", priority=number) for number in range(1, 6)))

    async def page(limit: int, offset: int) -> list[str]:
        return [memory.record.body["title"] for memory in await store.select(Filter(NOW), limit, offset)]

    assert await page(2, 0) == ["5", "4"]
    assert await page(2, 3) == ["2", "1"]
    assert await page(10, 5) == []
    assert await page(0, 0) == []


def reach(words: str) -> Reach:
    return Reach(parse_words(words)[0])


CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "all": ({}, {"A", "B", "C", "D"}),
    "namespaces": ({"namespaces": ("notes", "org/unit")}, {"A", "B", "D"}),
    "no namespaces": ({"namespaces": ()}, set()),
    "namespaces are exact": ({"namespaces": ("org",)}, set()),
    "tier": ({"tier": "mid"}, {"B"}),
    "tag": ({"tag": "red"}, {"A", "B"}),
    "tag is exact": ({"tag": "re"}, set()),
    "priority": ({"min_priority": 7}, {"B", "C"}),
    "since is inclusive": ({"since": 300}, {"A", "C", "D"}),
    "until is inclusive": ({"until": 200}, {"B"}),
    "author": ({"agent_id": "ai:b"}, {"B"}),
    "all of them": ({"tag": "red", "min_priority": 7, "tier": "mid", "agent_id": "ai:b", "since": 100}, {"B"}),
    "from its own place": ({"visible_from": "org/unit/team/agent"}, {"C", "D"}),
    "from a sibling": ({"visible_from": "org/unit/team/other"}, {"D"}),
    "from elsewhere": ({"visible_from": "other/place"}, set()),
    "as a lookalike": ({"visible_from": "org/unit2/team/agent"}, set()),
    "in reach of a name": ({"reach": reach("agents=ai:b")}, {"B"}),
    "in reach of many names": ({"reach": reach("agents=x,ai:*")}, {"A", "B", "C", "D"}),
    "in reach of names in a place": ({"reach": reach("agents=ai:* namespaces=org/**")}, {"C", "D"}),
    "in reach of a namespace": ({"reach": reach("namespaces=notes")}, {"A", "B"}),
    "in reach of a level": ({"reach": reach("agents=ai:* namespaces=*/unit")}, {"D"}),
    "in reach of all below a level": ({"reach": reach("home=org/unit/team/agent namespaces=*/unit/**")}, {"C", "D"}),
    "in reach of a home": ({"reach": reach("home=org/unit/team/agent")}, {"C", "D"}),
    "in reach of a home elsewhere": ({"reach": reach("home=a/b/c")}, set()),
    "in reach, as somebody": ({"reach": reach("agents=ai:b*"), "visible_from": "notes"}, {"B"}),
}


@pytest.mark.parametrize(("which", "expected"), CASES.values(), ids=CASES)
async def test_a_filter_passes_what_meets_all_its_conditions(
    store: Store, which: dict[str, Any], expected: set[str]
) -> None:
    team = {"agent_id": "ai:a", "scope": "unit"}
    await written(
        store,
        creating("A", tags=["red", "blue"]),
        creating("B", tags=["red"], tier="mid", priority=7, metadata={"agent_id": "ai:b"}, created_at=200),
        creating("C", priority=9, namespace="org/unit/team/agent", created_at=300),
        creating("D", namespace="org/unit", metadata=team),
    )
    assert set(await titles(store, **which)) == expected
    rows = await store.rows(Filter(NOW, **which))
    assert {each.record.body["title"] for each in await store.by_rows(rows) if each} == expected
    assert await found(store, Words((("about",),)), **which) == expected


async def test_a_grant_brings_one_birth_of_a_memory_into_reach(store: Store) -> None:
    held = await stored(store, creating("A", metadata={"agent_id": "ai:a"}))
    await written(store, creating("B", metadata={"agent_id": "ai:b"}))
    identity = parse_words("agents=ai:b namespaces=elsewhere")[0]
    for born, expected in ((str(held.born), {"A"}), ("0" * 16 + "-" + "0" * 16, set())):
        granted = Reach(identity, frozenset({(held.key, born)}))
        assert set(await titles(store, reach=granted)) == expected
        rows = await store.by_rows(await store.rows(Filter(NOW, reach=granted)))
        assert {each.record.body["title"] for each in rows if each} == expected
        assert await found(store, Words((("about",),)), reach=granted) == expected
        assert (await store.stats(NOW, granted)).total == len(expected)


async def test_what_has_expired_is_hidden_from_filters_but_not_from_its_id(store: Store) -> None:
    record = await stored(store, creating("A", tier="short", expires_at=NOW + HOUR))
    assert await titles(store, now=NOW + HOUR - 1) == ["A"]
    assert await titles(store, now=NOW + HOUR) == []
    assert await found(store, Words((("about",),)), now=NOW + HOUR) == set()
    assert await store.rows(Filter(NOW + HOUR)) == []
    assert (await store.stats(NOW + HOUR)).total == 0
    (memory,) = await store.memories([record.key])
    assert memory is not None


async def test_an_extension_counts_everywhere_and_moves_no_record(store: Store) -> None:
    record = await stored(store, creating("A", tier="short", expires_at=NOW + HOUR))
    await written(store, fold(record.key, Touched(1, NOW + HOUR // 2), EXTENSION))
    assert await titles(store, now=NOW + HOUR) == ["A"]
    assert await titles(store, now=NOW + HOUR * 3 // 2) == []
    assert await store.expired(NOW + HOUR + 1, 10) == []
    assert await store.expired(NOW + HOUR * 3 // 2 + 1, 10) == [record.key]
    assert await held(store, MEMORY, record.key) == record


async def test_an_edit_ends_the_extensions_of_what_it_replaced(store: Store) -> None:
    record = await stored(store, creating("A", tier="short", expires_at=NOW + HOUR))
    await written(store, fold(record.key, Touched(1, NOW + HOUR // 2), EXTENSION))
    await written(store, update(record.key, {"content": "new"}))
    assert await titles(store, now=NOW + HOUR) == []


async def test_an_extension_that_comes_from_elsewhere_counts_too(store: Store) -> None:
    record = await stored(store, creating("A", tier="short", expires_at=NOW + HOUR))
    version = Version(NOW + 1, "e" * 16)
    body = {"count": 3, "last": NOW, "rank": 0, "base": str(record.version), "expires": NOW + 2 * HOUR}
    await written(store, receive(Record.make(TOUCH, f"{record.key}/{record.born}.e", version, version, body)))
    assert await titles(store, now=NOW + HOUR) == ["A"]
    assert await store.expired(NOW + 2 * HOUR, 10) == []
    assert await store.expired(NOW + 2 * HOUR + 1, 10) == [record.key]


async def test_expired_names_the_earliest_first_and_neither_archived_nor_deleted_ones(store: Store) -> None:
    records = [
        await stored(store, creating(title, tier="short", expires_at=NOW + place * HOUR))
        for place, title in enumerate("DCBA", start=1)
    ]
    await written(store, creating("long"), archiving(records[0].key), delete(records[1].key))
    assert await store.expired(NOW + 9 * HOUR, 10) == [records[2].key, records[3].key]
    assert await store.expired(NOW + 9 * HOUR, 1) == [records[2].key]
    assert await store.expired(NOW + 4 * HOUR, 10) == [records[2].key]
    await written(store, collect(records[2].key, NOW + 9 * HOUR, as_archived=True))
    assert await store.expired(NOW + 9 * HOUR, 10) == [records[3].key]


async def test_expired_names_hidden_memories_too(store: Store) -> None:
    record = await stored(store, creating("A", tier="short", expires_at=NOW + HOUR))
    await written(store, receive(elsewhere(FOREIGN, "A", NOW + HOUR)))
    assert await store.expired(NOW + 2 * HOUR, 10) == [record.key]


async def test_what_stands_under_the_parts_of_a_key_is_found_live_and_in_order(store: Store) -> None:
    def vote(*parts: str, deleted: bool = False) -> Record:
        version = Version(NOW + len(parts), "f" * 16)
        return Record.make(VOTE, compound_key(*parts), version, version, {"v": parts[-1]}, deleted=deleted)

    keys = [("a", "2"), ("a", "1"), ("a/b", "1"), ("ab", "1"), ("a", "x/y")]
    for parts in keys:
        await written(store, receive(vote(*parts)))
    await written(store, receive(vote("a", "3", deleted=True)))
    assert [each.body["v"] for each in await store.under(VOTE, compound_key("a"))] == ["1", "2", "x/y"]
    assert [each.key for each in await store.under(VOTE, compound_key("a/b"))] == ["a%2Fb/1"]
    assert await store.under(LINK, compound_key("a")) == []


async def test_a_look_sees_what_the_group_has_written_and_what_was_there_at_the_start(store: Store) -> None:
    def looking(stamp: Stamp) -> Plan:
        return Decision((), (yield from look(POLICY, "g")))

    version = Version(NOW, "f" * 16)
    policy = Record.make(POLICY, "g", version, version, {"namespace": "g", "policy": {"write": "any"}})
    outcomes = await store.write([looking, receive(policy), looking])
    assert [outcome.reply for outcome in outcomes if isinstance(outcome, Written)] == [None, True, policy]
    assert [each.reply for each in await store.rehearse([looking])] == [policy]
    gone = Record.make(POLICY, "g", Version(NOW + 1, "f" * 16), version, {"namespace": "g"}, deleted=True)
    await written(store, receive(gone))
    assert [each.reply for each in await store.rehearse([looking])] == [None]


async def test_ids_with_a_prefix_come_in_order_and_bounded(store: Store) -> None:
    for key in ("ab1", "ab3", "ab2", "b", "ab%"):
        await written(store, receive(elsewhere(key, key, NOW)))
    await written(store, delete("ab3"))
    assert await store.ids_with_prefix("ab", 10) == ["ab%", "ab1", "ab2"]
    assert await store.ids_with_prefix("ab", 2) == ["ab%", "ab1"]
    assert await store.ids_with_prefix("ab%", 10) == ["ab%"]
    assert await store.ids_with_prefix("", 10) == ["ab%", "ab1", "ab2", "b"]


WORDS: dict[str, tuple[Words, set[str]]] = {
    "any": (Words((("running",), ("banana",))), {"apples", "bread"}),
    "all": (Words((("running",), ("tree",)), all_of=True), {"apples"}),
    "all, one of them nowhere": (Words((("running",), ("nowhere",)), all_of=True), set()),
    "by stem": (Words((("RUNS",),)), {"apples"}),
    "in the title": (Words((("apple",),)), {"apples"}),
    "in the tags": (Words((("harvest",),)), {"bread"}),
    "without accents": (Words((("creme",),)), {"bread"}),
    "words that follow each other": (Words((("tree", "trunk"),)), {"apples"}),
    "not those that do not": (Words((("trunk", "tree"),)), set()),
    "not across title and content": (Words((("apples", "running"),)), set()),
    "nothing asked": (Words(()), set()),
    "author everywhere": (Words((("tester",),)), {"apples", "bread"}),
    "author not in the text": (Words((("tester",),), everywhere=False), set()),
    "query syntax is text": (Words(search_terms('running" OR *')), {"apples"}),
    "a question": (Words(recall_terms("where do the trees run?")), {"apples"}),
}


@pytest.mark.parametrize(("words", "expected"), WORDS.values(), ids=WORDS)
async def test_words_match_by_stem_in_what_they_look_at(store: Store, words: Words, expected: set[str]) -> None:
    await written(
        store,
        creating("apples", content="running along the tree trunk"),
        creating("bread", content="a banana crème", tags=["harvested"]),
    )
    assert await found(store, words) == expected


async def test_a_match_is_cut_after_the_filter_and_the_best_come_first(store: Store) -> None:
    await written(store, *(creating(f"red {number}", content="x y z", tags=["no"]) for number in range(20)))
    await written(store, creating("red boat", content="a boat", tags=["yes"]))
    words = Words((("red",), ("boat",)))
    assert await found(store, words, limit=1) == {"red boat"}
    assert await found(store, Words((("red",),)), limit=1, tag="yes") == {"red boat"}
    hits = await store.match(words, Filter(NOW), 5)
    assert len(hits) == 5
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_words_of_what_changed_or_went_are_forgotten(store: Store) -> None:
    record, other = (
        await stored(store, creating("A", content="apple")),
        await stored(store, creating("B", content="fig")),
    )
    await written(store, update(record.key, {"content": "pear"}), archiving(other.key))
    assert await found(store, Words((("apple",), ("fig",)))) == set()
    assert await found(store, Words((("pear",),))) == {"A"}
    await written(store, receive(elsewhere(FOREIGN, "A", NOW + HOUR, content="plum")))
    assert await found(store, Words((("pear",), ("plum",)))) == {"A"}
    assert await store.match(Words((("pear",),)), Filter(NOW), 10) == []
    assert await store.check() == []


async def test_namespaces_are_counted_most_first_then_by_name(store: Store) -> None:
    await written(store, *(creating(f"{number}", namespace="b") for number in range(2)))
    await written(store, creating("1", namespace="c"), creating("1", namespace="a"))
    await written(store, creating("2", namespace="a/b", tier="short", expires_at=NOW + HOUR))
    assert await store.namespaces(NOW) == [Counted("b", 2), Counted("a", 1), Counted("a/b", 1), Counted("c", 1)]
    assert await store.namespaces(NOW + HOUR) == [Counted("b", 2), Counted("a", 1), Counted("c", 1)]


async def test_stats_count_what_is_alive(store: Store) -> None:
    await written(store, creating("A"), creating("B"), creating("C", tier="mid", namespace="other"))
    await written(store, creating("soon", tier="short", expires_at=NOW + HOUR))
    await written(store, creating("later", tier="short", expires_at=NOW + HOUR + 1))
    gone = await stored(store, creating("gone"))
    await written(store, delete(gone.key), archiving((await stored(store, creating("old"))).key))
    version = Version(NOW, "e" * 16)
    links = [Record.make(LINK, key, version, version, {}, deleted=key == "c") for key in "abc"]
    await written(store, putting(*links))
    stats = await store.stats(NOW)
    assert stats.total == 5
    assert stats.by_tier == [Counted("short", 2), Counted("long", 2), Counted("mid", 1)]
    assert stats.by_namespace == [Counted("notes", 4), Counted("other", 1)]
    assert (stats.expiring, stats.links) == (1, 2)
    assert stats.size > 0


async def test_a_scan_gives_all_live_records_of_a_kind_with_the_row_of_their_memory(store: Store) -> None:
    records = [await stored(store, creating(title)) for title in "ABC"]
    for record in records:
        await written(store, keep_vector(record.key, record.version, {"v": record.key}))
        await written(store, fold(record.key, Touched(1, NOW), {}))
    await written(store, archiving(records[1].key), delete(records[2].key))
    rows = {memory.record.key: memory.row for memory in await store.select(Filter(NOW), 10, 0)}

    async def scanned(kind: str) -> dict[str, int]:
        return {record.key: row async for batch in store.scan(kind) for row, record in batch}

    first, put_away, gone = (record.key for record in records)
    assert await scanned(MEMORY) == {first: rows[first], put_away: 0}
    assert await scanned(VECTOR) == {first: rows[first], put_away: 0}
    touched = {key.partition("/")[0]: row for key, row in (await scanned(TOUCH)).items()}
    assert touched == {first: rows[first], put_away: 0, gone: 0}
    assert await scanned("none") == {}


async def test_a_scan_of_vectors_gives_those_of_visible_memories_whole(store: Store) -> None:
    records = [await stored(store, creating(title)) for title in "ABCDE"]
    for record in reversed(records[:4]):
        await written(store, keep_vector(record.key, record.version, {"text": "ö", "v": record.key}))
    await written(store, archiving(records[1].key), delete(records[2].key))
    rows = {memory.record.key: memory.row for memory in await store.select(Filter(NOW), 10, 0)}
    found = [vector async for batch in store.scan_vectors() for vector in batch]
    assert sorted(found) == sorted(
        Vector(rows[each.key], each.key, canonical({"text": "ö", "v": each.key})) for each in (records[0], records[3])
    )
