"""Several nodes on one store: each hears of all, nothing is lost between them, and they agree at every place."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from aimem.core.feed import betrays_the_past
from aimem.core.intent import Decision, Intent, Plan, Stamp, look
from aimem.core.kinds import IDEMPOTENCY, MEMORY, POLICY
from aimem.core.record import Record, Ref
from aimem.core.upkeep import advance, receive
from aimem.core.version import Version
from aimem.core.writes import delete
from aimem.errors import Misconfigured
from aimem.store.base import Filter, Words
from aimem.store.postgres import known
from aimem.store.postgres.group import Run
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.schema import WRITING
from aimem.store.postgres.standing import resident_of
from aimem.store.postgres.url import read_target
from aimem.store.sqlite.schema import SCHEMA_VERSION, create
from tests.postgres_server import PostgresServer, name_of
from tests.store.conftest import NOW, creating, elsewhere, feed, held, stored, storing, written
from tests.store.shared import all_hear, nodes
from tests.waiting import until

pytestmark = pytest.mark.bad_luck

Make = Callable[[], str]


async def test_every_node_hears_of_every_change_once_and_in_order(database: Make) -> None:
    async with nodes(database(), 3) as found:
        for at in range(30):
            await written(found[at % 3].store, storing(f"memory {at}"))
        await all_hear(found, 30)
        expected = [(seq, record.ref) for seq, record in await feed(found[0].store)]
        assert [node.heard for node in found] == [expected] * 3
        assert len({node.store.digest.root() for node in found}) == 1
        assert [node.store.visible for node in found] == [30] * 3
        assert await found[0].store.check() == []


async def test_writes_of_many_nodes_at_once_are_in_one_order_without_gaps(database: Make) -> None:
    async with nodes(database(), 4) as found:
        await asyncio.gather(*(written(node.store, storing(f"memory {at}")) for at in range(40) for node in found))
        head = max(node.store.head for node in found)
        await all_hear(found, head)
        expected = {record.ref: seq for seq, record in await feed(found[0].store)}
        for node in found:
            seqs = [seq for seq, _ in node.heard]
            assert seqs == sorted(set(seqs)), "each change once, in order"
            assert {ref: seq for seq, ref in node.heard} == expected, "of each record the last that stands"
        assert found[0].store.visible == 40, "all wrote the same forty"
        assert len({node.store.digest.root() for node in found}) == 1
        assert await found[0].store.check() == []


async def test_a_write_waits_for_that_of_another_node(database: Make, postgres: PostgresServer) -> None:
    url = database()
    waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    async with nodes(url, 2) as (node, other):
        holder = await other.store.connections.alone()
        await holder.execute("BEGIN")
        await holder.execute("SELECT pg_advisory_xact_lock(%s)", (WRITING,))
        writing = asyncio.create_task(stored(node.store, storing("A")))
        await until(lambda: writing.done() or postgres.sql(waits, name_of(url)) == [(1,)])
        assert not writing.done()
        await holder.execute("COMMIT")
        holder.pgconn.finish()
        assert (await writing).kind == MEMORY


async def test_a_write_sees_what_another_node_has_just_written(database: Make) -> None:
    async with nodes(database(), 2) as (first, second):
        memory = await stored(first.store, storing("A"))
        again = await stored(second.store, storing("A", content="newer"))
        assert (again.key, again.born) == (memory.key, memory.born)
        await written(second.store, delete(memory.key))
        assert (await stored(first.store, storing("A"))).born > again.version


async def test_what_another_node_wrote_is_not_forgotten_by_the_writes_after_it(
    database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aimem.store.postgres.writer.FOLLOW_SECS", 60.0)  # so that only a write can hear of it
    async with nodes(database(), 2) as (first, second):
        memory = await stored(first.store, storing("A"))
        await written(second.store, delete(memory.key))
        for title in ("B", "C"):  # the first of them hears of it, the next one is alone again
            await stored(first.store, storing(title))
        again = await stored(first.store, storing("A"))
        assert again.born == again.version, "it was deleted: this is another birth"


async def test_rules_of_another_node_are_in_force_for_the_next_write(database: Make) -> None:
    def ruled(key: str) -> Intent:
        def plan(stamp: Stamp) -> Plan:
            return Decision((), (yield from look(POLICY, key)))

        return plan

    async with nodes(database(), 2) as (first, second):
        version = Version(NOW, "e" * 16)
        policy = Record.make(POLICY, "notes", version, version, {"namespace": "notes", "policy": {}})
        await written(first.store, receive(policy))
        assert await written(second.store, ruled("notes")) == [policy]


async def test_rules_are_in_force_while_those_of_another_past_are_read(
    database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruled(stamp: Stamp) -> Plan:
        return Decision((), (yield from look(POLICY, "notes")))

    seen = []

    async def slowly(connection: Any) -> Any:
        seen.append((await second.store.rehearse([ruled]))[0].reply)
        return await resident_of(connection)

    async with nodes(database(), 2) as (first, second):
        version = Version(NOW, "e" * 16)
        policy = Record.make(POLICY, "notes", version, version, {"namespace": "notes", "policy": {}})
        await written(first.store, receive(policy))
        await second.store.hear()
        monkeypatch.setattr("aimem.store.postgres.following.resident_of", slowly)
        await first.store.renew_incarnation()
        await all_hear([second], first.store.head)
        await second.store.hear()
        assert second.store.incarnation == first.store.incarnation
        assert seen == [policy]


async def test_ten_nodes_open_an_empty_database_at_once(database: Make) -> None:
    async with nodes(database(), 10) as found:
        assert len({node.store.incarnation for node in found}) == 1
        starts = await found[0].store.starts()
        assert {start for start, _ in starts} == {node.store.start for node in found}


async def test_a_cursor_of_one_node_goes_on_at_another(database: Make) -> None:
    async with nodes(database(), 2) as (first, second):
        for at in range(4):
            await written(first.store, storing(f"memory {at}"))
        page = await first.store.changes(0, 3, 1 << 20)
        await written(second.store, storing("later"))
        assert await second.store.resolve_cursor(page.cursor) == 3
        starts = await second.store.starts()
        for store in (first.store, second.store):
            await store.hear()
            assert not betrays_the_past(page.cursor, incarnation=store.incarnation, starts=starts, head=store.head)


async def test_to_hear_is_to_know_of_all_that_was_committed_before(database: Make) -> None:
    async with nodes(database(), 2) as (first, second):
        for at in range(5):
            await written(first.store, storing(f"memory {at}"))
            await second.store.hear()
            assert second.store.head == first.store.head


async def test_to_hear_is_tried_again_where_the_connection_was_lost(database: Make, postgres: PostgresServer) -> None:
    async with nodes(database(), 2) as (first, second):
        for at in range(1, 5):
            await written(first.store, storing(f"memory {at}"))
            postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aimem'")
            await second.store.hear()
            assert second.store.head >= at


async def test_a_newer_schema_is_refused(database: Make, postgres: PostgresServer) -> None:
    url = database()
    async with nodes(url, 1):
        pass
    postgres.sql("UPDATE state SET schema = schema + 1", name_of(url))
    with pytest.raises(Misconfigured, match="newer than this program"):
        await open_store(read_target(url))


async def test_tables_of_another_program_are_refused(database: Make, postgres: PostgresServer) -> None:
    url = database()
    postgres.sql("CREATE TABLE state (here integer)", name_of(url))
    with pytest.raises(Misconfigured, match="another program"):
        await open_store(read_target(url))


async def test_a_schema_of_its_own_beside_tables_of_another_program(database: Make, postgres: PostgresServer) -> None:
    """As aimem-store(7) tells it, whatever the others are called."""
    url = database()
    for table in ("state", "record", "progress", "start"):
        postgres.sql(f"CREATE TABLE public.{table} (here integer)", name_of(url))
    postgres.sql("CREATE SCHEMA aimem AUTHORIZATION aimem", name_of(url))
    for _ in range(2):
        async with nodes(url, 1) as (node,):
            await written(node.store, storing("t"))
    assert postgres.sql("SELECT count(*) FROM aimem.state", name_of(url)) == [(1,)]


async def test_a_database_without_the_extension_is_refused(postgres: PostgresServer) -> None:
    name = postgres.new_database(extension=False)
    try:
        with pytest.raises(Misconfigured, match="pgvector"):
            await open_store(read_target(postgres.url(name)))
    finally:
        postgres.drop_database(name)


async def test_an_unfinished_schema_is_nobodys(database: Make, postgres: PostgresServer) -> None:
    """A node that dies while it makes the tables leaves none: the next one begins at the beginning."""
    url = database()
    postgres.sql("CREATE TABLE embedding (here integer)", name_of(url))
    with pytest.raises(Exception, match="embedding"):
        await open_store(read_target(url))
    assert postgres.sql("SELECT to_regclass('record')", name_of(url)) == [(None,)]


@pytest.mark.parametrize("text", ["a\0b", "a\x01b", "\0", "a\x01\x01", 'tags\\ "quoted" {x}, NULL'])
async def test_any_text_is_kept(database: Make, text: str) -> None:
    """NUL in text, and what stands for it in a column."""
    record = elsewhere(f"id {text}", f"title {text}", NOW, namespace=text, tags=[text], metadata={"agent_id": text})
    async with nodes(database(), 1) as (node,):
        store = node.store
        await written(store, receive(record))
        assert await held(store, MEMORY, record.key) == record
        for which in (Filter(NOW, namespaces=(text,)), Filter(NOW, tag=text), Filter(NOW, agent_id=text)):
            assert [memory.record for memory in await store.select(which, 10, 0)] == [record]
        assert [each.name for each in await store.namespaces(NOW)] == [text]
        assert await store.ids_with_prefix("id", 10) == [record.key]
        assert [hit.id for hit in await store.match(Words((("title",),)), Filter(NOW), 10)] == [record.key]
        await written(store, advance({text: 3}))
        assert await store.progress(text) == 3
        assert await store.positions(text) == {text: 3}
        assert await store.check() == []


@pytest.mark.parametrize("number", [float("1e300"), -(1 << 80), 2.5, True, None, "five", [5]])
async def test_numbers_that_are_none_break_nothing(database: Make, number: object) -> None:
    """A record of another program may carry anything: it is kept as it is."""
    async with nodes(database(), 1) as (node,):
        record = elsewhere("a", "A", NOW, priority=number)
        await written(node.store, receive(record), storing("B"))
        assert await held(node.store, MEMORY, "a") == record


async def test_an_intent_that_fails_takes_no_other_with_it(database: Make) -> None:
    def broken(stamp: Stamp) -> Plan:
        yield from ()
        raise RuntimeError("a bug")

    async with nodes(database(), 1) as (node,):
        outcomes = await asyncio.gather(
            *(node.store.write([intent]) for intent in (storing("A"), broken, storing("B"))), return_exceptions=True
        )
        assert [isinstance(each, Exception) for each in outcomes] == [False, True, False]
        assert node.store.visible == 2


async def test_intents_of_one_group_see_what_those_before_them_wrote(database: Make) -> None:
    async with nodes(database(), 1) as (node,):
        memory, again = await written(node.store, creating("A"), creating("A", content="newer"))
        assert again.record.key == memory.record.key
        assert again.record.born == memory.record.version
        _, anew = await written(node.store, delete(memory.record.key), creating("A"))
        assert anew.record.born > again.record.version
        assert node.store.fsyncs == 2
        assert await node.store.check() == []


async def test_a_group_is_run_once_where_all_it_reads_is_known(database: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new, and what this node wrote last; not what another node may have written since."""
    runs = 0

    def counted(*arguments: Any) -> Run:
        nonlocal runs
        runs += 1
        return Run(*arguments)

    monkeypatch.setattr("aimem.store.postgres.writer.Run", counted)
    async with nodes(database(), 2) as (node, other):
        await node.store.hear()  # of the other's opening
        memory = await stored(node.store, creating("A"))
        again = await stored(node.store, creating("A", content="newer"))
        assert runs == 2
        assert again.key == memory.key
        await written(node.store, delete(memory.key))
        assert (await stored(node.store, creating("A"))).born > again.version
        assert runs == 4
        newest = await stored(other.store, creating("A", content="newest"))
        assert runs == 6, "the other node did not know it"
        await node.store.hear()  # else one more run, when it finds that what it would go by is old
        assert (await stored(node.store, creating("A", content="last"))).born == newest.born
        assert runs == 8, "it stands otherwise than this node left it"
        assert await node.store.check() == await other.store.check() == []


async def test_what_a_node_wrote_last_is_not_asked_for_in_the_second_run(
    database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Ref] = []
    rounds = 0

    async def counted(connection: Any, missing: known.Missing) -> Any:
        nonlocal rounds
        rounds += 1
        asked.extend(missing.refs)
        return await known.ask(connection, missing)

    monkeypatch.setattr(known, "RECENT_ROWS_MAX", 1)
    async with nodes(database(), 1) as (node,):
        old, new = await stored(node.store, creating("old")), await stored(node.store, creating("new"))
        monkeypatch.setattr("aimem.store.postgres.writer.ask", counted)
        await written(node.store, creating("new", content="x"), creating("old", content="x"))
        assert rounds == 1
        assert old.ref in asked
        assert new.ref not in asked
        assert await node.store.check() == []


async def test_what_another_node_let_age_away_is_unknown_to_the_next_write(database: Make) -> None:
    version = Version(NOW, "e" * 16)
    record = Record.make(IDEMPOTENCY, "a", version, version, {"request": "", "status": 200, "reply": {}})
    async with nodes(database(), 2) as (first, second):
        await second.store.hear()
        await written(second.store, receive(record))
        assert (await first.store.sweep(0, 0, 1 << 62, 10)).aged == 1
        await second.store.hear()
        await written(second.store, receive(record))
        assert await held(second.store, IDEMPOTENCY, "a") == record


async def test_what_a_node_wrote_last_is_kept_within_bounds(database: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "RECENT_ROWS_MAX", 2)
    async with nodes(database(), 1) as (node,):
        for title in "ABCA":
            await written(node.store, creating(title), creating(f"long {title}", content="x" * 5_000))
        kept = node.store._writer._recent.of(node.store._node.state)._recent
        assert [row.record.body["title"] for row in kept.values()] == ["C", "A"]


async def test_both_stores_have_the_same_facts_in_columns(database: Make, postgres: PostgresServer) -> None:
    """The schemas are equal: kinds in one table, the fields that reads search by, and an index for the scope."""
    url = database()
    async with nodes(url, 1) as (node,):
        assert node.store.schema == SCHEMA_VERSION
    name = name_of(url)
    there = {
        column
        for (column,) in postgres.sql(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = 'record'::regclass AND attnum > 0", name
        )
    }
    file = sqlite3.connect(":memory:", isolation_level=None)
    create(file)
    here = {row[1] for row in file.execute("PRAGMA table_info(record)")}
    file.close()
    assert there - here == {"since", "scope", "agent", "tags"}, "SQLite reads these from the body"
    assert here <= there
    assert postgres.sql("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%(namespace, scope,%'", name) == [(1,)]


async def test_a_listener_that_fails_undoes_no_write(database: Make) -> None:
    def broken(changes: object) -> None:
        raise RuntimeError("a bug")

    async with nodes(database(), 2) as (first, second):
        for node in (first, second):
            node.store.subscribe(broken)
        (memory,) = await written(first.store, storing("A"))
        assert (memory.created, first.store.head) == (True, 1)
        await second.store.hear()
        assert second.store.head == 1
