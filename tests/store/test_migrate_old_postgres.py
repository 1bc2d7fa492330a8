"""`aimem migrate` from the existing system's Postgres: a real server."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aimem.cli.main import main
from aimem.core.kinds import MEMORY
from aimem.core.record import Record
from aimem.store.migrate.running import migrate
from aimem.store.moving.opening import opened_sources
from aimem.store.sqlite.store import open_sqlite
from tests.postgres_server import ROLE, PostgresServer, name_of
from tests.store.old_database import NOW, SECOND, OldDatabase, records
from tests.store.old_postgres import OldPostgres, old_postgres, real_rows
from tests.store.test_migrate_ours import digest_of, run
from tests.waiting import PATIENCE_SECS

ROWS = 3_000  # HOLE 23: theirs stopped at 1,000


@pytest.fixture
def url(database: Callable[[], str]) -> str:
    """Of the database that is migrated."""
    return database()


@pytest.fixture
def old(url: str) -> Iterator[OldPostgres]:
    """The existing system's tables in it."""
    with old_postgres(url) as made:
        yield made


def memories_of(path: Path) -> dict[str, Record]:
    """The memories of a file, by id."""

    async def read() -> dict[str, Record]:
        store = await open_sqlite(path)
        try:
            return {key: record for (_, key), record in (await records(store, MEMORY)).items()}
        finally:
            await store.close()

    return asyncio.run(read())


def reported(capfd: pytest.CaptureFixture[str], *args: object, code: int = 0) -> Any:
    """What a migration reports as JSON."""
    assert run(*args, "--json") == code
    return json.loads(capfd.readouterr().out)


def test_the_same_rows_become_the_same_as_those_of_a_file(
    tmp_path: Path, url: str, old: OldPostgres, database: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    real_rows(tmp_path / "old.db", old)
    assert run("--from", tmp_path / "old.db", "--to", tmp_path / "from_file.db") == 0
    assert run("--from", url, "--to", tmp_path / "x.db") == 0
    assert capfd.readouterr() == ("", "")
    assert digest_of(tmp_path / "x.db") == digest_of(tmp_path / "from_file.db")
    again = reported(capfd, "--from", url, "--from", tmp_path / "old.db", "--to", tmp_path / "x.db")
    assert all(count["written"] == 0 for count in again["kinds"].values())  # one fleet, seen twice
    kinds = reported(capfd, "--from", url, "--to", tmp_path / "y.db")["kinds"]
    assert (kinds["memories"]["written"], kinds["embeddings"]["written"], kinds["archived"]["written"]) == (197, 183, 7)
    shared = reported(capfd, "--from", url, "--to", database())
    assert shared["digest"] == digest_of(tmp_path / "x.db")


def test_none_is_left_out_whatever_the_order_of_ids(tmp_path: Path, url: str, old: OldPostgres) -> None:
    """A row of one id in both databases is united, so both must come in one order, byte by byte."""
    dice, names = (
        random.Random(3),
        [f"{first}{second}" for first in "aAzZ_-\u00e9\U0001f600" for second in "bB.9\u00c4"],
    )
    old.memories(*range(ROWS))
    with OldDatabase(tmp_path / "old.db") as file:
        for name in names:
            at = [NOW - dice.randrange(1, 900) * SECOND for _ in "ab"]
            old.memory(name, at[0], content="there", created_at="2026-01-01T00:00:00Z")
            file.memory(name, at[1], content="here", created_at="2026-01-01T00:00:00Z")
    assert run("--from", url, "--from", tmp_path / "old.db", "--to", tmp_path / "x.db") == 0
    assert run("--from", tmp_path / "old.db", "--from", url, "--to", tmp_path / "y.db") == 0
    assert digest_of(tmp_path / "x.db") == digest_of(tmp_path / "y.db")
    assert len(memories_of(tmp_path / "x.db")) == ROWS + len(names)


def test_odd_values_are_repaired_and_named(
    tmp_path: Path, url: str, old: OldPostgres, capfd: pytest.CaptureFixture[str]
) -> None:
    old.memory("endless", expires_at="infinity", updated_at="infinity", created_at="2026-01-02T03:04:05.000006Z")
    old.memory("ancient", created_at="0044-03-15 12:00:00+00 BC", expires_at="29999-01-01 00:00:00+00")
    old.memory("numbers", priority=99, confidence="NaN", tier="eternal")
    old.memory("no object", metadata="[1]", tags='["a", 1]')
    old.memory("huge", metadata=f'{{"n": 1{"0" * 400}.5}}')
    old.memory("", title="without an id")
    old.memory("vector", embedding=str([0.25] * 384))
    old.add("sync_state", agent_id="a", peer_id="b", last_seen_at="now", last_pulled_at="now")
    report = reported(capfd, "--from", url, "--to", tmp_path / "x.db", code=1)
    found = memories_of(tmp_path / "x.db")
    assert set(found) == {"endless", "ancient", "numbers", "no object", "huge", "vector"}
    assert "expires_at" not in found["endless"].body
    assert found["endless"].version.time == 1_767_323_045_000_006_000
    assert (found["numbers"].body["tier"], found["numbers"].body["confidence"]) == ("mid", 1.0)
    assert found["no object"].body["metadata"] == {"unreadable": "[1]"}
    assert found["no object"].body["tags"] == ["a", "1"]
    assert found["huge"].body["metadata"]["unreadable"].endswith("000.5}")
    repaired = {note["what"].partition(":")[0] for note in report["repaired"]}
    assert repaired == {"endless", "ancient", "numbers", "no object", "huge"}
    assert {note["kind"] for note in report["not_taken"]} == {"memories", "sync_state"}
    assert (report["failed"], report["kinds"]["memories"]["not_taken"]) == (1, 1)
    assert report["kinds"]["embeddings"]["written"] == 1
    assert "microsecond" in report["sources"][0]["lacks"][0]


def test_beside_writers_it_is_one_committed_state(tmp_path: Path, url: str, old: OldPostgres) -> None:
    old.memories(*range(2_000))
    halt, failed = threading.Event(), []

    def write() -> None:
        number = 2_000
        try:
            with psycopg.connect(url) as connection:
                other = OldPostgres(connection)
                while not halt.is_set():
                    other.memories(*range(number, number + 10))
                    other.sql(f"UPDATE memories SET priority = {1 + number // 10 % 9}")
                    other.sql(f"DELETE FROM memories WHERE title = 'memory {number - 2_000}'")
                    connection.commit()
                    number += 10
        except psycopg.Error as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for name in ("x", "y"):
            assert run("--from", url, "--to", tmp_path / f"{name}.db") == 0
    finally:
        halt.set()
        writer.join()
    assert not failed
    for name in ("x", "y"):
        found = memories_of(tmp_path / f"{name}.db").values()
        assert len({record.body["priority"] for record in found}) == 1
        numbers = {int(record.body["title"].split()[1]) for record in found}
        rounds = (max(numbers) + 1 - 2_000) // 10
        assert len(numbers) == 2_000 + 9 * rounds


async def test_what_was_written_since_comes_with_the_next_run(tmp_path: Path, url: str, old: OldPostgres) -> None:
    old.memories(*range(1_500))
    store = await open_sqlite(tmp_path / "x.db", now=lambda: NOW)
    try:
        for taken in (1_500, 1_501):
            async with opened_sources([url], str(tmp_path / "x.db")) as found:
                old.memory(f"late {taken}")
                await migrate(found.old, store, now=NOW, shown=lambda rows: None)
            assert store.visible == taken
    finally:
        await store.close()


def test_a_role_that_may_only_read(
    tmp_path: Path, url: str, old: OldPostgres, postgres: PostgresServer, capfd: pytest.CaptureFixture[str]
) -> None:
    old.memories(*range(10))
    role = f"reader_of_{name_of(url)}"
    postgres.sql(f"create role {role} login password 'x'")
    theirs = f"postgres://{role}:x@127.0.0.1:{postgres.port}/{name_of(url)}?sslmode=disable"
    try:
        assert run("--from", theirs, "--to", tmp_path / "x.db") == 78
        assert "GRANT SELECT" in capfd.readouterr().err
        old.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        assert run("--from", theirs, "--to", tmp_path / "x.db") == 0
        assert len(memories_of(tmp_path / "x.db")) == 10
    finally:
        postgres.sql(f"drop owned by {role}; drop role {role}", name_of(url))


def test_a_row_that_the_server_can_not_read_costs_no_other(
    tmp_path: Path, new_postgres: Callable[..., PostgresServer], capfd: pytest.CaptureFixture[str]
) -> None:
    server = new_postgres()
    name = server.new_database()
    url = server.url(name, role=ROLE)
    with old_postgres(url) as old:
        old.sql("ALTER TABLE memories ALTER content SET STORAGE EXTERNAL")  # so that it lies in a file of its own
        old.memories(*range(1_200))
        old.memory("broken", content="x" * 10_000)
        (file,) = old.sql("SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 'memories'")
    server.stop()
    size = (server.data / file).stat().st_size
    (server.data / file).write_bytes(bytes(size))
    server.start()
    report = reported(capfd, "--from", url, "--to", tmp_path / "x.db", code=1)
    assert report["kinds"]["memories"] == {"read": 1_201, "written": 1_200, "present": 0, "not_taken": 1}
    assert [note["what"].partition(":")[0] for note in report["not_taken"]] == ["broken"]


def test_one_that_is_killed_goes_on(tmp_path: Path, url: str, old: OldPostgres) -> None:
    old.memories(*range(ROWS))
    assert run("--from", url, "--to", tmp_path / "whole.db") == 0
    target, dice, kills = tmp_path / "x.db", random.Random(7), 0
    command = [sys.executable, "-m", "aimem", "migrate", "--from", url, "--to", str(target)]
    while True:
        process = subprocess.Popen(command, start_new_session=True)
        try:
            code = process.wait(timeout=dice.uniform(0.3, 1.5) if kills < 4 else PATIENCE_SECS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        if kills:
            break
    assert code == 0
    assert digest_of(target) == digest_of(tmp_path / "whole.db")


def test_what_is_not_known_is_refused(
    tmp_path: Path, url: str, old: OldPostgres, capfd: pytest.CaptureFixture[str]
) -> None:
    old.memory("one")
    old.sql("UPDATE schema_version SET version = 42")
    assert run("--from", url, "--to", tmp_path / "x.db") == 78
    assert "schema 42" in capfd.readouterr().err
    old.sql("UPDATE schema_version SET version = 15")
    old.sql("ALTER TABLE memory_links DROP observed_by")
    report = reported(capfd, "--from", url, "--to", tmp_path / "x.db")
    assert "it has no memory_links.observed_by" in report["sources"][0]["lacks"]
    old.sql("ALTER TABLE memories RENAME content TO text")
    assert run("--from", url, "--to", tmp_path / "y.db") == 78
    assert "memories.content" in capfd.readouterr().err
    assert run("--from", url.replace(name_of(url), "nowhere"), "--to", tmp_path / "y.db") == 78
    assert not (tmp_path / "y.db").exists()


def test_no_store_is_made_among_its_tables(
    tmp_path: Path, url: str, old: OldPostgres, capfd: pytest.CaptureFixture[str]
) -> None:
    old.memory("one")
    with OldDatabase(tmp_path / "a.db"):
        pass
    serve = ("serve", "--store-url", url, "--port", "0", "--tier", "keyword", "--config", "")
    for refused in (serve, (*serve, "--check"), ("migrate", "--from", str(tmp_path / "a.db"), "--to", url)):
        assert main(list(refused)) == 78
        told = capfd.readouterr().err
        assert "ai-memory" in told
        assert "aimem migrate --from" in told
    assert old.sql("SELECT to_regclass('record') IS NULL, (SELECT count(*) FROM memories)") == (True, 1)
    old.sql("CREATE SCHEMA aimem")  # the role's own: there ours stand beside nothing
    assert main([*serve, "--check"]) == 0
